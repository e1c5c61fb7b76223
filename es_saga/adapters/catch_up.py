"""Moves views that follow behind up to the log, a bounded transaction at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from es_saga.adapters.definitions import KnownFields
from es_saga.adapters.follower import MAX_EVENTS, Follower, Overtaken
from es_saga.adapters.statements import statements_for
from es_saga.adapters.tables import PROJECTIONS
from es_saga.adapters.trouble import Trouble, trouble, unavailable
from es_saga.adapters.unsynced import unsynced
from es_saga.database import READ_ONLY, create_missing
from es_saga.engine.following import Advance, Halt
from es_saga.projections.progress import reached
from es_saga.projections.view import View

MAX_VIEWS: Final = 64
"""Views that are moved on at the same time; each in a thread of its own, so that none waits."""

MAX_ATTEMPTS: Final = 20
"""How often a step is tried again after somebody else was quicker."""

T = TypeVar("T")


class CatchUp:
    """Views in the database of the log. Their writes and their checkpoint commit together."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(**{READ_ONLY: True})
        self._postgres = engine.dialect.name == "postgresql"
        self._statements = statements_for(engine)
        self._fields = KnownFields()
        self._followers: dict[str, Follower] = {}
        self._threads = ThreadPoolExecutor(MAX_VIEWS, thread_name_prefix="es-saga-view")

    async def prepare(self, view: View) -> None:
        """See `Following.prepare`."""
        await self._ask(partial(self._prepare, view))

    async def advance(self, view: View, limit: int = MAX_EVENTS) -> Advance:
        """See `Following.advance`."""
        return await self._ask(partial(self._advance, view, limit))

    async def reached(self, name: str, saga_id: str, version: int) -> bool:
        """See `Following.reached`."""
        return await self._ask(partial(self._reached, name, saga_id, version))

    async def report(self, name: str, halt: Halt | None) -> None:
        """See `Following.report`."""
        await self._ask(partial(self._report, name, halt))

    def close(self) -> None:
        """Finish what they are at, then let go of the threads."""
        self._threads.shutdown(cancel_futures=True)

    async def _ask(self, question: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _plainly, question)

    # ── in a thread ──────────────────────────────────────────────────────────────────────────────

    def _prepare(self, view: View) -> None:
        with self._engine.begin() as connection:
            create_missing(connection, view.metadata)
            self._statements.enrol(connection, (view.name,))

    def _advance(self, view: View, limit: int) -> Advance:
        follower = self._followers.get(view.name)
        if follower is None or follower.view is not view:
            follower = Follower(self._statements, view, self._fields)
            self._followers[view.name] = follower
        step = self._together if self._postgres else self._apart
        for _ in range(MAX_ATTEMPTS):
            try:
                return step(follower, limit)
            except Overtaken:
                # Or it has never been enrolled.
                with self._engine.begin() as connection:
                    self._statements.enrol(connection, (view.name,))
            except DBAPIError as error:
                if trouble(error) is not Trouble.COLLISION:
                    raise
        return Advance(0, 0, elsewhere=True)

    def _together(self, follower: Follower, limit: int) -> Advance:
        """PostgreSQL: one process at a time; the others need not read what it reads."""
        key = lock_key(follower.view.name)
        with unsynced(self._engine) as connection:
            if not connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(key))):
                return Advance(0, 0, elsewhere=True)
            page = follower.read(connection, limit)
            if page is None:
                return Advance(0, 0)
            follower.write(connection, page)
        return Advance(len(page.batch.events), page.left)

    def _apart(self, follower: Follower, limit: int) -> Advance:
        """SQLite: whoever writes keeps all others from writing, so we read beforehand."""
        with self._reading.connect() as connection:
            page = follower.read(connection, limit)
        if page is None:
            return Advance(0, 0)
        with unsynced(self._engine) as connection:
            follower.write(connection, page)
        return Advance(len(page.batch.events), page.left)

    def _reached(self, name: str, saga_id: str, version: int) -> bool:
        with self._reading.connect() as connection:
            return reached(connection, name, saga_id, version)

    def _report(self, name: str, halt: Halt | None) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.delete(PROJECTIONS).where(PROJECTIONS.c.name == name))
            if halt is not None:
                row = {"name": name, "updated": time.time(), **asdict(halt)}
                connection.execute(sa.insert(PROJECTIONS), row)


def lock_key(name: str) -> sa.ColumnElement[int]:
    """Of the advisory lock that whoever moves this view on holds meanwhile."""
    return sa.func.hashtextextended(f"es_saga/view/{name}", 0)


def _plainly(question: Callable[[], T]) -> T:
    """The answer; an outage of the database in our own words."""
    try:
        return question()
    except Exception as error:
        if trouble(error) is Trouble.OUTAGE:
            raise unavailable(error) from error
        raise
