"""How the sagas are doing, as one asks: rates, durations, who is asked for what, what waits long.

Counts and durations are those of the projection `health`, which follows behind; open sagas are
counted as they are now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import sqlalchemy as sa

from es_saga.core.errors import InvalidInput
from es_saga.core.messages import Direction
from es_saga.projections.health import (
    HOUR,
    MINUTE,
    MINUTES,
    SAGA_COUNTS,
    SERVICES,
    SPANS,
    STEP_COUNTS,
    STEPS,
    TOTALS,
    quantile,
)
from es_saga.projections.listing import OPEN, Count, SagaFilter, count
from es_saga.projections.pending import StepLoad
from es_saga.projections.status import STATUS

MAX_POINTS: Final = 2_000
"""Points in one series."""

_CLOSED: Final[Mapping[str, str]] = {
    "completed": "completed",
    "compensated": "compensated",
    "excepted": "compensated-with-exceptions",
}
"""Counts of what was closed, and the status that each means."""


class Durations(NamedTuple):
    """How long something took, in seconds; off by QUANTILE_ERROR at most."""

    number: int
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class StepVitals:
    """One direction of one step, within the time that was asked for."""

    type: str
    step: str
    direction: Direction
    sent: int
    """Attempts."""
    succeeded: int
    refused: int
    failed: int
    timed_out: int
    took: Durations
    """From the first attempt to the success."""


@dataclass(frozen=True, slots=True)
class TypeVitals:
    """One saga type."""

    type: str
    sagas: Mapping[str, int]
    """By status: those that are open now, and all that were ever closed."""
    counts: Mapping[str, int]
    """What happened within the time that was asked for, see `health.SAGA_COUNTS`."""
    completed: Durations
    compensated: Durations


@dataclass(frozen=True, slots=True)
class Vitals:
    """How the sagas are doing."""

    since: float
    """Counts of sagas begin at this minute, those of steps and durations at its hour."""
    seconds: float
    """How long ago that is."""
    types: tuple[TypeVitals, ...]
    steps: tuple[StepVitals, ...]
    stuck: Count
    """Sagas that have been stuck for longer than the threshold."""
    owed: int
    """Undos that were given up and are still owed: open alerts of that kind."""


@dataclass(frozen=True, slots=True)
class Handled:
    """One command of a participant, within the time that was asked for."""

    command: str
    vitals: StepVitals
    open: int
    """Sagas that wait for it now."""


@dataclass(frozen=True, slots=True)
class Participant:
    """A service, as the sagas know it: by what they ask of it."""

    service: str
    open: int
    sent: int
    refused: int
    failed: int
    timed_out: int
    commands: tuple[Handled, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """What happened in one span of time."""

    at: float
    """Its beginning; seconds since the epoch."""
    counts: Mapping[str, int]


Course = Mapping[tuple[str, str, str], Sequence[float | None]]
"""By type, step (empty: the saga itself) and what took that long (`completed`, `compensated`, `do`,
`undo`): p95 of every hour since the first one known, the latest last; None: nothing ended in it."""


def there(connection: sa.Connection) -> bool:
    """Whether the projection's tables have been made, as an app does that runs."""
    return sa.inspect(connection).has_table(SPANS.name)


def types(connection: sa.Connection, since: float, *, made: bool) -> list[TypeVitals]:
    """Every saga type that the log has."""
    sagas = _open(connection)
    counts: dict[str, dict[str, int]] = {}
    durations: dict[tuple[str, str, str], Durations] = {}
    if made:
        for row in connection.execute(sa.select(TOTALS)).mappings():
            own = sagas.setdefault(row["type"], {})
            own.update({_CLOSED[name]: row[name] for name in _CLOSED if row[name]})
        counts = _counts(connection, since)
        durations = _durations(connection, since, SPANS.c.step == "")
    return [
        TypeVitals(
            type=saga_type,
            sagas=sagas[saga_type],
            counts=counts.get(saga_type) or dict.fromkeys(SAGA_COUNTS, 0),
            completed=durations.get((saga_type, "", "completed"), _NONE),
            compensated=durations.get((saga_type, "", "compensated"), _NONE),
        )
        for saga_type in sorted(sagas)
    ]


def steps(connection: sa.Connection, since: float) -> list[StepVitals]:
    """Every direction of every step for which anything was sent."""
    own = [sa.func.sum(STEPS.c[name]).label(name) for name in STEP_COUNTS]
    key = (STEPS.c.type, STEPS.c.step, STEPS.c.direction)
    query = sa.select(*key, *own).where(STEPS.c.hour >= _hour(since)).group_by(*key).order_by(*key)
    durations = _durations(connection, since, SPANS.c.step != "")
    return [
        StepVitals(
            type=row["type"],
            step=row["step"],
            direction=Direction(row["direction"]),
            **{name: int(row[name]) for name in STEP_COUNTS},
            took=durations.get((row["type"], row["step"], row["direction"]), _NONE),
        )
        for row in connection.execute(query).mappings()
    ]


def stuck_since(connection: sa.Connection, before: float) -> Count:
    """Sagas that are stuck, and have been since before that."""
    return count(connection, SagaFilter(status=("stuck",), until=before))


def participants(
    connection: sa.Connection, since: float, loads: Iterable[StepLoad]
) -> list[Participant]:
    """Every service that was ever asked for anything; who waits or sleeps asks nobody."""
    waiting = {(load.type, load.step, load.backward): load.sagas for load in loads}
    known = {(one.type, one.step, one.direction): one for one in steps(connection, since)}
    handled: dict[str, list[Handled]] = {}
    asked = sa.select(SERVICES).where(SERVICES.c.service != "")
    query = asked.order_by(*SERVICES.primary_key)
    for row in connection.execute(query).mappings():
        direction = Direction(row["direction"])
        key = (row["type"], row["step"], direction)
        handled.setdefault(row["service"], []).append(
            Handled(
                command=row["command"],
                vitals=known.get(key) or StepVitals(*key, 0, 0, 0, 0, 0, _NONE),
                open=waiting.get((row["type"], row["step"], direction is Direction.UNDO), 0),
            )
        )
    return [
        Participant(
            service=service,
            open=sum(one.open for one in own),
            sent=sum(one.vitals.sent for one in own),
            refused=sum(one.vitals.refused for one in own),
            failed=sum(one.vitals.failed for one in own),
            timed_out=sum(one.vitals.timed_out for one in own),
            commands=tuple(own),
        )
        for service, own in handled.items()
    ]


def series(
    connection: sa.Connection, since: float, until: float, *, saga_type: str | None, step: int
) -> list[Point]:
    """What happened, span by span; spans in which nothing did are left out.

    Raises:
        InvalidInput: the spans are no whole minutes, or too many.
    """
    if step < MINUTE or step % MINUTE:
        raise InvalidInput(f"A span of a series is a number of whole minutes, not {step} s.")
    if not 0 <= until - since <= step * MAX_POINTS:
        raise InvalidInput(
            f"A series has {MAX_POINTS} points at most.", hint="Ask for longer spans."
        )
    at = (MINUTES.c.minute - MINUTES.c.minute % step).label("at")
    own = [sa.func.sum(MINUTES.c[name]).label(name) for name in SAGA_COUNTS]
    query = (
        sa.select(at, *own)
        .where(MINUTES.c.minute >= since - since % step, MINUTES.c.minute < until)
        .group_by(at)
        .order_by(at)
    )
    if saga_type is not None:
        query = query.where(MINUTES.c.type == saga_type)
    return [
        Point(float(row["at"]), {name: int(row[name]) for name in SAGA_COUNTS})
        for row in connection.execute(query).mappings()
    ]


_NONE: Final = Durations(0, None, None)


def courses(connection: sa.Connection, since: float, until: float) -> Course:
    """How p95 went, hour by hour, from the hour of `since` to that of `until`."""
    first, last = _hour(since), _hour(until)
    query = sa.select(SPANS).where(SPANS.c.hour >= first, SPANS.c.hour <= last)
    buckets: dict[tuple[str, str, str], dict[int, dict[int, int]]] = {}
    for row in connection.execute(query).mappings():
        hours = buckets.setdefault((row["type"], row["step"], row["what"]), {})
        hours.setdefault(int(row["hour"]), {})[row["bucket"]] = row["n"]
    begun = min((hour for hours in buckets.values() for hour in hours), default=0)
    every = range(begun, int(last) + 1, HOUR)
    return {
        key: [quantile(hours.get(hour, {}), 0.95) for hour in every]
        for key, hours in buckets.items()
    }


def _open(connection: sa.Connection) -> dict[str, dict[str, int]]:
    """Open sagas by type and status, as they are now."""
    query = (
        sa.select(STATUS.c.type, STATUS.c.status, sa.func.count().label("n"))
        .where(STATUS.c.status.in_(OPEN))
        .group_by(STATUS.c.type, STATUS.c.status)
    )
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(query):
        found.setdefault(row.type, {})[row.status] = row.n
    return found


def _counts(connection: sa.Connection, since: float) -> dict[str, dict[str, int]]:
    own = [sa.func.sum(MINUTES.c[name]).label(name) for name in SAGA_COUNTS]
    query = (
        sa.select(MINUTES.c.type, *own)
        .where(MINUTES.c.minute >= since - since % MINUTE)
        .group_by(MINUTES.c.type)
    )
    return {
        row["type"]: {name: int(row[name]) for name in SAGA_COUNTS}
        for row in connection.execute(query).mappings()
    }


def _durations(
    connection: sa.Connection, since: float, which: sa.ColumnElement[bool]
) -> dict[tuple[str, str, str], Durations]:
    """By type, step and what."""
    key = (SPANS.c.type, SPANS.c.step, SPANS.c.what)
    query = (
        sa.select(*key, SPANS.c.bucket, sa.func.sum(SPANS.c.n).label("n"))
        .where(which, SPANS.c.hour >= _hour(since))
        .group_by(*key, SPANS.c.bucket)
    )
    buckets: dict[tuple[str, str, str], dict[int, int]] = {}
    for row in connection.execute(query).mappings():
        own = buckets.setdefault((row["type"], row["step"], row["what"]), {})
        own[row["bucket"]] = int(row["n"])
    return {
        key: Durations(sum(own.values()), quantile(own, 0.5), quantile(own, 0.95))
        for key, own in buckets.items()
    }


def _hour(since: float) -> float:
    return since - since % HOUR
