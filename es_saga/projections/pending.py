"""What is in flight or waiting: for each open saga, the work that it cannot go on without."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from es_saga.core.errors import InvalidInput
from es_saga.core.messages import Direction, as_written
from es_saga.projections.listing import MAX_PAGE, AnyRow, Cursor, Page, is_at
from es_saga.projections.status import STATUS
from es_saga.projections.waiting import unanswered

MAX_OPEN: Final = 20_000
"""Open sagas that are counted by step."""

MOVING: Final = ("running", "waiting", "compensating")
"""Statuses of sagas that wait for an answer or for time, and not for a human."""


@dataclass(frozen=True, slots=True)
class PendingWork:
    """One direction of one step of a saga that has no outcome yet. Times in seconds."""

    saga_id: str
    type: str
    definition: int
    """Version of it."""
    step: str
    direction: Direction
    in_flight: bool
    """Sent, and not answered; otherwise the next attempt waits until it is due."""
    attempt: int
    since: float
    """When it was first sent."""
    due: float | None
    """When it counts as unanswered, or is sent again."""
    error: str | None
    """What the attempt before came to grief at."""


@dataclass(frozen=True, slots=True)
class StepLoad:
    """How many sagas are at one step of one type."""

    type: str
    step: str
    backward: bool
    """These sagas are being undone."""
    sagas: int
    next_due: float | None
    """The earliest."""
    progressed: float
    """When the one that has been there longest last made progress."""


def work(
    connection: sa.Connection,
    *,
    saga_type: str | None,
    step: str | None,
    after: Cursor | None,
    limit: int,
) -> Page[PendingWork]:
    """The work of up to `limit` sagas, those that have not changed for longest first.

    Raises:
        InvalidInput: a limit out of range.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"A page has 1 to {MAX_PAGE} sagas, not {limit}.")
    keys = (STATUS.c.updated, STATUS.c.saga_id)
    columns = (STATUS.c.type, STATUS.c.definition, STATUS.c.steps, *keys)
    lanes = [
        sa.select(*columns)
        .where(STATUS.c.status == status, *_wanted(saga_type, step), *_behind(after))
        .order_by(*keys)
        .limit(limit + 1)
        for status in MOVING
    ]
    every = sa.union_all(*(sa.select(lane.subquery()) for lane in lanes)).subquery()
    query = sa.select(every).order_by(every.c.updated, every.c.saga_id).limit(limit + 1)
    rows = connection.execute(query).all()
    more = len(rows) > limit
    rows = rows[:limit]
    found = tuple(one for row in rows for one in _of_saga(row) if _meant(one, step))
    return Page(found, Cursor(rows[-1].updated, rows[-1].saga_id) if more else None)


def load(connection: sa.Connection) -> tuple[list[StepLoad], bool]:
    """Sagas by step, the most first; False: there are more than MAX_OPEN, and some are missing."""
    columns = (
        STATUS.c.type,
        STATUS.c.current,
        STATUS.c.backward,
        STATUS.c.next_due,
        STATUS.c.progressed,
    )
    lanes = [
        sa.select(*columns).where(STATUS.c.status == status).limit(MAX_OPEN + 1)
        for status in MOVING
    ]
    every = sa.union_all(*(sa.select(lane.subquery()) for lane in lanes)).subquery()
    groups = connection.execute(
        sa.select(
            every.c.type,
            every.c.current,
            every.c.backward,
            sa.func.count().label("sagas"),
            sa.func.min(every.c.next_due).label("next_due"),
            sa.func.min(every.c.progressed).label("progressed"),
        ).group_by(every.c.type, every.c.current, every.c.backward)
    ).all()
    whole = sum(group.sagas for group in groups) <= MAX_OPEN
    return _by_step(groups), whole


def _wanted(saga_type: str | None, step: str | None) -> Iterator[sa.ColumnElement[bool]]:
    if saga_type is not None:
        yield STATUS.c.type == saga_type
    if step is not None:
        yield is_at(step)


def _behind(after: Cursor | None) -> Iterator[sa.ColumnElement[bool]]:
    if after is not None:
        key = sa.tuple_(STATUS.c.updated, STATUS.c.saga_id)
        yield key > sa.tuple_(*map(sa.literal, after))


def _meant(one: PendingWork, step: str | None) -> bool:
    return step in (None, one.step, as_written(one.step))


def _of_saga(row: AnyRow) -> Iterator[PendingWork]:
    steps: Mapping[str, Mapping[str, Any]] = json.loads(row.steps)
    for name, direction, open_ in unanswered(steps):
        yield PendingWork(
            saga_id=row.saga_id,
            type=row.type,
            definition=row.definition,
            step=name,
            direction=direction,
            in_flight=open_["status"] == "started",
            attempt=open_["attempt"],
            since=open_["started"],
            due=open_.get("due"),
            error=open_.get("error"),
        )


def _by_step(groups: Sequence[AnyRow]) -> list[StepLoad]:
    """Groups of sagas with the same steps in progress, step by step."""
    found: dict[tuple[str, str, bool], StepLoad] = {}
    for group in groups:
        steps = filter(None, group.current.split(","))
        for step in dict.fromkeys(map(as_written, steps)):
            key = (group.type, step, bool(group.backward))
            one = StepLoad(*key, group.sagas, group.next_due, group.progressed)
            found[key] = _together(found[key], one) if key in found else one
    return sorted(found.values(), key=lambda one: (-one.sagas, one.type, one.step))


def _together(one: StepLoad, other: StepLoad) -> StepLoad:
    dues = [due for due in (one.next_due, other.next_due) if due is not None]
    return StepLoad(
        one.type,
        one.step,
        one.backward,
        one.sagas + other.sagas,
        min(dues, default=None),
        min(one.progressed, other.progressed),
    )
