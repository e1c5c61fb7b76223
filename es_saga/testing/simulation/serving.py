"""The participant kit in a simulated process: a server, a worker and a runner, in one loop.

Whose fault a failure is, what is refused, and what is an effect, says the `HandlerService`. Here is
where a process dies while a command is carried out:

    DIES_ON_RECEIPT    the handler has run; nothing is committed, nor prepared
    DIES_IN_DOUBT      of two commits the first is done: a hold is prepared, and no row says so; or
                       the row is decided, and what is prepared does not follow it yet
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import sqlalchemy as sa

from es_saga.core.messages import Envelope, Outcome
from es_saga.participant import prepared
from es_saga.participant.ending import Ending
from es_saga.participant.fence import Verdict
from es_saga.participant.job import Job
from es_saga.participant.keeper import Keeper
from es_saga.participant.kit import Part
from es_saga.participant.prepared import ORPHAN_SECONDS, InDoubt
from es_saga.participant.runner import Runner
from es_saga.participant.serve import HANDLER_SECONDS, Server
from es_saga.participant.work import Desk, Work
from es_saga.participant.worker import Worker
from es_saga.testing.faults import Kind
from es_saga.testing.simulation.network import Link
from es_saga.testing.simulation.process import Died
from es_saga.testing.simulation.services import spoken

if TYPE_CHECKING:
    from es_saga.testing.simulation.handlers import HandlerService


class WorldServer(Server):
    """A server whose worker is a task of its process, and whose answers may be spoilt."""

    def __init__(self, service: HandlerService) -> None:
        self._service = service
        super().__init__(service.participant, service.database.engine, _Line(service), workers=1)

    async def start(self) -> None:
        """Take commands: the database is ready."""
        self._loop = asyncio.get_running_loop()
        await self._open()

    def _worker(self, name: str) -> Worker[Job]:
        runner = _Runner(self._service)
        keeper = _Keeper(self._service, runner) if self.participant.has_holds else None
        return _Worker(name, runner, self._worked, self._service, keeper)

    def _worked(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if job.rejected is not None:
                self._service.blame(job.envelope, job.rejected[1])
        super()._worked(jobs)


class _Line(Link):
    """A participant's connection: what is planned for its answers happens to them here."""

    def __init__(self, service: HandlerService) -> None:
        super().__init__(service.network, service.process)
        self._service = service

    def publish(
        self, subject: str, envelope: Envelope, *, ttl: float | None = None
    ) -> asyncio.Future[None]:
        journal = self._service.network.journal
        faults = journal.handling.pop(envelope.causationid or "", ())
        *strangers, last = spoken(envelope, faults, journal, self._service.name)
        for stranger in strangers:
            super().publish(subject, stranger)
        return super().publish(subject, last)


class _Worker(Worker[Job]):
    """A worker that is a task."""

    def __init__(
        self,
        name: str,
        runner: Runner,
        done: Callable[[Sequence[Job]], None],
        service: HandlerService,
        keeper: Keeper | None,
    ) -> None:
        super().__init__(name, runner, done, keeper, clock=service.network.loop.time)
        self._process = service.process

    def start(self) -> None:
        self._process.run(self._live())

    async def _live(self) -> None:
        with suppress(Died):
            await self._main()


class _Keeper(Keeper):
    """A keeper that has to have settled, once it has looked, what a death has left in doubt."""

    def __init__(self, service: HandlerService, runner: Runner) -> None:
        # Nobody else holds anything in this database: there is no need to look around.
        super().__init__(runner, math.inf)
        self._service = service
        self._is_back = False

    async def __call__(self) -> float | None:
        rest = await super().__call__()
        if not self._is_back:
            self._is_back = True
            self._service.is_back()
        return rest


class _Runner(Runner):
    """A runner that may die, and is watched at what it does."""

    def __init__(self, service: HandlerService) -> None:
        self._service = service
        self._process = service.process
        time = service.network.loop.time
        super().__init__(
            service.participant,
            service.database.engine,
            handler_seconds=HANDLER_SECONDS,
            now=time,
            clock=time,
        )
        self._place.statements = service.database.statements
        self._preparing = False

    async def _call(self, job: Job, work: Work) -> Ending:
        desk, service = self._place.connect(), self._service
        database = service.database
        service.plan(job)
        before = 0 if self._preparing else database.changes(desk)  # it is alone in a new one
        service.inside = True
        try:
            ending = await super()._call(job, work)
        except Died:
            self._place.handling = False
            raise
        finally:
            service.inside = False
        # What is prepared is ended after the commit, by nobody's handler.
        ends = job.handling is not None and job.handling.prepared and job.decided is not None
        service.ran(job.envelope, ending, wrote=ends or database.changes(desk) != before)
        if not database.in_transaction(desk) and not self._place.misused:
            service.blame(job.envelope, "its handler ended the transaction")
        if self._preparing:
            self._may_die(job.envelope.id, Kind.DIES_ON_RECEIPT)
        return ending

    async def _prepare(self, job: Job) -> Ending:
        self._preparing = True
        try:
            return await super()._prepare(job)
        finally:
            self._preparing = False

    def _finish(self, job: Job) -> None:
        handling, doubts = job.handling, self._service.database.doubts
        assert handling is not None, "it was read"
        assert doubts is not None, "it prepares"
        if handling.part is not Part.PREPARES:
            self._may_die(job.envelope.id, Kind.DIES_IN_DOUBT)
        before = doubts.open
        super()._finish(job)
        self._service.settled(before - doubts.open if job.decided is None else 0)

    def recover(self) -> list[InDoubt]:
        """As ever; but how long something has been in doubt is the world's time."""
        doubts = self._service.database.doubts
        if doubts is None:
            return []
        before = doubts.open
        desk = self._place.connect().connection
        left = prepared.recover(desk, self._participant, doubts.ages)
        self._service.settled(before - doubts.open)
        if any(found.status is None for found in left):
            self.expires_at = min(self.expires_at, self.now() + ORPHAN_SECONDS)
        return left

    def _may_die(self, message_id: str | None, kind: Kind) -> None:
        if not self._process.alive:  # it died while a handler was awaiting something
            raise Died
        fault = self._service.struck(message_id, kind)
        if fault is not None:
            self._process.die(fault.seconds)
            raise Died

    def _answer_without(self, job: Job, verdict: Verdict) -> Ending:
        self._service.met(verdict.rule)
        return super()._answer_without(job, verdict)

    def _commit(
        self, transaction: sa.RootTransaction, desk: Desk, endings: Sequence[Ending]
    ) -> None:
        for ending in endings:
            second = self._preparing and ending.answer.outcome is Outcome.SUCCEEDED
            kind = Kind.DIES_IN_DOUBT if second else Kind.DIES_ON_RECEIPT
            self._may_die(ending.answer.causationid, kind)
        super()._commit(transaction, desk, endings)
        self._service.committed(endings)

    def _roll_back(self, transaction: sa.RootTransaction) -> None:
        self._service.rolled_back()
        super()._roll_back(transaction)

    def _postpone(self, jobs: Sequence[Job], error: Exception) -> None:
        self._service.out_of_reach(jobs[0], error)
        super()._postpone(jobs, error)

    def _log_failure(self, job: Job, error: BaseException) -> None:
        self._service.raised(job, error)
