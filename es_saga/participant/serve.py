"""Serves a participant's commands: from the transport, or handed over in this process.

    delivery ─► pending ─► worker (transaction, fence, handler) ─► publish the reply ─► acknowledge

A reply is published after the commit, and the command acknowledged after the reply: a crash in
between is repaired by redelivery, which the fence answers from memory.

Log events of a participant: `command_failed`, `database_unreachable`, `database_back`,
`batch_failed` (a fault of ours), `drain_incomplete`, `transaction_in_doubt`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import sqlalchemy as sa
import structlog

from es_saga.core.errors import DefinitionError, InvalidInput, Unavailable
from es_saga.core.messages import Envelope, Subjects, part_of
from es_saga.engine.ports import Consumer, Delivery, Subscription, Transport
from es_saga.participant import fence, holds, prepared
from es_saga.participant.job import Job
from es_saga.participant.keeper import Keeper
from es_saga.participant.kit import Participant
from es_saga.participant.own_database import OwnDatabase, create_tables
from es_saga.participant.runner import Runner
from es_saga.participant.worker import Worker

CONCURRENCY = 256
"""Commands that one process works on, or has waiting, by default."""

POSTGRES_WORKERS = 2
"""Threads, each with a connection, by default. On SQLite there is one: it has one writer."""

HANDLER_SECONDS = 30.0
"""How long an async handler may take, by default."""

DRAIN_SECONDS = 30.0
"""How long `stop` waits for what is running, by default."""

REDELIVERY_SECONDS = (1.0, 5.0, 30.0, 120.0)
"""Before the second, third, … delivery of a command that was not settled."""

MAX_DELIVER = 8
MAX_COMMAND_ID_CHARS = 300

_log = structlog.get_logger("es_saga.participant")


class _Task(Job):
    """A job with those who wait for it."""

    __slots__ = ("call", "deliveries")

    def __init__(self, envelope: Envelope) -> None:
        super().__init__(envelope)
        self.deliveries: list[Delivery] = []
        """The message, and its redeliveries while it was being worked on."""
        self.call: asyncio.Future[Envelope] | None = None


class Server:
    """Carries out a participant's commands on its own database.

    `database` is an engine, with a connection more than there are workers, or a URL (SQLite or
    PostgreSQL). Without a `transport` only `call` works. `concurrency` bounds the commands in the
    works in this process; where handlers take long, set it low, for a message that waits longer
    than a second is delivered again, perhaps to another process. `workers` is the number of
    threads, each with one command at a time: raise it (PostgreSQL only) where handlers await slow
    services. Commands of one saga meet in the same thread. `create_tables` creates the fence and
    the participant's tables where they are missing.

    Use it as an async context manager, or `start` and `stop` it.
    """

    def __init__(
        self,
        participant: Participant,
        database: sa.Engine | sa.URL | str,
        transport: Transport | None = None,
        *,
        tenant: str = "main",
        concurrency: int = CONCURRENCY,
        workers: int | None = None,
        handler_seconds: float = HANDLER_SECONDS,
        create_tables: bool = False,
    ) -> None:
        if concurrency < 1 or (workers is not None and workers < 1):
            raise InvalidInput("concurrency and workers must be at least 1.")
        self.participant = participant
        threads = workers or POSTGRES_WORKERS
        self._database = OwnDatabase(participant.name, database, connections=threads + 1)
        if self._database.engine.dialect.name == "sqlite":
            threads = 1
        self._transport = transport
        self._subjects = Subjects(tenant)
        self._concurrency = concurrency
        self._create_tables = create_tables
        self._handler_seconds = handler_seconds
        self._workers = [self._worker(f"{participant.name}-{n}") for n in range(threads)]
        self._subscription: Subscription | None = None
        self._pending: dict[str, _Task] = {}
        self._calls = 0
        self._waiting: list[list[_Task]] = [[] for _ in self._workers]
        self._handing_out = False
        self._accepting = False
        self._idle = asyncio.Event()

    async def start(self) -> None:
        """Make the database ready, start the workers, then take commands.

        Raises:
            CannotPrepare: it prepares transactions, and its database cannot.
            DefinitionError: it holds what it never confirms or cancels.
            NotPrepared: there is no fence table, or no table of holds where it needs one.
            Unavailable: the database is out of reach.
        """
        self._loop = asyncio.get_running_loop()
        faults = self.participant.faults()
        if faults:
            raise DefinitionError(self.participant.name, faults, kind="participant")
        try:
            await asyncio.to_thread(self._prepare)
        except BaseException:
            self._database.let_go()
            raise
        await self._open()

    async def _open(self) -> None:
        """Start the workers, then take commands."""
        for worker in self._workers:
            worker.start()
        self._accepting = True
        if self._transport is not None:
            try:
                self._subscription = await self._transport.consume(self._consumer(), self._receive)
            except BaseException:
                await self.stop()
                raise

    async def stop(self, within: float = DRAIN_SECONDS) -> None:
        """Take no more, finish what is running, publish and acknowledge; `within` seconds.

        What is not finished then is delivered again, to whoever serves next.
        """
        if not self._accepting:
            return
        if self._subscription is not None:
            await self._subscription.stop()
        self._accepting = False
        self._settle_idle()
        deadline = self._loop.time() + within
        try:
            async with asyncio.timeout_at(deadline):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("drain_incomplete", participant=self.participant.name)
        for worker in self._workers:
            left = max(0.0, deadline - self._loop.time())
            await asyncio.to_thread(worker.stop, left)
        self._database.let_go()

    def _worker(self, name: str) -> Worker[Job]:
        """Who carries them out."""
        engine, seconds = self._database.engine, self._handler_seconds
        runner = Runner(self.participant, engine, handler_seconds=seconds)
        keeper = Keeper(runner) if self.participant.has_holds else None
        return Worker(name, runner, self._worked, keeper)

    def _consumer(self) -> Consumer:
        name = self.participant.name
        return Consumer(
            name=f"svc-{name}",
            stream="CMD",
            filter=self._subjects.commands_of(name),
            max_ack_pending=2 * self._concurrency,
            backoff=REDELIVERY_SECONDS,
            max_deliver=MAX_DELIVER,
        )

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def call(self, envelope: Envelope) -> Envelope:
        """Carry out one command without a broker (requirement R069); its reply.

        The same fence, the same handlers: a repeat is answered from memory. A failure is a reply
        with the outcome `failed`, not an exception.

        Raises:
            InvalidInput: the envelope has no usable command id.
            Unavailable: not serving, too busy, or the database is out of reach.
        """
        fault = _command_id_fault(envelope)
        if fault:
            raise InvalidInput(fault)
        if not self._accepting:
            raise Unavailable(f"{self.participant.name} is not serving.", hint="Start the server.")
        if self._calls >= 2 * self._concurrency:
            raise Unavailable(f"{self.participant.name} is busy.", retry_after=1.0)
        task = _Task(envelope)
        task.call = self._loop.create_future()
        self._calls += 1
        try:
            self._route(task)
            return await task.call
        finally:
            self._calls -= 1
            self._settle_idle()

    # ── in ───────────────────────────────────────────────────────────────────────────────────────

    def _receive(self, delivery: Delivery) -> None:
        envelope = delivery.envelope
        if not self._accepting:
            delivery.nak()
            return
        fault = _command_id_fault(envelope)
        if fault:
            delivery.reject("bad-command-id", fault)
            return
        known = self._pending.get(envelope.id)
        if known is not None:  # we were slow, and it came again: settled together
            known.deliveries.append(delivery)
            return
        task = self._pending[envelope.id] = _Task(envelope)
        task.deliveries.append(delivery)
        self._route(task)

    def _route(self, task: _Task) -> None:
        # By saga, so that a command and its undo never meet in two transactions of one process.
        key = task.envelope.sagaid or task.envelope.commandid or ""
        self._waiting[part_of(key) % len(self._workers)].append(task)
        if not self._handing_out:  # once per turn of the loop: what arrives together runs together
            self._handing_out = True
            self._loop.call_soon(self._hand_out)

    def _hand_out(self) -> None:
        self._handing_out = False
        for number, tasks in enumerate(self._waiting):
            if tasks:
                self._waiting[number] = []
                self._workers[number].submit(tasks)

    # ── out ──────────────────────────────────────────────────────────────────────────────────────

    def _worked(self, jobs: Sequence[Job]) -> None:
        """In a worker's thread: pass a finished batch on to the loop."""
        with suppress(RuntimeError):  # the loop is closed: the commands are delivered again
            self._loop.call_soon_threadsafe(self._settle, jobs)

    def _settle(self, jobs: Sequence[Job]) -> None:
        for task in jobs:
            assert isinstance(task, _Task)
            if task.call is not None:
                self._settle_call(task, task.call)
            elif task.answer is None:
                self._put_back(task)
            else:
                self._reply(task, task.answer)

    def _settle_call(self, task: _Task, call: asyncio.Future[Envelope]) -> None:
        if call.done():
            return
        if task.answer is not None:
            call.set_result(task.answer)
        else:
            call.set_exception(Unavailable(task.outage, retry_after=REDELIVERY_SECONDS[0]))

    def _put_back(self, task: _Task) -> None:
        for delivery in task.deliveries:
            turn = min(delivery.delivered, len(REDELIVERY_SECONDS))
            delivery.nak(REDELIVERY_SECONDS[turn - 1])
        self._close(task)

    def _reply(self, task: _Task, answer: Envelope) -> None:
        address = task.envelope.replyto
        if self._transport is None or address is None:
            self._finish(task)
        elif address.startswith(f"{self._subjects.root}.rpl."):
            published = self._transport.publish(address, answer)
            published.add_done_callback(partial(self._published, task))
        else:  # a private inbox: somebody waits for it, or nobody does
            self._transport.tell(address, answer)
            self._finish(task)

    def _published(self, task: _Task, published: asyncio.Future[None]) -> None:
        error = None if published.cancelled() else published.exception()
        if published.cancelled() or isinstance(error, Unavailable):
            self._close(task)  # the transport was closed: not acknowledged, so delivered again
        elif error is not None:
            task.rejected = task.rejected or ("reply-not-sent", str(error))
            self._finish(task)
        else:
            self._finish(task)

    def _finish(self, task: _Task) -> None:
        for delivery in task.deliveries:
            if task.rejected is None:
                delivery.ack()
            else:
                delivery.reject(*task.rejected)
        self._close(task)

    def _close(self, task: _Task) -> None:
        self._pending.pop(task.envelope.id, None)
        if not self._accepting:
            self._settle_idle()

    def _settle_idle(self) -> None:
        if not self._accepting and not self._pending and not self._calls:
            self._idle.set()

    # ── the database ─────────────────────────────────────────────────────────────────────────────

    def _prepare(self) -> None:
        database, participant = self._database, self.participant
        with database.within_reach():
            if self._create_tables:
                create_tables(participant, database.engine)
            database.require(fence.es_fence)
            prepared.check(participant, database.engine)
            if participant.has_holds:
                database.require(holds.es_holds)


async def serve(
    participant: Participant,
    database: sa.Engine | sa.URL | str,
    transport: Transport,
    *,
    until: asyncio.Event,
    tenant: str = "main",
    concurrency: int = CONCURRENCY,
    workers: int | None = None,
    handler_seconds: float = HANDLER_SECONDS,
    create_tables: bool = False,
) -> None:
    """Serve until the event is set, then drain; see `Server` for the options."""
    server = Server(
        participant,
        database,
        transport,
        tenant=tenant,
        concurrency=concurrency,
        workers=workers,
        handler_seconds=handler_seconds,
        create_tables=create_tables,
    )
    async with server:
        await until.wait()


def _command_id_fault(envelope: Envelope) -> str:
    """Why nothing can be remembered under this envelope's command id (law L43); empty: it can."""
    if not envelope.commandid:
        return "The command has no command id: it could not be told from its repetition."
    for value in (envelope.commandid, envelope.undoes or ""):
        if len(value) > MAX_COMMAND_ID_CHARS:
            return f"A command id has at most {MAX_COMMAND_ID_CHARS} characters."
    return ""
