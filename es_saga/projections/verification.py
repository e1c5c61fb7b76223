"""Walks the log beside the audit trail, and names the first bad event of every saga that has one.

Reads only. What is written meanwhile does it no harm: each page is what the database was at one
moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from es_saga.database import READ_ONLY
from es_saga.projections.audit import AUDIT
from es_saga.projections.chain import Damage, Wrong
from es_saga.projections.status import STATUS
from es_saga.projections.trail import EVENTS, stretches

MAX_SAGAS: Final = 100
"""Sagas read at once."""

MAX_EVENTS: Final = 1_000
"""Events of each of them; a longer saga is checked stretch by stretch."""

MAX_DAMAGES: Final = 1_000
"""Damaged sagas that are named; then the walk ends."""

Told = Callable[[int], None]
"""Is told how many events have been looked at."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the walk came to."""

    sagas: int
    events: int
    """Looked at."""
    damages: tuple[Damage, ...]
    """The first bad event of each damaged saga, in order of their ids."""
    whole: bool
    """Everything was looked at; False: there were too many damages to go on."""


def verify(
    engine: sa.Engine,
    *,
    saga_id: str | None = None,
    since: float | None = None,
    told: Told | None = None,
) -> Verdict:
    """Check the log against its trail.

    Args:
        saga_id: this saga only.
        since: only sagas that have changed since then, in seconds since the epoch.
    """
    postgres = engine.dialect.name == "postgresql"
    options = {"isolation_level": "AUTOCOMMIT"} if postgres else {READ_ONLY: True}
    sagas = events = 0
    damages: list[Damage] = []
    for ids in _pages(engine.execution_options(**options), saga_id, since):
        with engine.execution_options(**options).connect() as connection:
            for one, found, looked in _checked(connection, ids):
                sagas += one
                events += looked
                if found is not None:
                    damages.append(found)
        if told is not None:
            told(events)
        if len(damages) >= MAX_DAMAGES:
            return Verdict(sagas, events, tuple(damages[:MAX_DAMAGES]), whole=False)
    return Verdict(sagas, events, tuple(damages), whole=True)


def events_of(engine: sa.Engine) -> int:
    """How many events the log has, about: for a progress bar."""
    parts = sa.select(sa.func.max(EVENTS.c.position).label("head")).group_by(EVENTS.c.part)
    with engine.execution_options(**{READ_ONLY: True}).connect() as connection:
        return int(connection.scalar(sa.select(sa.func.sum(parts.subquery().c.head))) or 0)


def _checked(
    connection: sa.Connection, ids: Sequence[str]
) -> Iterator[tuple[int, Damage | None, int]]:
    """Each saga: that it is one, its damage, and how many events were looked at."""
    found = stretches(connection, ids, after=0, limit=MAX_EVENTS)
    for saga_id in ids:
        stretch = found.get(saga_id)
        looked, damage = 0, None
        while stretch is not None and damage is None:
            looked += len(stretch.events)
            damage = stretch.damage(saga_id)
            last = stretch.after + len(stretch.events)
            if damage is not None or not _goes_on(connection, saga_id, last):
                break
            more = stretches(connection, [saga_id], after=last, limit=MAX_EVENTS)
            stretch = more.get(saga_id)
            if stretch is None and _goes_on(connection, saga_id, last + MAX_EVENTS, trail=True):
                what = "many events are missing from here on"
                damage = Damage(saga_id, last + 1, Wrong.MISSING, what)
        yield 1, damage, looked


def _goes_on(connection: sa.Connection, saga_id: str, after: int, *, trail: bool = False) -> bool:
    """Whether there is anything of the saga beyond that event: anywhere, or in the trail."""
    row = sa.select(AUDIT.c.saga_id).where(AUDIT.c.saga_id == saga_id, AUDIT.c.version > after)
    event = sa.select(EVENTS.c.originator_id).where(
        EVENTS.c.originator_id == saga_id, EVENTS.c.originator_version > after
    )
    asked = (row,) if trail else (row, event)
    return any(connection.execute(query.limit(1)).first() for query in asked)


def _pages(engine: sa.Engine, saga_id: str | None, since: float | None) -> Iterator[Sequence[str]]:
    """Ids in order, those of the log and those of the trail alone."""
    if saga_id is not None:
        yield [saga_id]
        return
    last = ""
    while True:
        with engine.connect() as connection:
            ids = connection.execute(_next_ids(last, since)).scalars().all()
        if not ids:
            return
        yield ids
        last = ids[-1]


def _next_ids(last: str, since: float | None) -> sa.Executable:
    if since is not None:
        return (
            sa.select(STATUS.c.saga_id)
            .where(STATUS.c.updated >= since, STATUS.c.saga_id > last)
            .order_by(STATUS.c.saga_id)
            .limit(MAX_SAGAS)
        )
    both: list[Any] = []
    for column in (EVENTS.c.originator_id, AUDIT.c.saga_id):
        ids = sa.select(column.label("id")).where(column > last).distinct()
        both.append(sa.select(ids.order_by(column).limit(MAX_SAGAS).subquery()))
    every = sa.union(*both).subquery()
    return sa.select(every.c.id).order_by(every.c.id).limit(MAX_SAGAS)
