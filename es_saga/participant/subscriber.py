"""Hears events of other services and has them acted on, each once, in order for each aggregate.

    delivery ─► lane of its aggregate ─► worker (transaction, inbox, reaction) ─► acknowledge

One durable consumer for each service that is heard, `evt-<listener>--<service>`. Within a process
the events of one aggregate wait for each other, also while one of them is tried again. Processes
that share the consumer do not wait for each other: where order matters, let one process listen.

Log events of a subscriber: `reaction_failed`, `inbox_not_purged`, and those of a
participant's database.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Self

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from es_saga.core.errors import InvalidInput, Terminal, Unavailable
from es_saga.core.messages import Subjects
from es_saga.engine.ports import Consumer, Delivery, Subscription, Transport
from es_saga.participant import inbox
from es_saga.participant.kit import Participant, Reaction
from es_saga.participant.own_database import OwnDatabase, create_tables
from es_saga.participant.reactor import Occurrence, Reactor
from es_saga.participant.serve import HANDLER_SECONDS
from es_saga.participant.worker import Worker

CONCURRENCY = 256
"""Events of one service that a process works on, or has waiting, by default."""

MAX_ATTEMPTS = 8
"""How often a reaction may raise until its event is put aside. Outages do not count."""

RETRY_SECONDS = (0.2, 1.0, 5.0, 30.0)
"""Before the second, third, … attempt."""

DRAIN_SECONDS = 30.0
"""How long `stop` waits for what is running."""

KEEP_SECONDS = 30.0 * 24 * 3600
"""How long the inbox remembers a message, by default."""

PURGE_SECONDS = 3600.0
"""How often the inbox forgets."""

_log = structlog.get_logger("es_saga.participant")


class Task(Occurrence):
    """An event with the delivery to settle; redelivered meanwhile, it is the last one."""

    __slots__ = ("attempts", "delivery", "lane")

    def __init__(self, delivery: Delivery, reaction: Reaction, lane: _Lane) -> None:
        super().__init__(delivery.envelope, reaction)
        self.delivery = delivery
        self.lane = lane
        self.attempts = 0


_Lane = tuple[str, str | None, str]
"""Whose events wait for each other: service, type and id of an aggregate."""


class Subscriber:
    """Has a participant's reactions act on what other services publish.

    `database` is an engine or a URL (SQLite or PostgreSQL) of the participant's own database.
    `concurrency` bounds the events of one service in the works in this process; `keep` is how long
    the inbox remembers a message, in seconds: longer than any copy of it may take.
    `create_tables` creates the inbox and the participant's tables where they are missing.

    Use it as an async context manager, or `start` and `stop` it.
    """

    def __init__(
        self,
        participant: Participant,
        database: sa.Engine | sa.URL | str,
        transport: Transport,
        *,
        tenant: str = "main",
        concurrency: int = CONCURRENCY,
        handler_seconds: float = HANDLER_SECONDS,
        keep: float = KEEP_SECONDS,
        create_tables: bool = False,
    ) -> None:
        if concurrency < 1:
            raise InvalidInput("concurrency must be at least 1.")
        self.participant = participant
        self._database = OwnDatabase(participant.name, database)
        self._transport = transport
        self._subjects = Subjects(tenant)
        self._concurrency = concurrency
        self._keep = keep
        self._create_tables = create_tables
        self._handler_seconds = handler_seconds
        self._worker = self._made_worker()
        self._subscriptions: list[Subscription] = []
        self._pending: dict[str, Task] = {}
        self._lanes: dict[_Lane, deque[Task]] = {}
        """Those that wait for the first of their lane, which is in the works."""
        self._waiting: list[Task] = []
        self._retries: dict[Task, asyncio.TimerHandle] = {}
        self._running = 0
        self._accepting = False
        self._idle = asyncio.Event()
        self._purging: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Make the database ready, start the worker, then listen.

        Raises:
            NotPrepared: there is no inbox table.
            Unavailable: the database or the broker is out of reach.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(self._prepare)
        except BaseException:
            self._database.let_go()
            raise
        self._purging = asyncio.create_task(self._purge_often())
        await self._open()

    async def _open(self) -> None:
        """Start the worker, then listen: the database is ready."""
        self._worker.start()
        self._accepting = True
        try:
            for service in sorted({service for service, _ in self.participant.reactions}):
                receive = partial(self._receive, service)
                consumer = self._consumer(service)
                self._subscriptions.append(await self._transport.consume(consumer, receive))
        except BaseException:
            await self.stop()
            raise

    async def stop(self, within: float = DRAIN_SECONDS) -> None:
        """Hear no more, and finish what is running; what waits is delivered to somebody else."""
        if not self._accepting:
            return
        for subscription in self._subscriptions:
            await subscription.stop()
        self._accepting = False
        for handle in self._retries.values():
            handle.cancel()
        if self._purging is not None:
            self._purging.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._running or self._waiting:
                    self._idle.clear()
                    await self._idle.wait()
        await asyncio.to_thread(self._worker.stop, within)
        for task in self._pending.values():
            task.delivery.nak()
        self._database.let_go()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _made_worker(self) -> Worker[Task]:
        reactor = Reactor(
            self.participant, self._database.engine, handler_seconds=self._handler_seconds
        )
        return Worker(f"{self.participant.name}-events", reactor, self._worked)

    def _consumer(self, service: str) -> Consumer:
        return Consumer(
            name=f"evt-{self.participant.name}--{service}",
            stream="EVT",
            filter=self._subjects.events_of(service),
            max_ack_pending=self._concurrency,
            in_order=True,
        )

    # ── in ───────────────────────────────────────────────────────────────────────────────────────

    def _receive(self, service: str, delivery: Delivery) -> None:
        envelope = delivery.envelope
        reaction = self.participant.reactions.get((service, envelope.type))
        if not self._accepting:
            delivery.nak()
        elif reaction is None:  # the service tells it, and we do not listen
            delivery.ack()
        elif envelope.id in self._pending:
            self._pending[envelope.id].delivery = delivery
        else:
            lane = (service, envelope.aggregatetype, envelope.subject or envelope.id)
            task = self._pending[envelope.id] = Task(delivery, reaction, lane)
            if lane in self._lanes:
                self._lanes[lane].append(task)
            else:
                self._lanes[lane] = deque()
                self._submit(task)

    def _submit(self, task: Task) -> None:
        self._retries.pop(task, None)
        if not self._waiting:  # once per turn of the loop: what comes together runs together
            self._loop.call_soon(self._hand_out)
        self._waiting.append(task)

    def _hand_out(self) -> None:
        tasks, self._waiting = self._waiting, []
        self._running += len(tasks)
        self._worker.submit(tasks)

    # ── out ──────────────────────────────────────────────────────────────────────────────────────

    def _worked(self, tasks: Sequence[Task]) -> None:
        """In the worker's thread: pass a finished batch on to the loop."""
        with suppress(RuntimeError):  # the loop is closed: the events are delivered again
            self._loop.call_soon_threadsafe(self._settle, tasks)

    def _settle(self, tasks: Sequence[Task]) -> None:
        self._running -= len(tasks)
        for task in tasks:
            if task.error is not None:
                task.attempts += 1
                self._log_failure(task, task.error)
                if task.attempts >= MAX_ATTEMPTS:
                    task.rejected = ("reaction-failed", repr(task.error))
            if task.rejected is not None:
                reason, detail = task.rejected
                task.delivery.reject(reason, detail)
                self._close(task)
            elif task.error is not None or task.outage is not None:
                turn = min(max(task.attempts, 1), len(RETRY_SECONDS))
                self._retry(task, RETRY_SECONDS[turn - 1])
            else:
                task.delivery.ack()
                self._close(task)
        self._idle.set()

    def _retry(self, task: Task, seconds: float) -> None:
        if self._accepting:
            self._retries[task] = self._loop.call_later(seconds, self._submit, task)

    def _close(self, task: Task) -> None:
        """It is done with: the next one of its aggregate may go."""
        del self._pending[task.envelope.id]
        lane = self._lanes[task.lane]
        if not lane:
            del self._lanes[task.lane]
        elif self._accepting:
            self._submit(lane.popleft())

    def _log_failure(self, task: Task, error: BaseException) -> None:
        _log.warning(
            "reaction_failed",
            participant=self.participant.name,
            event_type=task.envelope.type,
            id=task.envelope.id,
            attempt=task.attempts,
            error=type(error).__name__,
            # A reaction that says so itself needs no traceback.
            exc_info=None if isinstance(error, (Unavailable, Terminal)) else error,
        )

    # ── the database ─────────────────────────────────────────────────────────────────────────────

    def _prepare(self) -> None:
        with self._database.within_reach():
            if self._create_tables:
                create_tables(self.participant, self._database.engine)
            self._database.require(inbox.es_inbox)

    async def _purge_often(self) -> None:
        while True:
            try:
                await asyncio.to_thread(
                    inbox.purge, self._database.engine, time.time() - self._keep
                )
            except SQLAlchemyError as error:
                _log.warning(
                    "inbox_not_purged", participant=self.participant.name, error=str(error)
                )
            await asyncio.sleep(PURGE_SECONDS)
