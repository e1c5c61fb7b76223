"""Sagas as they were: folded from the log up to a version, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from es_saga.adapters.codec import decode
from es_saga.adapters.statements import MAX_IDS, Statements
from es_saga.core.aggregate import SagaState, evolve, start
from es_saga.core.errors import CorruptHistory
from es_saga.core.events import SagaStarted


def states_at(
    statements: Statements, connection: sa.Connection, versions: Mapping[str, int]
) -> dict[str, SagaState]:
    """Sagas as they were when they had so many events, at least one; any number of ids.

    Raises:
        CorruptHistory: a saga has not so many events, or they contradict each other.
    """
    states: dict[str, SagaState] = {}
    ids = list(versions)
    for first in range(0, len(ids), MAX_IDS):
        some = ids[first : first + MAX_IDS]
        for saga_id, version, topic, payload in statements.histories(connection, some):
            if version > versions[saga_id]:
                continue
            event = decode(topic, payload)
            before = states.get(saga_id)
            if before is not None:
                states[saga_id] = evolve(before, event)
            elif isinstance(event, SagaStarted):
                states[saga_id] = start(saga_id, event)
            else:
                raise CorruptHistory(f"saga {saga_id!r} begins with {topic}.")
    for saga_id, version in versions.items():
        if saga_id not in states or states[saga_id].version != version:
            raise CorruptHistory(f"saga {saga_id!r} has not {version} events.")
    return states
