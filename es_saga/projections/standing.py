"""Where one saga stands: its row, and what its definition says about what is still to be done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from es_saga.projections.ledger import Entry, ledger, remaining
from es_saga.projections.lists import UnderWay
from es_saga.projections.waiting import Awaited, awaited, way


@dataclass(frozen=True, slots=True)
class SagaRow:
    """One saga as the status view has it. Times in seconds since the epoch."""

    saga_id: str
    type: str
    definition: int
    status: str
    business_id: str | None
    current: tuple[str, ...]
    steps: dict[str, Any]
    version: int
    reason: str | None
    reason_step: str | None
    payload: dict[str, Any]
    created: float
    updated: float
    closed: float | None
    next_due: float | None
    deadline: float | None
    exceptions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    backward: bool = False
    """It is being undone, or was."""
    progressed: float = 0.0
    """When some work last began or ended."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One saga, with what its definition says about what is still to be done."""

    saga: SagaRow
    age: float
    """Seconds from its start to its end, or to now."""
    remaining: tuple[str, ...] | None
    """Steps, or on the way back undos, in their order; None: the log has not its definition."""
    ledger: tuple[Entry, ...] | None
    """One entry for each step that can be undone; None as above."""
    parent: str | None = None
    """The saga that runs it."""
    children: Mapping[str, str] = field(default_factory=dict[str, str])
    """The sagas that it runs, by the steps that do."""
    waits_for: tuple[Awaited, ...] = ()
    """Messages, events and times that it waits for, and asks nobody."""
    asked: Mapping[str, str] = field(default_factory=dict[str, str])
    """The services that it waits for, by the steps that asked them."""
    lists: Sequence[UnderWay] = ()
    """The lists that it is going over."""
    way: str | None = None
    """Which way from its save-points it is on; None: it has come to none."""


def saga_row(row: sa.RowMapping) -> SagaRow:
    """A row of the status view."""
    return SagaRow(
        saga_id=row["saga_id"],
        type=row["type"],
        definition=row["definition"],
        status=row["status"],
        business_id=row["business_id"],
        current=tuple(filter(None, row["current"].split(","))),
        steps=json.loads(row["steps"]),
        version=row["version"],
        reason=row["reason"],
        reason_step=row["reason_step"],
        payload=json.loads(row["payload"]),
        created=row["created"],
        updated=row["updated"],
        closed=row["closed"],
        next_due=row["next_due"],
        deadline=row["deadline"],
        exceptions=json.loads(row["exceptions"] or "[]"),
        backward=bool(row["backward"]),
        progressed=row["progressed"],
    )


def standing(
    row: SagaRow, shape: Mapping[str, Any] | None, settled_by: Mapping[str, str], now: float
) -> Standing:
    """Where a saga stands.

    Args:
        shape: of its definition, if the log has it.
        settled_by: who settled the undo of a step by hand.
        now: in seconds since the epoch.
    """
    end = now if row.closed is None else row.closed
    age = max(0.0, end - row.created)
    if shape is None:
        return Standing(row, age, None, None)
    left = () if row.closed is not None else remaining(shape, row.steps, backward=row.backward)
    entries = ledger(shape, row.steps, backward=row.backward, settled_by=settled_by)
    waits = () if row.closed is not None else tuple(awaited(shape, row.steps))
    return Standing(row, age, left, entries, waits_for=waits, way=way(shape, row.steps))
