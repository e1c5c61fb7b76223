"""Participants of choreographies that are played by their own reactions, in a simulated process.

    event ─► Subscriber ─► Worker ─► Reactor ─► reaction: inbox, SQL and outbox in one transaction
                                                             │
    event ◄────────────────────────── PollingRelay ◄─────────┘ committed

All of that is the kit's own code; only threads are missing, and the relay is woken by each commit.
What goes wrong strikes where it would: a failure stands in for the reaction, a refusal is told in
its place, who dies on receipt dies before the commit. Each event of the flow is sent under the name
of what it tells of, so that the same faults befall it as the answer to a command.

An effect is an event of the flow that was committed. That it is told only of what was really done,
the participants' data must show: see `invariant`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
from pydantic_core import to_json
from sqlalchemy.exc import IntegrityError

from es_saga.core.compiled import Definition, told_by
from es_saga.core.errors import Terminal, Unavailable
from es_saga.core.events import Json
from es_saga.core.messages import Direction, Envelope, Event, Outcome, command_id
from es_saga.participant.kit import Participant
from es_saga.participant.outbox import COLUMNS, Row, es_outbox
from es_saga.participant.reactor import Occurrence, Reactor
from es_saga.participant.relay import PollingRelay
from es_saga.participant.serve import HANDLER_SECONDS
from es_saga.participant.subscriber import Subscriber, Task
from es_saga.participant.work import Work
from es_saga.participant.worker import Worker
from es_saga.testing.faults import Fault, Kind
from es_saga.testing.simulation.databases import Database
from es_saga.testing.simulation.effects import Effects
from es_saga.testing.simulation.journal import What
from es_saga.testing.simulation.loop import TURN
from es_saga.testing.simulation.mistakes import named, place
from es_saga.testing.simulation.network import Link, Network
from es_saga.testing.simulation.process import Died, Process
from es_saga.testing.simulation.services import ByHand, planned_error
from es_saga.testing.simulation.tellers import event_of, parts, sagas_of, struck, subject_of

P = ParamSpec("P")
T = TypeVar("T")

Opening = Callable[[sa.Connection, Any], None]
"""What somebody does at a service that begins a flow: it adds the event to the outbox, and whatever
the service itself writes by that."""

Openings = Mapping[Any, Opening]
"""By the class of the first event of the flow."""


class ListenerService:
    """One participant with its database, and the processes that serve it one after the other.

    Args:
        openings: how what begins a flow comes about; of others the event alone is added.
        committed: called after each transaction.
    """

    def __init__(
        self,
        participant: Participant,
        database: Database,
        network: Network,
        definitions: Iterable[Definition],
        *,
        openings: Openings,
        effects: Effects,
        committed: Callable[[], None],
    ) -> None:
        self.participant = participant
        self.name = participant.name
        self.database = database
        self.network = network
        self.idle = asyncio.Event()
        """No reaction is at work, perhaps awaiting something, with its transaction open."""
        self.idle.set()
        self._definitions = {definition.name: definition for definition in definitions}
        self._openings = openings
        self._effects = effects
        self._committed = committed
        self._journal = network.journal
        self._position = 0
        """Of the last row of the outbox that was noted."""
        self._told: dict[str, tuple[Row, Outcome]] = {}
        """By command id: what was first told of it."""
        self._names: dict[str, str] = {}
        """Under which a row of the outbox is published."""
        self._serve()

    def _serve(self) -> None:
        self.process = Process(self.name, self.network.loop, self._journal, self._serve)
        self.line = _Line(self)
        self._relay = _Relay(self)
        self.process.run(_Subscriber(self).start())
        self.process.run(self._relay.live())

    @property
    def inside(self) -> bool:
        """Whether a transaction is open."""
        return not self.idle.is_set()

    def end(self) -> None:
        """Serve no more, nor commit what is under way."""
        self.process.alive = False

    def begin(self, saga_type: str, saga_id: str, data: Json, message_id: str) -> None:
        """Have somebody do what begins a flow; asked once more, the same is told once more."""
        definition = self._definitions[saga_type]
        first = next(iter(definition.openings.values())).event
        key = command_id(saga_id, definition.meanings[told_by(first)].step, Direction.DO)
        if key in self._told:
            row, _ = self._told[key]
            self.line.publish(subject_of(row.envelope()), row.envelope())
        elif self.inside:
            again = partial(self.begin, saga_type, saga_id, data, message_id)
            self.network.loop.after(TURN, again)
        else:
            correlation = definition.correlations[told_by(first)]
            envelope = event_of(correlation, saga_type, saga_id, message_id, data)
            event = first.model_validate(envelope.data)
            with self.database.engine.begin() as connection:
                self._openings.get(first, self._just_tell)(connection, event)
            self.committed(begun_as=message_id)

    def _just_tell(self, connection: sa.Connection, event: Event) -> None:
        assert self.participant.outbox is not None, "the cast knows that it publishes"
        self.participant.outbox.add(connection, event)

    # ── reacting ─────────────────────────────────────────────────────────────────────────────────

    def planned(self, heard: Envelope) -> tuple[Fault | None, Event | None]:
        """What is to befall the reaction to an event; and what, if anything, is told instead."""
        for definition, saga_id in sagas_of(self._definitions.values(), heard):
            for part in parts(definition):
                if part.event.by != self.name or not part.follows(heard):
                    continue
                key = command_id(saga_id, part.step, part.direction)
                fault = struck(self._journal, key, self.name)
                refused = fault is not None and fault.kind is Kind.REFUSED
                if part.may_be_refused and (refused or self._effects.spent(part.event.__name__)):
                    return fault, _event(definition, saga_id, part.refusal(key))
                if fault is not None:
                    return fault, None
        return None, None

    def committed(self, *, begun_as: str | None = None) -> None:
        """A transaction is committed: note what is told by it, and have it published."""
        ours = (es_outbox.c.service == self.name, es_outbox.c.position > self._position)
        query = sa.select(*COLUMNS).where(*ours).order_by(es_outbox.c.position)
        book = self.database.connection
        rows = [Row(*row) for row in book.execute(query).all()]
        book.rollback()
        for row in rows:
            self._position = row.position
            for definition, saga_id in sagas_of(self._definitions.values(), row.envelope()):
                self._note(definition, saga_id, row, begun_as)
        self._relay.wake()
        self._committed()

    def _note(self, definition: Definition, saga_id: str, row: Row, begun_as: str | None) -> None:
        meaning = definition.meanings[self.name, row.type]
        key = command_id(saga_id, meaning.step, meaning.direction)
        if key not in self._told:
            self._told[key] = row, meaning.outcome
            self._names[row.id] = begun_as or f"{key}/1/r"
        if meaning.outcome is not Outcome.SUCCEEDED:
            return
        forward = command_id(saga_id, meaning.step, Direction.DO)
        if meaning.direction is Direction.DO:
            self._effects.add(self.name, key, row.type, undoes=None)
        elif forward in self._told and self._told[forward][1] is Outcome.SUCCEEDED:
            self._effects.add(self.name, key, row.type, undoes=forward)

    def name_of(self, event: Envelope) -> str:
        """Under which it is published."""
        return self._names.get(event.id, event.id)

    def raised(self, task: Task, error: BaseException) -> None:
        """A reaction raised; whose fault that is."""
        heard, told = task.envelope, named(error)
        self._journal.note(self.name, What.TOLD, f"fails at {heard.id}: {told}")
        if not isinstance(error, (Unavailable, Terminal, IntegrityError)):
            self.blame(heard, f"{told}{place(error, task.reaction.fn)}")

    def blame(self, heard: Envelope, why: str) -> None:
        """It is the participant that is wrong, and not the flow."""
        flows = sagas_of(self._definitions.values(), heard)
        saga_id = next((saga_id for _, saga_id in flows), "")
        self._journal.complain("participant", saga_id, f"{self.name}, told {heard.type}: {why}")

    # ── an operator at the service's own screen ──────────────────────────────────────────────────

    def settle_by_hand(
        self, key: str, command: str, *, undoes: str | None, do: bool
    ) -> ByHand | None:
        """Look what became of it. What has not happened is left to the reaction, see `Screen`."""
        found = self._told.get(key)
        if found is None:
            return None
        row, outcome = found
        done = outcome is Outcome.SUCCEEDED
        return ByHand(done, to_json(row.envelope().data) if done else None)


def _event(definition: Definition, saga_id: str, kind: type[Event]) -> Event:
    correlation = definition.correlations[told_by(kind)]
    return kind.model_validate(event_of(correlation, definition.name, saga_id, "-").data)


# ── the kit, in one loop ─────────────────────────────────────────────────────────────────────────


class _Line(Link):
    """A service's connection: its events have names that depend on the seed alone."""

    def __init__(self, service: ListenerService) -> None:
        super().__init__(service.network, service.process)
        self._service = service

    def publish(
        self, subject: str, envelope: Envelope, *, ttl: float | None = None
    ) -> asyncio.Future[None]:
        named = envelope.model_copy(update={"id": self._service.name_of(envelope), "time": None})
        return super().publish(subject, named)


class _Relay(PollingRelay):
    """A relay that rests until there is something to publish."""

    def __init__(self, service: ListenerService) -> None:
        super().__init__(service.name, service.database.engine, service.line)
        self._service = service
        self._work = asyncio.Event()

    def wake(self) -> None:
        """There is."""
        self._work.set()

    async def live(self) -> None:
        """Publish, as long as the process lives."""
        try:
            await self._run()
        finally:
            self._backlog.let_go()

    async def _in_thread(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await self._service.idle.wait()  # SQLite has one writer
        return work(*args, **kwargs)

    async def _pause(self, seconds: float) -> None:
        if seconds != self._poll:
            await asyncio.sleep(seconds)
            return
        await self._work.wait()
        self._work.clear()


class _Subscriber(Subscriber):
    """A subscriber whose worker is a task of its process."""

    def __init__(self, service: ListenerService) -> None:
        self._service = service
        super().__init__(service.participant, service.database.engine, service.line)

    async def start(self) -> None:
        """Hear: the database is ready."""
        self._loop = asyncio.get_running_loop()
        await self._open()

    def _made_worker(self) -> Worker[Task]:
        return _Worker(self._service, self._worked)

    def _worked(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            if task.rejected is not None and task.error is None:
                self._service.blame(task.envelope, task.rejected[1])
            if task.outage is not None:
                self._service.blame(task.envelope, f"its database was out of reach: {task.outage}")
        super()._worked(tasks)

    def _log_failure(self, task: Task, error: BaseException) -> None:
        self._service.raised(task, error)


class _Worker(Worker[Task]):
    """A worker that is a task."""

    def __init__(self, service: ListenerService, done: Callable[[Sequence[Task]], None]) -> None:
        super().__init__(f"{service.name}-events", _Reactor(service), done)
        self._process = service.process

    def start(self) -> None:
        self._process.run(self._live())

    async def _live(self) -> None:
        with suppress(Died):
            await self._main()


class _Reactor(Reactor):
    """A reactor that may die, and is watched at what it does."""

    def __init__(self, service: ListenerService) -> None:
        self._service = service
        super().__init__(
            service.participant,
            service.database.engine,
            handler_seconds=HANDLER_SECONDS,
            clock=service.network.loop.time,
        )
        self._place.statements = service.database.statements

    async def _together(self, jobs: Sequence[Occurrence]) -> Exception | None:
        error = await super()._together(jobs)
        if error is None:
            self._service.committed()
        return error

    async def _react(self, job: Occurrence, work: Work) -> None:
        fault, instead = self._service.planned(job.envelope)
        if instead is not None:
            work.publish(instead, None)
            work.finish()
            return
        if fault is not None and fault.kind in (Kind.FAILED, Kind.FAILED_FOR_GOOD):
            raise planned_error(fault)
        self._service.idle.clear()
        try:
            await super()._react(job, work)
        finally:
            self._service.idle.set()
        if fault is not None and fault.kind is Kind.DIES_ON_RECEIPT:
            self._service.process.die(fault.seconds)
            raise Died
