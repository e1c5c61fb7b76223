"""Runs commands in transactions of the participant's database: many in one where that is safe.

run ──► together(group) ──► committed: every job has its answer
            │  ▲
            │  └── collision (deadlock, a twin in another process): again, a few times
            │        then each alone, where it waits as long as its lock takes
            ├── one spoils it (raises, or refuses, after it may have written): roll back,
            │   then those before it together, it alone, those after it together
            ├── a row is locked by one in doubt: each alone, and who meets it is tried again soon
    └── outage: every job is to come again
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import takewhile

import sqlalchemy as sa
import structlog

from es_saga.core.errors import Terminal, Unavailable
from es_saga.core.messages import Message, Outcome, Refusal
from es_saga.participant import prepared
from es_saga.participant.ending import Ending, answered, failed, not_run
from es_saga.participant.fence import (
    FenceTaken,
    Rule,
    Verdict,
    judge,
    keys_of,
    look,
    remember,
)
from es_saga.participant.holds import (
    Book,
    Expiry,
    HoldStatus,
    Settled,
    arguments,
    expired,
)
from es_saga.participant.job import Job
from es_saga.participant.kit import Handling, Part, Participant
from es_saga.participant.outage import Trouble, trouble_of
from es_saga.participant.prepared import InDoubt
from es_saga.participant.reply import BadReply, answer_of, failure_of
from es_saga.participant.tx import SyncTx, Tx
from es_saga.participant.work import Desk, Work
from es_saga.participant.workplace import TransactionMisuse, Workplace, wait_for_locks

SHARED_SECONDS = 0.1
"""A shared transaction takes no further command when it is older than this."""

SHARED_LOCK_SECONDS = 0.1
"""How long a shared transaction waits for a row that another one has locked: two of them may wait
for each other's, and PostgreSQL takes a second to see it, in which nobody else is served."""

MAX_COLLISIONS = 5
"""How often a group is run again because another transaction was in its way."""

COLLISION_WAIT_SECONDS = 0.01
"""Longest wait before the first such run; doubles with each."""

BUSY_SECONDS = 1.0
"""A saga is asked to come back after so long, for what another one has locked."""

RELEASE_AGAIN_SECONDS = 1.0
"""After what has expired could not be released, this long passes before it is tried again."""

_log = structlog.get_logger("es_saga.participant")


class _Spoilt(Exception):
    """The job at `index` ended badly, after it may have written: its writes must not stay."""

    def __init__(self, index: int, ending: Ending) -> None:
        self.index = index
        self.ending = ending


class Runner:
    """Carries out commands, in the thread and the event loop it is used in, on one connection.

    `now` tells seconds since the epoch; `clock` those that pass.
    """

    def __init__(
        self,
        participant: Participant,
        engine: sa.Engine,
        *,
        handler_seconds: float,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._participant = participant
        self._source = f"svc/{participant.name}"
        self._handler_seconds = handler_seconds
        self.now = now
        self._clock = clock
        self._place = Workplace(engine, participant, clock)
        self._book: Book
        """The holds of the transaction that is open."""
        self.expires_at = -math.inf
        """When the first hold expires, as far as is known, in seconds since the epoch."""

    async def run(self, jobs: Sequence[Job]) -> None:
        """Carry them out, in this order. Afterwards each has an answer, or an outage."""
        ready: list[Job] = []
        for job in jobs:
            job.again_at = None
            if job.read(self._participant, self._source):
                ready.append(job)
        groups: deque[list[Job]] = deque()
        _put_back(groups, ready)
        collisions = reconnects = 0
        while groups:
            group = groups.popleft()
            try:
                done = await self._together(group)
            except _Spoilt as spoilt:
                i = spoilt.index
                _put_back(groups, group[:i], [group[i]], group[i + 1 :])
                continue
            except Exception as error:
                trouble = trouble_of(error)
                if self._is_locked(error) and len(group) > 1:
                    _put_back(groups, *([job] for job in group))
                elif self._is_locked(error):
                    group[0].wait(self._clock())
                elif trouble is Trouble.COLLISION and collisions < MAX_COLLISIONS:
                    collisions += 1
                    await asyncio.sleep(random.random() * COLLISION_WAIT_SECONDS * 2**collisions)
                    _put_back(groups, group)
                elif trouble is Trouble.OUTAGE and self._place.connected and reconnects == 0:
                    # Perhaps only the connection is stale. If it broke in the commit: the fence
                    # tells what was done.
                    reconnects += 1
                    self.disconnect()
                    _put_back(groups, group)
                elif trouble is not Trouble.OUTAGE and len(group) > 1:
                    # Each alone, so that who collides waits for its own locks only.
                    collisions = 0
                    _put_back(groups, *([job] for job in group))
                elif trouble is Trouble.MISTAKE:
                    self._fail(group[0], error)
                else:
                    self._postpone([*group, *(job for rest in groups for job in rest)], error)
                    return
                continue
            collisions = reconnects = 0
            _put_back(groups, group[done:])
        self._place.note_reachable()

    def disconnect(self) -> None:
        """Let go of the connection, whatever state it is in."""
        self._place.disconnect()

    async def release_expired(self) -> None:
        """Cancel what nobody has settled in time; `expires_at` tells when there is more to do."""
        now = self.now()
        self.expires_at = now + RELEASE_AGAIN_SECONDS
        connection = self._place.connect().connection
        jobs, expires_at = expired(connection, self._participant, self._source, now)
        await self.run(jobs)
        if all(job.answer and job.answer.outcome is Outcome.SUCCEEDED for job in jobs):
            self.expires_at = expires_at

    async def _together(self, group: list[Job]) -> int:
        """Carry out as many of the group as fit into one transaction, and commit; how many."""
        if group[0].has_waited(self._clock()):
            self._conclude(group, [self._settle_alone(group[0], self._busy(group[0]))])
            return 1
        if _is(group[0], Part.PREPARES):
            self._conclude(group, [await self._prepare(group[0])])
            return 1
        group = list(takewhile(lambda job: not _is(job, Part.PREPARES), group))
        desk = self._place.connect()
        try:
            with self._transaction(desk) as transaction:
                if self._participant.prepares_holds:
                    prepared.wait_briefly(desk.connection)
                elif len(group) > 1:
                    wait_for_locks(desk.connection, SHARED_LOCK_SECONDS)
                endings = await self._carry_out(group, desk)
                self._commit(transaction, desk, endings)
        except _Spoilt as spoilt:
            if len(group) > 1:
                raise
            group[0].decided = None
            endings = [self._settle_alone(group[0], spoilt.ending)]
        self._conclude(group, endings)
        return len(endings)

    def _conclude(self, group: list[Job], endings: Sequence[Ending]) -> None:
        """All is committed but what was prepared before; then they are answered."""
        for job, ending in zip(group, endings, strict=False):
            if job.handling is not None and job.handling.prepared:
                self._finish(job)
            job.answer = ending.answer
            if ending.error is not None:
                self._log_failure(job, ending.error)

    async def _carry_out(self, group: list[Job], desk: Desk) -> list[Ending]:
        """Judge and run each; what they wrote and what is to be remembered is not committed yet."""
        started = self._clock()
        known = look(desk.connection, {key for job in group for key in keys_of(job.envelope)})
        self._book = Book(desk.connection, group)
        endings: list[Ending] = []
        async with asyncio.timeout(SHARED_SECONDS + self._handler_seconds):
            for index, job in enumerate(group):
                if index and self._clock() - started > SHARED_SECONDS:
                    break
                job.decided = None
                verdict = judge(job.envelope, known)
                if verdict.rule is Rule.RUN:
                    work = Work(desk, job.envelope, verdict.record)
                    ending = await self._call(job, work)
                    refused = ending.answer.outcome is not Outcome.SUCCEEDED
                    if self._place.misused or (refused and work.has_written()):
                        raise _Spoilt(index, ending)
                else:
                    ending = self._answer_without(job, verdict)
                if ending.record is not None:
                    known[ending.record.command_id] = ending.record
                endings.append(ending)
        self._book.write()
        return endings

    async def _call(self, job: Job, work: Work) -> Ending:
        """Run the handler."""
        handling = job.handling
        assert handling is not None, "only a job that could be read comes so far"
        try:
            self._place.handling = True
            reply = await self._handle(job, handling, work)
            self._place.handling = False
            answer = answer_of(reply, handling)
            if answer.outcome is Outcome.SUCCEEDED:
                work.finish()
            else:
                work.abandon()
            if self._place.misused:
                raise TransactionMisuse(TransactionMisuse.__doc__)
        except (Exception, asyncio.CancelledError) as error:
            self._place.handling = False
            work.abandon()
            if trouble_of(error) is not Trouble.MISTAKE:
                raise
            if isinstance(error, asyncio.CancelledError):
                error = TimeoutError(f"The handler took more than {self._handler_seconds} s.")
            ending = failed(error, job.envelope, self._source, self.now())
            if isinstance(job, Expiry):  # it is no attempt of the saga's
                return ending._replace(record=None)
            return ending._replace(kept=work.kept)
        ending = answered(answer, job.envelope, self._source, self.now())
        refused = answer.outcome is not Outcome.SUCCEEDED
        return ending._replace(kept=work.kept) if refused else ending

    async def _handle(self, job: Job, handling: Handling, work: Work) -> object:
        """What the handler answers; a hold is kept, or settled, in the same transaction."""
        given: tuple[object, ...] = (job.command,)
        if handling.hold is not None:
            found = self._book.settle(job, work, self.now())
            if isinstance(found, Settled):
                return found.reply
            confirms = handling.part is Part.CONFIRMS
            job.decided = HoldStatus.CONFIRMED if confirms else HoldStatus.CANCELLED
            given = arguments(found, handling)
        reply: object
        if handling.is_async:
            reply = await handling.fn(*given, Tx(work))
        else:
            reply = handling.fn(*given, SyncTx(work))
        if handling.part is Part.TRIES and not isinstance(reply, Refusal):
            assert job.command is not None, "it was read"
            held = reply.model_dump_json().encode() if isinstance(reply, Message) else None
            expires_at = self._book.keep(work, job.command, held, self.now())
            self.expires_at = min(self.expires_at, expires_at)
        return reply

    def _answer_without(self, job: Job, verdict: Verdict) -> Ending:
        return not_run(verdict, job.envelope, self._source, self.now())

    # ── holds that are prepared transactions ─────────────────────────────────────────────────────

    async def _prepare(self, job: Job) -> Ending:
        """Carry out a hold whose transaction is to be prepared: it is alone in it."""
        envelope, command = job.envelope, job.command
        assert envelope.commandid is not None, "the server lets no command without an id pass"
        assert command is not None, "it was read"
        gid = prepared.gid_of(self._participant.name, envelope.commandid)
        desk = self._place.connect()
        with desk.connection.begin():
            verdict = judge(envelope, look(desk.connection, keys_of(envelope)))
            left = prepared.is_prepared(desk.connection, gid)
        if left:  # by a crash, unless it is held
            self._finish(job)
        if verdict.rule is not Rule.RUN:
            return self._answer_without(job, verdict)
        with self._transaction(desk) as transaction:
            prepared.wait_briefly(desk.connection)
            async with asyncio.timeout(self._handler_seconds):
                ending = await self._call(job, Work(desk, envelope, None))
            succeeded = ending.answer.outcome is Outcome.SUCCEEDED
            if succeeded:
                prepared.prepare(desk.connection, gid)
                transaction.commit()  # there is none any more, but SQLAlchemy does not know
        if not succeeded:
            self._roll_back(transaction)
            return self._settle_alone(job, ending)
        assert ending.record is not None, "a success is remembered"
        with self._transaction(desk) as transaction:
            if not prepared.lock(desk.connection, gid):
                raise FenceTaken  # a cancel was here, or a twin
            book = Book(desk.connection)
            work = Work(desk, envelope, None)
            expires_at = book.keep(work, command, ending.record.reply, self.now())
            book.write()
            self._commit(transaction, desk, [ending])
        self.expires_at = min(self.expires_at, expires_at)
        return ending

    def _finish(self, job: Job) -> None:
        """Do to the prepared transaction of a job's hold what was decided."""
        envelope, name = job.envelope, self._participant.name
        hold = envelope.confirms or envelope.undoes or envelope.commandid
        assert hold is not None, "the server lets no command without an id pass"
        desk = self._place.connect().connection
        if job.decided is None:
            prepared.finish(desk, name, hold)
        else:
            prepared.carry_out(desk.engine, name, hold, job.decided)

    def recover(self) -> list[InDoubt]:
        """Settle prepared transactions that are decided; those that are in doubt."""
        if not self._participant.prepares_holds:
            return []
        return prepared.recover(self._place.connect().connection, self._participant)

    # ── transactions ─────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _transaction(self, desk: Desk) -> Generator[sa.RootTransaction, None, None]:
        """A transaction, to be ended inside; it is rolled back if anything is raised there."""
        transaction = desk.connection.begin()
        try:
            yield transaction
        except BaseException:
            self._roll_back(transaction)
            raise

    def _commit(
        self, transaction: sa.RootTransaction, desk: Desk, endings: Sequence[Ending]
    ) -> None:
        for ending in endings:
            for statement, parameters in ending.kept:
                desk.connection.execute(sa.text(statement), parameters)
        remember(desk.connection, [e.record for e in endings if e.record is not None])
        transaction.commit()

    def _roll_back(self, transaction: sa.RootTransaction) -> None:
        self._place.roll_back(transaction)

    def _settle_alone(self, job: Job, ending: Ending) -> Ending:
        """After what the handler had written was rolled back: remember a refusal or a failure.

        And ask whether a failure is only the trace of a twin that was quicker: the one that loses
        may meet the other's rows, as a violated key, before it meets its record.
        """
        desk = self._place.connect()
        with self._transaction(desk) as transaction:
            if ending.error is not None:
                verdict = judge(job.envelope, look(desk.connection, keys_of(job.envelope)))
                if verdict.rule in (Rule.REPEAT, Rule.TOO_LATE):
                    ending = self._answer_without(job, verdict)
            self._commit(transaction, desk, [ending])
        return ending

    # ── what could not be carried out ────────────────────────────────────────────────────────────

    def _is_locked(self, error: Exception) -> bool:
        return self._participant.prepares_holds and prepared.is_locked(error)

    def _busy(self, job: Job) -> Ending:
        busy = Unavailable("What it needs is held by another.", retry_after=BUSY_SECONDS)
        return failed(busy, job.envelope, self._source, self.now())

    def _fail(self, job: Job, error: BaseException) -> None:
        job.answer = failure_of(error, job.envelope, self._source)
        self._log_failure(job, error)

    def _postpone(self, jobs: Sequence[Job], error: Exception) -> None:
        self._place.note_outage(error)
        for job in jobs:
            job.outage = f"{type(error).__name__}: {error}"

    def _log_failure(self, job: Job, error: BaseException) -> None:
        _log.warning(
            "command_failed",
            participant=self._participant.name,
            saga=job.envelope.sagaid,
            step=job.envelope.step,
            command=job.envelope.type,
            command_id=job.envelope.commandid,
            attempt=job.envelope.attempt,
            error=type(error).__name__,
            # A handler that says so itself needs no traceback.
            exc_info=None if isinstance(error, (Unavailable, Terminal)) else error,
            # Ours; what it says itself may have people's data in it.
            **({"detail": error.message} if isinstance(error, BadReply) else {}),
        )


def _put_back(groups: deque[list[Job]], *back: list[Job]) -> None:
    """Have these come next, in this order."""
    groups.extendleft(group for group in reversed(back) if group)


def _is(job: Job, part: Part) -> bool:
    return job.handling is not None and job.handling.part is part
