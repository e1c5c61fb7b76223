"""The relay that follows PostgreSQL's transaction log (requirement R073).

A row is published as soon as its transaction has committed, and nobody asks the table for it. The
table stays the truth: what it holds when a relay begins is published from there, so nothing is lost
when the slot is, and rows are deleted once they are published. Only then may the server forget that
part of its log.

The server needs `wal_level = logical`, its role `REPLICATION`. A slot makes the server keep its log
until somebody reads it: `drop_slot` when a service is retired, and heed `slot_lags`.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from es_saga.core.errors import InvalidInput, SagaError, Unavailable
from es_saga.engine.ports import Transport
from es_saga.participant.backlog import Published
from es_saga.participant.outbox import Row
from es_saga.participant.relay import STAND_BY_SECONDS, Relay

if TYPE_CHECKING:
    from es_saga.participant.replication import Feed

SETTLE_SECONDS: Final = 0.2
"""How often published rows are deleted, and the server is told how far we are."""

LOOK_SECONDS: Final = 10.0
"""How often the slot's lag is looked at."""

OVERDUE_SECONDS: Final = 60.0
"""A row that is older, and still there, is published from the table."""

MAX_RETAINED_BYTES: Final = 256 * 1024**2
"""How much of its log the server may keep for a slot until it is an alert, by default."""

_log = structlog.get_logger("es_saga.outbox")

_CREATE_PUBLICATION: Final = (
    "CREATE PUBLICATION es_outbox FOR TABLE es_outbox WITH (publish = 'insert')"
)
_SLOT: Final = sa.text(
    "SELECT wal_status, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) AS retained"
    " FROM pg_replication_slots WHERE slot_name = :slot AND database = current_database()"
)
_HEAD: Final = sa.text("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")


class NotLogical(SagaError):
    """The server's log cannot be decoded. Set `wal_level = logical` and restart the server."""

    code = "not-logical"


class NoSlot(SagaError):
    """The replication slot is missing, or lost because the server has deleted log it needed."""

    code = "no-slot"

    def __init__(self, slot: str, what: str) -> None:
        super().__init__(
            f"The replication slot {slot!r} {what}. Nothing is lost: the rows are in the outbox.",
            hint="Make it (anew): es_saga.participant.create_slot(engine, name).",
        )


def slot_of(service: str) -> str:
    """The name of a service's slot; there is one of a name in a server, whatever the database."""
    return f"es_outbox_{re.sub('[^a-z0-9]', '_', service.lower())}"[:63]


def create_slot(engine: sa.Engine, slot: str) -> None:
    """Make the publication and the slot where they are missing; one that is lost is made anew.

    Raises:
        NotLogical: the server's `wal_level` is not `logical`.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        _check_level(connection)
        known = "SELECT 1 FROM pg_publication WHERE pubname = 'es_outbox'"
        if connection.scalar(sa.text(known)) is None:
            connection.execute(sa.text(_CREATE_PUBLICATION))
        found = connection.execute(_SLOT, {"slot": slot}).first()
        if found is not None and found.wal_status == "lost":
            drop_slot(engine, slot)
            found = None
        if found is None:
            make = "SELECT pg_create_logical_replication_slot(:slot, 'pgoutput')"
            connection.execute(sa.text(make), {"slot": slot})


def drop_slot(engine: sa.Engine, slot: str) -> None:
    """Let the server forget: for a service that is retired, or goes back to polling."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("SELECT pg_drop_replication_slot(:slot)"), {"slot": slot})


class TailingRelay(Relay):
    """Publishes a service's outbox by following the transaction log of its PostgreSQL.

    `slot` is the replication slot, by default named after the service. `max_retained_bytes` is how
    much of its log the server may keep for us until `slot_lags` is logged. `create_tables` makes
    the table, and publication and slot, where they are missing.
    """

    def __init__(
        self,
        service: str,
        database: sa.Engine | sa.URL | str,
        transport: Transport,
        *,
        tenant: str = "main",
        slot: str | None = None,
        max_retained_bytes: int = MAX_RETAINED_BYTES,
        create_tables: bool = False,
    ) -> None:
        super().__init__(service, database, transport, tenant=tenant, create_tables=create_tables)
        if self._engine.dialect.name != "postgresql":
            raise InvalidInput("Only PostgreSQL's log can be followed.", hint="Use PollingRelay.")
        self.slot = slot or slot_of(service)
        self._max_retained_bytes = max_retained_bytes
        self._lags = False
        self._published = Published([], {})
        """Not settled yet."""
        self._reached = 0
        """Everything that was committed up to here is published."""

    def _prepare(self) -> None:
        super()._prepare()
        if self._create_tables:
            create_slot(self._engine, self.slot)
        self._look()

    async def _relay(self) -> None:
        from es_saga.participant.replication import Feed, Lost, SlotBusy

        while await self._publish_oldest():  # whatever becomes of the slot
            pass
        head = await self._in_thread(self._look)
        try:
            feed = await self._in_thread(Feed.open, self._engine.url, self.slot)
        except SlotBusy:
            await self._pause(STAND_BY_SECONDS)
            return
        except Lost as error:
            raise Unavailable(f"The log cannot be followed: {error}") from error
        self._published, self._reached = Published([], {}), 0
        try:
            async with asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(self._settle_often(feed)),
                    group.create_task(self._look_often()),
                ]
                await self._follow(feed, head)
                for task in beside:
                    task.cancel()
            await self._settle(feed)
        except* Lost as lost:
            raise Unavailable(f"The log can no longer be followed: {lost.exceptions[0]}") from lost
        except* (SagaError, SQLAlchemyError) as trouble:
            raise trouble.exceptions[0] from None
        finally:
            feed.close()

    async def _follow(self, feed: Feed, head: int) -> None:
        """Publish what comes. Up to `head`, some of it may have been published from the table."""
        from es_saga.participant.replication import Alive, Begun, Committed

        begun, open_ = 0, False
        while not self._stopping.is_set():
            rows: list[Row] = []
            doubtful: list[int] = []
            reached = self._reached
            for change in await feed.read(SETTLE_SECONDS):
                match change:
                    case Begun(lsn):
                        begun, open_ = lsn, True
                    case Committed(lsn):
                        reached, open_ = lsn, False
                    case Alive(lsn):
                        reached = reached if open_ else lsn
                    case Row(service=self.service):
                        rows.append(change)
                        if begun <= head:
                            doubtful.append(change.position)
                    case Row():  # of another service with the same database
                        pass
            if doubtful:
                left = await self._in_thread(self._backlog.remaining, doubtful)
                gone = set(doubtful) - left
                rows = [row for row in rows if row.position not in gone]
            published = await self._publisher.publish(rows)
            self._published.positions.extend(published.positions)
            self._published.faults.update(published.faults)
            self._reached = reached

    async def _settle_often(self, feed: Feed) -> None:
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            await self._settle(feed)

    async def _settle(self, feed: Feed) -> None:
        """Delete what is published; then the server may forget what came before."""
        published, self._published = self._published, Published([], {})
        reached = self._reached
        if published.positions or published.faults:
            await self._in_thread(self._backlog.settle, published)
        feed.confirm(reached)

    async def _look_often(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._in_thread(self._look)
            # Such as a row whose fault somebody has mended: the log does not tell of it.
            await self._publish_oldest(before=time.time() - OVERDUE_SECONDS)

    def _look(self) -> int:
        """In the thread: whether the log can be followed, and how far we are behind; its end.

        Raises:
            NotLogical, NoSlot: it cannot.
        """
        with self._engine.begin() as connection:
            _check_level(connection)
            found = connection.execute(_SLOT, {"slot": self.slot}).first()
            head = int(connection.execute(_HEAD).scalar_one())
        if found is None:
            raise NoSlot(self.slot, "does not exist")
        if found.wal_status == "lost":
            raise NoSlot(self.slot, "is lost: the server has deleted log that it needed")
        retained = int(found.retained)
        if (retained > self._max_retained_bytes) is not self._lags:
            self._lags = not self._lags
            tell, what = (
                (_log.error, "slot_lags") if self._lags else (_log.warning, "slot_caught_up")
            )
            tell(
                what,
                service=self.service,
                slot=self.slot,
                retained_bytes=retained,
                limit_bytes=self._max_retained_bytes,
            )
        return head


def _check_level(connection: sa.Connection) -> None:
    if connection.scalar(sa.text("SHOW wal_level")) != "logical":
        raise NotLogical(NotLogical.__doc__)
