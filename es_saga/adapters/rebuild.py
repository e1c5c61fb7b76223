"""Builds views anew from the log beside those in use: to replace them, or to compare.

The view in use goes on serving. `rebuild` stops the writers only for the moment in which the last
events are taken in and the names are exchanged; `verify` never does. Interrupted, they leave
nothing behind; killed, they leave tables that the next one of the same view drops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from es_saga.adapters.catch_up import lock_key
from es_saga.adapters.comparing import Drift, differences
from es_saga.adapters.definitions import KnownFields
from es_saga.adapters.follower import MAX_EVENTS, Follower, Overtaken, Page
from es_saga.adapters.shadow import Shadow
from es_saga.adapters.statements import statements_for
from es_saga.adapters.trouble import Trouble, trouble, unavailable
from es_saga.adapters.unsynced import unsynced
from es_saga.core.errors import ConflictError
from es_saga.core.messages import PARTS
from es_saga.database import READ_ONLY
from es_saga.engine.following import Undigested
from es_saga.projections.view import View

NEW: Final = "__new"
CHECK: Final = "__check"

LAST_EVENTS: Final = 2_000
"""What is left for the moment in which the writers stand still is no more, if that can be."""

MAX_SWAPS: Final = 10
"""How often it is tried to come so close to the end of a log that is being written."""

LOCK_SECONDS: Final = 2
"""How long we queue for a lock: others queue up behind us."""

_LOCK_TIMEOUT: Final = "55P03"

Told = Callable[[int, int], None]
"""Is told how many events are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild came to."""

    view: str
    events: int
    seconds: float
    stopped_seconds: float
    """How long nobody could write to the log, or to the view if it follows behind."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison came to."""

    view: str
    events: int
    """That both have taken in."""
    rows: int
    """That were compared."""
    drifted: int
    """Rows that differ."""
    drifts: tuple[Drift, ...]
    """The first of them."""
    seconds: float


def rebuild(engine: sa.Engine, view: View, *, inline: bool, told: Told | None = None) -> Rebuilt:
    """Build a view anew and put it in the place of the one in use.

    Args:
        inline: the view is kept in step by whoever writes to the log, and does not follow behind.

    Raises:
        InvalidInput: the view cannot be built beside itself.
        IllegalOperation: something in the database depends on its tables.
        ConflictError: somebody else has begun to rebuild it.
        Undigested: the view raised, or an event cannot be read.
        Unavailable: the database is out of reach.
    """
    began = time.monotonic()
    with _outages(), _building(engine, view, NEW, told) as building:
        building.fill()
        building.shadow.index()
        stopped = building.replace(inline=inline)
    return Rebuilt(view.name, building.events, time.monotonic() - began, stopped)


def verify(engine: sa.Engine, view: View, *, told: Told | None = None) -> Verdict:
    """Build a view anew, up to where the one in use has come, and compare the two.

    Raises:
        InvalidInput: the view cannot be built beside itself.
        ConflictError: somebody else has begun to verify it.
        Undigested: the view raised, or an event cannot be read.
        Unavailable: the database is out of reach.
    """
    began = time.monotonic()
    with _outages(), _building(engine, view, CHECK, told) as building:
        building.fill(upto=building.positions())
        with building.frozen() as live:
            building.fill(upto=building.positions(live))
            found = differences(live, engine, building.shadow.tables)
        building.shadow.drop()
    return Verdict(
        view.name,
        building.events,
        found.rows,
        found.drifted,
        tuple(found.drifts),
        time.monotonic() - began,
    )


class _Building:
    """A shadow on its way through the log."""

    def __init__(self, engine: sa.Engine, shadow: Shadow, told: Told | None) -> None:
        self.shadow = shadow
        self.events = 0
        """Taken in so far."""
        self._engine = engine
        self._told = told
        self._reading = engine.execution_options(**{READ_ONLY: True})
        self._postgres = engine.dialect.name == "postgresql"
        self._statements = statements_for(engine)
        self._fields = KnownFields()

    def positions(self, connection: sa.Connection | None = None) -> dict[int, int]:
        """How far the view in use has come."""
        if connection is None:
            with self._reading.connect() as connection:
                return self.positions(connection)
        standings = self._statements.standings(connection, self.shadow.live.name)
        return {standing.part: standing.position for standing in standings}

    def fill(self, *, upto: Mapping[int, int] | None = None) -> None:
        """Take in what there is, a bounded transaction at a time; up to these positions."""
        follower, total, limit = self._follower(upto), self._total(upto), MAX_EVENTS
        while True:
            try:
                page = self._step(follower, limit)
            except Undigested as error:
                if error.events == 1:
                    raise
                limit = error.events // 2  # until it is the very event
                continue
            if page is None:
                return
            self._count(len(page.batch.events), total)
            if not page.left:
                return
            limit = min(2 * limit, MAX_EVENTS)

    def _step(self, follower: Follower, limit: int) -> Page | None:
        with self._reading.connect() as connection:
            page = follower.read(connection, limit)
        if page is not None:
            with unsynced(self._engine) as connection:
                follower.write(connection, page)
        return page

    def _follower(self, upto: Mapping[int, int] | None) -> Follower:
        return Follower(self._statements, self.shadow.view, self._fields, upto=upto)

    def _count(self, events: int, total: int) -> None:
        self.events += events
        if self._told is not None:
            self._told(self.events, max(total, self.events))

    def _total(self, upto: Mapping[int, int] | None) -> int:
        if upto is not None:
            return sum(upto.values())
        with self._reading.connect() as connection:
            return sum(self._statements.heads(connection, range(PARTS)).values())

    @contextmanager
    def frozen(self) -> Generator[sa.Connection, None, None]:
        """The database as it is at one moment."""
        level = {"isolation_level": "REPEATABLE READ"} if self._postgres else {}
        engine = self._reading.execution_options(**level)
        with engine.connect() as connection, connection.begin():
            yield connection

    # ── taking over ──────────────────────────────────────────────────────────────────────────────

    def replace(self, *, inline: bool) -> float:
        """Take in the rest and take over; how many seconds the writers stood still."""
        for attempt in range(1, MAX_SWAPS + 1):
            self.fill()
            last = attempt == MAX_SWAPS
            try:
                with self._engine.begin() as connection:
                    self._stop_writers(connection, inline=inline)
                    began = time.monotonic()
                    done = self._finish(connection, at_any_rate=last)
                    if done:
                        self.shadow.take_over(connection)
                if done:
                    return time.monotonic() - began
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != _LOCK_TIMEOUT or last:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _stop_writers(self, connection: sa.Connection, *, inline: bool) -> None:
        """Of the log, or of the view if it follows behind; on SQLite we are the only writer now."""
        if not self._postgres:
            return
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        if inline:
            connection.exec_driver_sql("LOCK TABLE es_events IN EXCLUSIVE MODE")
        lock = sa.func.pg_advisory_xact_lock(lock_key(self.shadow.live.name))
        connection.execute(sa.select(lock))

    def _finish(self, connection: sa.Connection, *, at_any_rate: bool) -> bool:
        """Take in the last events; False, and nothing is done, if they are too many."""
        follower = self._follower(self._statements.heads(connection, range(PARTS)))
        while page := follower.read(connection, LAST_EVENTS):
            if page.left and not at_any_rate:
                return False
            follower.write(connection, page)
            self._count(len(page.batch.events), 0)
        return True


@contextmanager
def _building(
    engine: sa.Engine, view: View, suffix: str, told: Told | None
) -> Generator[_Building, None, None]:
    shadow = Shadow(engine, statements_for(engine), view, suffix)
    shadow.create()
    try:
        yield _Building(engine, shadow, told)
    except Overtaken as error:
        # The tables beside are theirs by now.
        raise ConflictError(
            f"Somebody else has begun the same with view {view.name!r}.", hint="Let them finish."
        ) from error
    except BaseException:
        shadow.drop()
        raise


@contextmanager
def _outages() -> Generator[None, None, None]:
    try:
        yield
    except DBAPIError as error:
        if trouble(error) is Trouble.OUTAGE:
            raise unavailable(error) from error
        raise
