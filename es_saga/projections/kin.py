"""Who runs a saga, and whom it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from es_saga.core.messages import CommandKey, Direction, as_written
from es_saga.core.nested import child_id, child_prefix
from es_saga.projections.standing import SagaRow
from es_saga.projections.status import STATUS
from es_saga.projections.trail import EVENTS


@dataclass(frozen=True, slots=True)
class Kin:
    """The nearest relatives of a saga, by their ids."""

    parent: str | None = None
    """The saga that runs it."""
    children: Mapping[str, str] = field(default_factory=dict[str, str])
    """The sagas that it runs, by the steps that do."""


def descendants(connection: sa.Connection, saga_id: str) -> list[str]:
    """The sagas that it ran, and those that they ran, each after who ran it."""
    found: list[str] = []
    parents = [saga_id]
    for parent in parents:
        children = [one for one in _alike(connection, parent) if _parent(connection, one) == parent]
        found += children
        parents += children
    return found


def _alike(connection: sa.Connection, parent: str) -> list[str]:
    """Sagas whose ids begin as those of its children do."""
    ids = STATUS.c.saga_id
    query = (
        sa.select(ids).where(ids.startswith(child_prefix(parent), autoescape=True)).order_by(ids)
    )
    return list(connection.execute(query).scalars())


def _parent(connection: sa.Connection, saga_id: str) -> str | None:
    first = sa.select(EVENTS.c.state).where(
        EVENTS.c.originator_id == saga_id, EVENTS.c.originator_version == 1
    )
    begun = json.loads(connection.execute(first).scalar() or "{}").get("parent")
    return begun["command_id"].partition("/")[0] if begun else None


def kin(connection: sa.Connection, row: SagaRow, shape: Mapping[str, Any] | None) -> Kin:
    """The relatives of a saga; its children, as far as the log has its definition.

    Args:
        shape: of its definition.
    """
    running = {step["name"] for step in (shape or {}).get("steps", ()) if "saga" in step}
    children = {
        name: _child(row, name)
        for name, own in row.steps.items()
        if as_written(name) in running and own["attempt"] > 0
    }
    return Kin(_parent(connection, row.saga_id), children)


def _child(row: SagaRow, step: str) -> str:
    """The one that answered; else the first that was asked."""
    reply: Mapping[str, Any] = row.steps[step].get("reply") or {}
    first = child_id(CommandKey(row.saga_id, step, Direction.DO, 1))
    return str(reply.get("saga_id", first))
