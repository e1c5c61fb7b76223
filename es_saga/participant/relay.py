"""Relays: they publish what is in a service's outbox, at least once, in order for each aggregate.

    outbox ─► read in order ─► publish, and wait for the broker ─► delete

A crash in between is repaired by publishing again, under the same id. This module has the polling
publisher, which any database will do for; `es_saga.participant.tailing` follows the transaction log
of PostgreSQL.

Log events of a relay: `relay_stands_by`, `relay_takes_over`, `event_put_aside` (a row that can
never be published stays in the outbox, with its fault), `outbox_unreachable`, `outbox_back`,
`relay_failed` (a fault of ours), `slot_lags`, `slot_caught_up`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, Self, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from es_saga.core.errors import InvalidInput, SagaError
from es_saga.core.messages import is_token
from es_saga.database import create_missing
from es_saga.engine.ports import Transport
from es_saga.participant import outbox
from es_saga.participant.backlog import Backlog
from es_saga.participant.own_database import OwnDatabase
from es_saga.participant.publishing import Publisher

BATCH = 500
"""Most rows that are read, published and deleted together."""

POLL_SECONDS = 0.05
"""Pause of a polling publisher that has found nothing, by default."""

STAND_BY_SECONDS = 1.0
"""How often a relay looks whether the one that works is gone."""

OUTAGE_SECONDS = (0.2, 5.0)
"""Pause after the database was out of reach: at first, and at most; doubled each time."""

STOP_SECONDS = 5.0
"""How long `stop` waits until the broker has what is on its way."""

P = ParamSpec("P")
T = TypeVar("T")

_log = structlog.get_logger("es_saga.outbox")


class Relay(ABC):
    """What relays have in common: their life, and outages.

    `service` is whose events they are, the name that listeners know; `database` an engine or a URL.
    Use it as an async context manager, or `start` and `stop` it. Several relays of one outbox do no
    harm.
    """

    def __init__(
        self,
        service: str,
        database: sa.Engine | sa.URL | str,
        transport: Transport,
        *,
        tenant: str = "main",
        create_tables: bool = False,
    ) -> None:
        if not is_token(service):
            raise InvalidInput(f"{service!r} cannot be a service.", hint="Use [A-Za-z0-9_-]+.")
        self.service = service
        self._database = OwnDatabase(service, database)
        self._engine = self._database.engine
        self._create_tables = create_tables
        self._backlog = Backlog(self._engine, service)
        self._publisher = Publisher(service, transport, tenant=tenant)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"outbox-{service}")
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._reachable = True
        self._standing_by = False

    async def start(self) -> None:
        """Look whether all is there that is needed, then begin.

        Raises:
            NotPrepared: there is no table `es_outbox`.
            Unavailable: the database is out of reach.
        """
        try:
            await self._in_thread(self._prepare)
        except BaseException:
            await self._let_go()
            raise
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Finish what is on its way, for up to STOP_SECONDS; what is left is published later."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping.set()
        done, _ = await asyncio.wait((task,), timeout=STOP_SECONDS)
        if not done:
            task.cancel()
            await asyncio.wait((task,))
        await self._let_go()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @abstractmethod
    async def _relay(self) -> None:
        """Publish, until it is to stop or there is trouble. It is our turn."""

    def _prepare(self) -> None:
        """In the thread. Raises as `start`."""
        with self._database.within_reach():
            if self._create_tables:
                with self._engine.begin() as connection:
                    create_missing(connection, outbox.metadata)
            self._database.require(outbox.es_outbox)

    async def _run(self) -> None:
        pause, most = OUTAGE_SECONDS
        while not self._stopping.is_set():
            try:
                if await self._in_thread(self._backlog.take_turn):
                    self._note_working(True)
                    await self._relay()
                else:
                    self._note_working(False)
                    await self._pause(STAND_BY_SECONDS)
                pause = OUTAGE_SECONDS[0]
                continue
            except (SQLAlchemyError, SagaError, OSError) as error:
                if self._reachable:
                    self._reachable = False
                    _log.error("outbox_unreachable", service=self.service, error=str(error))
            except Exception:
                _log.exception("relay_failed", service=self.service)
            await self._in_thread(self._backlog.let_go)
            await self._pause(pause)
            pause = min(most, 2 * pause)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless it is to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _in_thread(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(work, *args, **kwargs))

    async def _let_go(self) -> None:
        await self._in_thread(self._backlog.let_go)
        await asyncio.to_thread(self._thread.shutdown)
        self._database.let_go()

    def _note_working(self, working: bool) -> None:
        if working and not self._reachable:
            self._reachable = True
            # As loud as the outage: whoever saw that one wants to see its end.
            _log.warning("outbox_back", service=self.service)
        if working is self._standing_by:
            self._standing_by = not working
            _log.info("relay_takes_over" if working else "relay_stands_by", service=self.service)

    async def _publish_oldest(self, *, before: float | None = None) -> int:
        """Publish the next batch of what the table holds; how many rows that were."""
        rows = await self._in_thread(self._backlog.oldest, BATCH, before=before)
        if rows:
            published = await self._publisher.publish(rows)
            await self._in_thread(self._backlog.settle, published)
        return len(rows)


class PollingRelay(Relay):
    """The polling publisher: asks the table for new rows, again and again (requirement R072).

    `poll` is how long it rests after it has found none, in seconds.
    """

    def __init__(
        self,
        service: str,
        database: sa.Engine | sa.URL | str,
        transport: Transport,
        *,
        tenant: str = "main",
        poll: float = POLL_SECONDS,
        create_tables: bool = False,
    ) -> None:
        super().__init__(service, database, transport, tenant=tenant, create_tables=create_tables)
        self._poll = poll

    async def _relay(self) -> None:
        while not self._stopping.is_set():
            if not await self._publish_oldest():
                await self._pause(self._poll)
