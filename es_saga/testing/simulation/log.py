"""The saga log of a simulated world: the memory store with its views, shared by all managers."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import (
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, Final, TypeVar, cast

from es_saga.adapters.memory_store import MemoryStore
from es_saga.core.aggregate import fold
from es_saga.core.compiled import Definition, StepKind
from es_saga.core.errors import Unavailable
from es_saga.core.events import SagaEvent, StepRetried, StepStarted
from es_saga.core.messages import PARTS, Envelope
from es_saga.core.state import SagaState, SagaStatus
from es_saga.core.unfolding import unfolded
from es_saga.engine.ports import Append, Recorded
from es_saga.projections.audit import AuditView
from es_saga.projections.status import StatusView
from es_saga.testing.faults import Fault, Kind
from es_saga.testing.simulation.journal import Journal, What, Written
from es_saga.testing.simulation.loop import TURN, LoopClock, SimulatedLoop
from es_saga.testing.simulation.process import Process

COMMIT_SECONDS: Final = TURN
"""How long a transaction takes; what arrives meanwhile is decided together."""

RING_SECONDS: Final = 0.125
"""How soon somebody looks once more at a saga that is overdue; from then on later and later."""

MAX_RING_SECONDS: Final = 3600.0
"""And at most this much later."""

BACKLOG: Final = 8
"""Events that the views may be behind; besides, as many as they have seen."""

T = TypeVar("T")
Row = tuple[Any, ...]


class Log:
    """What is committed, and where every saga stands.

    Args:
        definitions: of every version that a saga may be on.
    """

    def __init__(
        self, loop: SimulatedLoop, journal: Journal, definitions: Iterable[Definition] = ()
    ) -> None:
        self.store = MemoryStore()
        self.loop = loop
        self.journal = journal
        self.states: dict[str, SagaState] = {}
        self.open: set[str] = set()
        """Sagas that are neither closed nor stuck, nor held by their parents."""
        self.status: dict[str, Row] = {}
        """The status view: its row of each saga, as `StatusView` would write it. It follows behind
        and has caught up in the end."""
        self.audit: list[Row] = []
        """The audit view's rows, in the order in which they were added."""
        self._definitions = {(one.name, one.version): one for one in definitions}
        self._stuck_children: set[str] = set()
        self._views = StatusView(), AuditView()
        self._news: list[Recorded] = []
        self._moved: dict[str, SagaState] = {}
        self.awaited: Callable[[SagaState, str], None] = lambda _saga, _step: None
        """Is told when a saga begins to wait for the world outside, and at which step."""
        self.committed: Callable[[SagaState, Sequence[SagaEvent]], None] = lambda _saga, _added: (
            None
        )
        """Is told what was added to a saga's history."""
        self._watched: dict[str, float] = {}
        """When somebody will see to it that a saga that is due is looked at."""

    def commit(self, by: Process, part: int, batch: Sequence[Append]) -> list[int | None]:
        """Append in one transaction, views and all."""
        positions = self.store.append(part, batch).result()
        for item, position in zip(batch, positions, strict=True):
            saga_id, events, state = item.saga_id, item.events, item.state
            if position is None:
                self.journal.met["conflict"] += 1
                self.journal.note(by.name, What.REFUSED, f"{saga_id}#{item.version + 1} is taken")
                continue
            before = position - len(events)
            for number, event in enumerate(events, 1):
                at, version = before + number, item.version + number
                self._news.append(Recorded(part, at, saga_id, version, event, b""))
            self._moved[saga_id] = self.states[saga_id] = state
            self.journal.note(by.name, What.WRITTEN, Written(saga_id, item.version + 1, events))
            for event in events if state.waiting else ():
                if isinstance(event, StepStarted | StepRetried) and event.step in state.waiting:
                    self.awaited(state, event.step)
            self.committed(state, events)
            if state.closed is None and state.status is not SagaStatus.STUCK and not state.held:
                self.open.add(saga_id)
            else:
                self.open.discard(saga_id)
            if state.status is SagaStatus.STUCK and state.origin.parent is not None:
                self._stuck_children.add(saga_id)
            else:
                self._stuck_children.discard(saga_id)
        if len(self._news) > BACKLOG + len(self.audit):
            self.catch_up()
        return positions

    def definition_of(self, state: SagaState) -> Definition:
        """The one that a saga is on, whatever newer ones there are, as it has it by now."""
        origin = state.origin
        return unfolded(self._definitions[origin.saga_type, origin.definition], state)

    def looks(self, command: Envelope) -> bool:
        """Whether a command only looks: the step that sends it is a check in its saga."""
        state = self.states.get(command.sagaid or "")
        step = state and self.definition_of(state).steps.get(command.step or "")
        return step is not None and step.kind is StepKind.CHECK

    @property
    def over(self) -> bool:
        """Whether nothing is open but what waits for a child that is stuck."""
        waiting: set[str] = set()
        for child in self._stuck_children if self.open else ():
            parent = self.states[child].origin.parent
            while parent is not None:
                waiting.add(parent.saga_id)
                parent = self.states[parent.saga_id].origin.parent
        return self.open <= waiting

    def catch_up(self) -> None:
        """Bring the views up to the log."""
        recorded, states = self._news, self._moved
        self._news, self._moved = [], {}
        status, audit = self._views
        begun, moved = (iter(rows) for rows in status.rows(recorded, states))
        new = {event.saga_id for event in recorded if event.version == 1}
        for saga_id in states:
            if saga_id in new:
                self.status[saga_id] = next(begun)
            else:
                row = next(moved)
                self.status[saga_id] = row + self.status[saga_id][len(row) :]
        self.audit += audit.rows(recorded)

    def watch(self, state: SagaState, clock: LoopClock) -> None:
        """See that time comes to when the saga is due; who is to act on it is dozing."""
        due, saga_id = state.next_due, state.saga_id
        if due is not None and due - clock.offset < self._watched.get(saga_id, math.inf):
            self._watched[saga_id] = due = due - clock.offset
            self.loop.at(due, self._ring, saga_id, due, clock, RING_SECONDS)

    def _ring(self, saga_id: str, due: float, clock: LoopClock, wait: float) -> None:
        """It is due by now; if it is not looked at, somebody is dead, or behind the time."""
        if self._watched.get(saga_id) != due or saga_id not in self.open:
            return
        now, state = self.loop.now, self.states[saga_id]
        overdue = state.next_due is not None and state.next_due - clock.offset <= now
        if overdue:
            self._watched[saga_id] = due = now + wait
            wait = min(2 * wait, MAX_RING_SECONDS)
            self.loop.at(due, self._ring, saga_id, due, clock, wait)
        else:
            del self._watched[saga_id]
            self.watch(state, clock)

    def rebuilt(self) -> dict[str, Row]:
        """The status view, made anew from nothing but the events (law L54)."""
        again = Log(self.loop, self.journal)
        for recorded in self.recorded():
            again._news = recorded
            again._moved = {
                event.saga_id: self._folded(event.saga_id)
                for event in recorded
                if event.version == 1
            }
            again.catch_up()
        return again.status

    def recorded(self) -> Iterator[list[Recorded]]:
        """The events of each part, in order."""
        for part in range(PARTS):
            yield list(at_once(self.store.read(part, after=0, limit=sys.maxsize)))

    def history(self, saga_id: str) -> Sequence[SagaEvent]:
        """A saga's events; none if it has not begun."""
        return at_once(self.store.load([saga_id])).get(saga_id, ())

    def _folded(self, saga_id: str) -> SagaState:
        state = fold(saga_id, self.history(saga_id))
        assert state is not None, "it has events"
        return state


class LogPort:
    """A manager's connection to the log: a `Store` that dies with it.

    Args:
        reached: told of the faults that strike when a saga's history has come so far.
    """

    def __init__(
        self,
        log: Log,
        process: Process,
        clock: LoopClock,
        reached: Callable[[Fault, SagaState, LoopClock], None],
    ) -> None:
        self._log = log
        self._process = process
        self._clock = clock
        self._reached = reached

    def append(self, part: int, batch: Sequence[Append]) -> asyncio.Future[list[int | None]]:
        """See `Store.append`."""
        process, log = self._process, self._log
        if not process.alive:
            return process.never()
        done: asyncio.Future[list[int | None]] = log.loop.create_future()
        struck = self._strike(batch)
        if struck is not None and struck.kind is Kind.DIES_BEFORE_APPEND:
            process.die(struck.seconds)
            return done
        if struck is not None and struck.kind is Kind.LOG_AWAY:
            done.set_exception(Unavailable("The log is out of reach."))
            return done
        positions = log.commit(process, part, batch)
        for item, position in zip(batch, positions, strict=True):
            if position is not None:
                self._written(item.state)
        if struck is None:
            log.loop.after(COMMIT_SECONDS, _resolve, done, positions)
        elif struck.kind is Kind.DIES_AFTER_APPEND:
            process.die(struck.seconds)
        else:
            done.set_exception(Unavailable("The log went out of reach."))
        return done

    def _strike(self, batch: Sequence[Append]) -> Fault | None:
        """The fault that befalls this transaction: the first one; others are used up with it."""
        journal, found = self._log.journal, None
        for item in batch:
            version = item.version + len(item.events)
            for fault in journal.reached(journal.writing, item.saga_id, version):
                journal.strikes(fault, self._process.name)
                found = found or fault
        return found

    def _written(self, state: SagaState) -> None:
        self._log.watch(state, self._clock)
        stuck = state.status is SagaStatus.STUCK
        journal = self._log.journal
        due = journal.reached(journal.written, state.saga_id, state.version, stuck=stuck)
        for fault in due:
            journal.strikes(fault, self._process.name)
            self._reached(fault, state, self._clock)

    async def load(self, saga_ids: Collection[str]) -> Mapping[str, Sequence[SagaEvent]]:
        """See `Store.load`. In the order of the ids: that of a set differs from run to run."""
        await self._log.loop.pause(COMMIT_SECONDS)
        return await self._log.store.load(sorted(saga_ids))

    async def read(self, part: int, *, after: int, limit: int) -> Sequence[Recorded]:
        """See `Store.read`."""
        return await self._log.store.read(part, after=after, limit=limit)

    async def head(self, part: int) -> int:
        """See `Store.head`."""
        return await self._log.store.head(part)

    async def claim(self, part: int) -> int:
        """See `Store.claim`."""
        return await self._log.store.claim(part)

    async def open_sagas(self, part: int) -> Sequence[tuple[str, float | None]]:
        """See `Store.open_sagas`."""
        return await self._log.store.open_sagas(part)

    async def checkpoint(self, name: str, part: int) -> int:
        """See `Store.checkpoint`."""
        return await self._log.store.checkpoint(name, part)

    async def advance(self, name: str, positions: Mapping[int, int]) -> None:
        """See `Store.advance`."""
        if self._process.alive:
            await self._log.store.advance(name, positions)

    async def close(self) -> None:
        """The log outlives its readers."""


def at_once(answer: Coroutine[Any, Any, T]) -> T:
    """What the memory store answers: its reads are coroutines that never wait."""
    try:
        answer.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    raise AssertionError("it waited")


def _resolve(done: asyncio.Future[list[int | None]], positions: list[int | None]) -> None:
    if not done.done():  # whoever waited may have been killed
        done.set_result(positions)
