"""What must be true when the dust has settled. Every line of the answer is a broken promise."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from es_saga.adapters.codec import decode
from es_saga.adapters.tables import EVENTS
from es_saga.core.aggregate import SagaState, SagaStatus, fold
from es_saga.core.errors import CorruptHistory
from es_saga.core.events import SagaEvent
from es_saga.core.messages import part_of
from es_saga.projections.audit import AUDIT
from es_saga.projections.status import STATUS
from tests.chaos.shop import OPENING, Ledger, Order

MOST_SHOWN = 5
"""Examples of one kind of broken promise."""


def broken_log(log: sa.Engine) -> Iterator[str]:
    """Positions, versions and read models that contradict the log's promises."""
    positions: defaultdict[int, list[int]] = defaultdict(list)
    versions: defaultdict[str, list[int]] = defaultdict(list)
    with log.connect() as connection:
        query = sa.select(
            EVENTS.c.part, EVENTS.c.position, EVENTS.c.originator_id, EVENTS.c.originator_version
        ).order_by(EVENTS.c.part, EVENTS.c.position)
        for part, position, saga_id, version in connection.execute(query):
            positions[part].append(position)
            versions[saga_id].append(version)
            if part != part_of(saga_id):
                yield f"an event of {saga_id} is in part {part}"
        shown = {row.saga_id: row.version for row in connection.execute(sa.select(STATUS))}
        audited = Counter(connection.execute(sa.select(AUDIT.c.saga_id)).scalars())
    for part, found in positions.items():
        if found != list(range(1, len(found) + 1)):
            yield f"part {part} has gaps or repetitions"
    for saga_id, found in versions.items():
        if found != list(range(1, len(found) + 1)):
            yield f"the versions of {saga_id} are {found}"
        if shown.get(saga_id) != len(found) or audited[saga_id] != len(found):
            yield f"the read models lag behind {saga_id}"


def states_of(log: sa.Engine) -> dict[str, SagaState | CorruptHistory]:
    """Every saga as its history folds, or why it does not."""
    histories: defaultdict[str, list[SagaEvent]] = defaultdict(list)
    with log.connect() as connection:
        query = sa.select(EVENTS.c.originator_id, EVENTS.c.topic, EVENTS.c.state).order_by(
            EVENTS.c.originator_id, EVENTS.c.originator_version
        )
        for saga_id, topic, payload in connection.execute(query):
            histories[saga_id].append(decode(topic, payload))
    states: dict[str, SagaState | CorruptHistory] = {}
    for saga_id, events in histories.items():
        try:
            state = fold(saga_id, events)
        except CorruptHistory as error:
            states[saga_id] = error
        else:
            assert state is not None, "it has events"
            states[saga_id] = state
    return states


def broken_ends(
    orders: Mapping[str, Order], states: Mapping[str, SagaState | CorruptHistory]
) -> Iterator[str]:
    """Orders that did not end, or not as their input says."""
    for saga_id in states.keys() - orders.keys():
        yield f"nobody started {saga_id}"
    for saga_id, order in orders.items():
        state = states.get(saga_id)
        if state is None:
            yield f"{saga_id} was started and is not there"
        elif isinstance(state, CorruptHistory):
            yield f"{saga_id} does not fold: {state}"
        elif state.closed is None:
            yield f"{saga_id} is not closed: {state.status.value}, at {', '.join(state.current)}"
        elif state.status is SagaStatus.COMPLETED:
            if order.fate != "good":
                yield f"{saga_id} completed in spite of {order.fate}"
        elif state.status is not SagaStatus.COMPENSATED:
            yield f"{saga_id} ended as {state.status.value}"
        elif order.fate == "good" and (state.failure is None or state.failure.step != "charge"):
            yield f"{saga_id} was undone for no reason: {state.failure}"


def broken_books(
    ledger: Ledger,
    engine: sa.Engine,
    orders: Mapping[str, Order],
    states: Mapping[str, SagaState | CorruptHistory],
) -> Iterator[str]:
    """Effects that are missing, doubled, or left behind, and units gained or lost."""
    service, effects = ledger.service, ledger.effects
    done: Counter[tuple[str, str]] = Counter()
    with engine.connect() as connection:
        for row in connection.execute(sa.select(effects)):
            done[row.saga, row.direction] += 1
        held = connection.scalar(sa.select(ledger.holdings.c.units))
    kept = 0
    for saga_id, order in orders.items():
        state = states.get(saga_id)
        completed = isinstance(state, SagaState) and state.status is SagaStatus.COMPLETED
        did, undid = done[saga_id, "do"], done[saga_id, "undo"]
        kept += order.units * completed
        if did > 1 or undid > 1:
            yield f"{service}: {saga_id} took effect {did} times, its undo {undid} times"
        elif did - undid != completed:
            yield f"{service}: of {saga_id}, completed={completed}, {did - undid} effects are left"
    if held != OPENING - kept:
        yield f"{service} holds {held} units and should hold {OPENING - kept}"


def shown(broken: Iterator[str]) -> list[str]:
    """The first few, and how many more there are."""
    found = list(broken)
    more = [f"… and {len(found) - MOST_SHOWN} more like it"] if len(found) > MOST_SHOWN else []
    return [*found[:MOST_SHOWN], *more]
