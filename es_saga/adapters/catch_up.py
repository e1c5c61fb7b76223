"""Brings a view that follows behind up to the log, a bounded transaction at a time."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from es_saga.adapters.codec import decode
from es_saga.adapters.definitions import KnownFields
from es_saga.adapters.past import states_at
from es_saga.adapters.statements import statements_for
from es_saga.adapters.tables import EVENTS, TRACKING
from es_saga.adapters.trouble import Trouble, trouble, unavailable
from es_saga.engine.ports import Recorded
from es_saga.projections.view import Batch, View

MAX_EVENTS = 1_000
"""Events in one transaction of a view."""


class CatchUp:
    """Views in the database of the log. Their writes and their checkpoint commit together."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._statements = statements_for(engine)
        self._fields = KnownFields()

    async def prepare(self, view: View) -> None:
        """Create the view's tables where they are missing."""
        await asyncio.to_thread(view.metadata.create_all, self._engine)

    async def advance(self, view: View, part: int) -> int:
        """Take in up to MAX_EVENTS events of a part; how many it were.

        Raises:
            Unavailable: the database is out of reach.
            Exception: whatever the view raised; nothing was written.
        """
        return await asyncio.to_thread(self._advance, view, part)

    def _advance(self, view: View, part: int) -> int:
        try:
            with self._engine.begin() as connection:
                self._lock(connection, view.name, part)
                events = self._page(connection, view.name, part)
                if not events:
                    return 0
                view.apply(
                    connection, self._batch(connection, events).hidden(self._fields.on(connection))
                )
                self._statements.mark(connection, [(view.name, part, events[-1].position)])
                return len(events)
        except DBAPIError as error:
            if trouble(error) is Trouble.OUTAGE:
                raise unavailable(error) from error
            raise

    def _lock(self, connection: sa.Connection, name: str, part: int) -> None:
        """One process at a time moves a view on; SQLite's transactions queue up anyway."""
        if connection.dialect.name == "postgresql":
            key = f"es_saga/view/{name}/{part}"
            lock = sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(key, 0))
            connection.execute(sa.select(lock))

    def _page(self, connection: sa.Connection, name: str, part: int) -> list[Recorded]:
        """The next events. One statement, and so one snapshot: the view may be one that a writer
        keeps in step with the log, and its checkpoint must be as old as the events."""
        checkpoint = (
            sa.select(TRACKING.c.position)
            .where(TRACKING.c.name == name, TRACKING.c.part == part)
            .scalar_subquery()
        )
        rows = connection.execute(
            sa.select(
                EVENTS.c.position,
                EVENTS.c.originator_id,
                EVENTS.c.originator_version,
                EVENTS.c.topic,
                EVENTS.c.state,
            )
            .where(EVENTS.c.part == part, EVENTS.c.position > sa.func.coalesce(checkpoint, 0))
            .order_by(EVENTS.c.position)
            .limit(MAX_EVENTS)
        )
        return [
            Recorded(part, at, saga_id, version, decode(topic, payload), payload)
            for at, saga_id, version, topic, payload in rows
        ]

    def _batch(self, connection: sa.Connection, events: list[Recorded]) -> Batch:
        """With every saga the events touch as it was then, and not as it is by now."""
        first: dict[str, int] = {}
        for recorded in events:
            first.setdefault(recorded.saga_id, recorded.version)
        versions = {saga_id: version - 1 for saga_id, version in first.items() if version > 1}
        return Batch.following(events, states_at(self._statements, connection, versions))
