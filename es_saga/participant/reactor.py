"""Runs reactions to events in transactions of the listener's database, each event once.

Events that come together share a transaction; if one of them fails, each gets one of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from pydantic import ValidationError

from es_saga.core.errors import Terminal
from es_saga.core.messages import Envelope, Event
from es_saga.participant.inbox import Inbox
from es_saga.participant.job import Job, faults_of
from es_saga.participant.kit import Participant, Reaction
from es_saga.participant.outage import Trouble, trouble_of
from es_saga.participant.tx import SyncTx, Tx
from es_saga.participant.work import Work
from es_saga.participant.workplace import TransactionMisuse, Workplace


class Occurrence(Job):
    """An event on its way through a listener. Without a fault of any kind it has been acted on."""

    __slots__ = ("error", "event", "reaction")

    def __init__(self, envelope: Envelope, reaction: Reaction) -> None:
        super().__init__(envelope)
        self.reaction = reaction
        self.event: Event | None = None
        self.error: BaseException | None = None
        """What the reaction raised."""

    def understand(self) -> bool:
        """Make the event out of the payload; False, to be put aside, where that fails."""
        if self.event is None:
            try:
                self.event = self.reaction.event.model_validate(self.envelope.data)
            except ValidationError as fault:
                text = f"The payload is no {self.envelope.type}: {faults_of(fault)}."
                self.rejected = ("bad-payload", text)
                return False
        return True


class Reactor:
    """Acts on events, in the thread and the event loop it is used in, on one connection."""

    def __init__(
        self,
        participant: Participant,
        engine: sa.Engine,
        *,
        handler_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inbox = Inbox(participant.name)
        self._handler_seconds = handler_seconds
        self._place = Workplace(engine, participant, clock)

    async def run(self, jobs: Sequence[Occurrence]) -> None:
        """Act on them, in this order; what they come to stands in each."""
        for job in jobs:
            job.outage = job.error = None
        ready = [job for job in jobs if job.understand()]
        if len(ready) > 1 and await self._together(ready) is None:
            return
        for job in ready:
            error = await self._together([job])
            if error is None:
                continue
            trouble = trouble_of(error)
            if trouble is Trouble.OUTAGE:
                self._place.note_outage(error)
            if trouble is Trouble.MISTAKE:
                job.error = error
            else:
                job.outage = f"{type(error).__name__}: {error}"
            if isinstance(error, Terminal):
                job.rejected = ("terminal", str(error))

    def disconnect(self) -> None:
        """Let go of the connection, whatever state it is in."""
        self._place.disconnect()

    async def _together(self, jobs: Sequence[Occurrence]) -> Exception | None:
        """Act on all of them in one transaction and commit; or on none, and why."""
        try:
            desk = self._place.connect()
            transaction = desk.connection.begin()
        except Exception as error:
            return error
        try:
            for job in jobs:
                if self._inbox.first_time(desk.connection, job.envelope.id):
                    await self._react(job, Work(desk, job.envelope, None))
            transaction.commit()
        except Exception as error:
            self._place.handling = False
            self._place.roll_back(transaction)
            return error
        except BaseException:
            self._place.handling = False
            self._place.roll_back(transaction)
            raise
        self._place.note_reachable()
        return None

    async def _react(self, job: Occurrence, work: Work) -> None:
        self._place.handling = True
        try:
            if job.reaction.is_async:
                async with asyncio.timeout(self._handler_seconds):
                    await job.reaction.fn(job.event, Tx(work))
            else:
                job.reaction.fn(job.event, SyncTx(work))
        except BaseException:
            work.abandon()
            raise
        self._place.handling = False
        work.finish()
        if self._place.misused:
            raise TransactionMisuse(TransactionMisuse.__doc__)
