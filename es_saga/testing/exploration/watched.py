"""Choreographies, explored: services tell events of their own accord, and the saga only listens.

In every situation it tries all that can happen next: a service tells what it is to tell, or says
no, or never tells; an event that was told reaches the saga, at once, long after, or again; what is
expected is not heard in time; people look, and mend what is stuck.

A service tells a thing once it has been told all that leads to it. One that hears that it must undo
what it has not done yet never does it, as if it had a fence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from es_saga.core.compiled import Observed, StepDefinition
from es_saga.core.decide import react
from es_saga.core.errors import NotYet
from es_saga.core.events import SagaEvent, SagaStuck
from es_saga.core.inputs import Heard, Input, Resolve, RetryStuck, Skip, Tick
from es_saga.core.messages import Direction, Event, Message, Outcome
from es_saga.core.state import GIVEN_UP, SagaState, Work
from es_saga.testing.examples import example
from es_saga.testing.exploration.explorer import NOON, SAGA_ID, Explorer
from es_saga.testing.exploration.moves import OPERATOR, Move, Situation
from es_saga.testing.exploration.services import Delivery, Fate, Services, Settled, Slot
from es_saga.testing.story import Violation

_TOLD = (Fate.DONE, Fate.REFUSED, Fate.EMPTY)

_LOST, _GIVEN_UP = Settled(Fate.FORGOTTEN, 1), Settled(Fate.FORGOTTEN, 2)
"""Not told, and people may have it told after all; or they have said that it never will be."""


class _Part(NamedTuple):
    """One direction of one step: a slot, and what is told when it is settled."""

    slot: Slot
    event: type[Event]
    refusals: tuple[type[Event], ...] = ()

    @property
    def label(self) -> str:
        return self.event.__name__


class WatchedExplorer(Explorer):
    """The exploration of a saga that nobody conducts."""

    def _begin_with(self) -> tuple[Input, Services]:
        first = next(iter(self.definition.steps))
        services = _carry_out(Services(), self._do(first).slot, NOON)
        return self._heard(self._do(first).event), services

    def _moves(self, situation: Situation) -> Iterator[Move]:
        for part in self._parts():
            yield from self._telling(situation, part)
            yield from self._hearing(situation, part)
        if situation.saga.closed is None:
            yield from self._timers(situation)
            if situation.saga.stuck is not None and self.bounds.operators:
                yield from self._operator(situation)

    # ── what services do ─────────────────────────────────────────────────────────────────────────

    def _telling(self, situation: Situation, part: _Part) -> Iterator[Move]:
        services, now = situation.services, situation.now
        service = part.slot.service
        settled = services.fates.get(part.slot)
        if settled is not None or not self._is_due(services, part):
            return
        if part.slot.direction is Direction.UNDO:
            after, what = _undone(services, part.slot, now)
            yield Move(f"{service} tells {part.label}{what}", 0, situation._replace(services=after))
        else:
            after = _carry_out(services, part.slot, now)
            yield Move(f"{service} tells {part.label}", 0, situation._replace(services=after))
            for number, refusal in enumerate(part.refusals, 1):
                after = services.settle(part.slot, Fate.REFUSED, number)
                what = f"{service} tells {refusal.__name__}"
                yield Move(what, 1, situation._replace(services=after))
        after = services.settle(part.slot, *_LOST)
        yield Move(f"{service} never tells {part.label}", 1, situation._replace(services=after))

    def _is_due(self, services: Services, part: _Part) -> bool:
        """Whether all that leads to it was told."""
        step = self.definition.steps[part.slot.step]
        if part.slot.direction is Direction.DO:
            return all(_fate(services, self._do(name).slot) is Fate.DONE for name in step.after)
        return any(cause in self._told(services) for cause in _observed(step).undone_after)

    def _told(self, services: Services) -> set[type[Event]]:
        """Every event that was told."""
        found = (self._event(services, part) for part in self._parts())
        return {event for event in found if event is not None}

    def _event(self, services: Services, part: _Part) -> type[Event] | None:
        """What was told of it, if anything was."""
        settled = services.fates.get(part.slot)
        if settled is None or settled.fate not in _TOLD:
            return None
        return part.refusals[settled.attempt - 1] if settled.fate is Fate.REFUSED else part.event

    def _may_come(self, services: Services, part: _Part) -> bool:
        """Whether an event of it was told, or will be if nobody forgets."""
        settled = services.fates.get(part.slot)
        if settled is not None:
            return settled.fate in _TOLD
        step = self.definition.steps[part.slot.step]
        if part.slot.direction is Direction.DO:
            return all(self._may_come(services, self._do(name)) for name in step.after)
        return any(
            cause in (other.event, *other.refusals) and self._may_be(services, other, cause)
            for cause in _observed(step).undone_after
            for other in self._parts()
        )

    def _may_be(self, services: Services, part: _Part, event: type[Event]) -> bool:
        told = self._event(services, part)
        return told is event if told is not None else self._may_come(services, part)

    # ── what the saga hears ──────────────────────────────────────────────────────────────────────

    def _hearing(self, situation: Situation, part: _Part) -> Iterator[Move]:
        event = self._event(situation.services, part)
        if event is not None:
            yield Move(f"{event.__name__} is heard", 0, situation, self._heard(event))

    def _heard(self, event: type[Event]) -> Heard:
        made: Message = self.data if event is self.definition.data else _made_up(event)
        data = made.model_dump(mode="json")
        return Heard(SAGA_ID, event.by, event.__name__, data, f"{SAGA_ID}/{event.__name__}")

    def _timers(self, situation: Situation) -> Iterator[Move]:
        works = self._works(situation.saga)
        waiting = [(part, work) for part, work in works if work.open and work.due is not None]
        for part, work in waiting:
            due = [one for one, other in waiting if (other.due or 0.0) <= (work.due or 0.0)]
            late = any(self._may_come(situation.services, one) for one in due)
            before = situation._replace(now=max(work.due or 0.0, situation.now))
            yield Move(f"{part.label} is not heard in time", int(late), before, Tick())

    # ── people ───────────────────────────────────────────────────────────────────────────────────

    def _operator(self, situation: Situation) -> Iterator[Move]:
        """Whoever looks tells the truth, or has the service do it after all."""
        saga, services, now = situation.saga, situation.services, situation.now
        verb_id = f"verb-{saga.version}"
        again = RetryStuck(OPERATOR, "it will come", verb_id)
        yield Move("the operator waits for it again", 0, situation, again)
        for part, work in self._works(saga):
            if work.status not in GIVEN_UP:
                continue
            slot, undo = part.slot, part.slot.direction is Direction.UNDO
            if undo == saga.backward:
                what = f"the operator goes on without {part.label}"
                yield Move(what, 0, situation, Skip(OPERATOR, "never mind", verb_id, slot.step))
            if services.fates.get(slot) == _LOST:
                after = _undone(services, slot, now)[0] if undo else _carry_out(services, slot, now)
                what = f"the operator has {slot.service} tell {part.label} after all"
                yield Move(what, 0, situation._replace(services=after))
            told = self._event(services, part)
            if told is None and not undo:
                after = services.settle(slot, *_GIVEN_UP)
                no = Resolve(
                    OPERATOR, "never", verb_id, slot.step, Direction.DO, Outcome.REFUSED, None
                )
                what = f"the operator sees to it that {part.label} will not be"
                yield Move(what, 0, situation._replace(services=after), no)
            elif told is part.event:
                reply = None if undo else _made_up(told).model_dump(mode="json")
                yes = Resolve(
                    OPERATOR, "seen", verb_id, slot.step, slot.direction, Outcome.SUCCEEDED, reply
                )
                yield Move(f"the operator sees {part.label}", 0, situation, yes)

    # ── parts ────────────────────────────────────────────────────────────────────────────────────

    def _parts(self) -> Iterator[_Part]:
        for name in self.definition.steps:
            yield self._do(name)
            undo = self._undo(name)
            if undo is not None:
                yield undo

    def _do(self, name: str) -> _Part:
        observed = _observed(self.definition.steps[name])
        slot = Slot(observed.done.by, name, Direction.DO, 1)
        return _Part(slot, observed.done, observed.refused)

    def _undo(self, name: str) -> _Part | None:
        undone = _observed(self.definition.steps[name]).undone
        return None if undone is None else _Part(Slot(undone.by, name, Direction.UNDO, 1), undone)

    def _works(self, saga: SagaState) -> Iterator[tuple[_Part, Work]]:
        """Everything that was expected so far."""
        for name, own in saga.steps.items():
            yield self._do(name), own.do
            undo = self._undo(name)
            if own.undo is not None and undo is not None:
                yield undo, own.undo

    # ── what is told apart, and what is wrong ────────────────────────────────────────────────────

    def _key(self, situation: Situation) -> tuple[object, ...]:
        saga, fates = situation.saga, situation.services.fates
        steps = [
            None if own is None else (own.do.status, own.undo and own.undo.status, own.late)
            for own in map(saga.steps.get, self.definition.steps)
        ]
        known = [fates.get(part.slot) for part in self._parts()]
        return (saga.status, saga.backward, saga.stuck and saga.stuck.step, *steps, *known)

    def _shortcoming(
        self, situation: Situation, events: Iterable[tuple[int, SagaEvent]]
    ) -> Violation | None:
        """Where nobody forgot anything, nothing may be expected that nobody tells."""
        events = list(events)
        stuck = next((number for number, event in events if isinstance(event, SagaStuck)), None)
        failure = situation.saga.stuck
        if stuck is not None and failure is not None and self._nothing_is_late(situation):
            for part, work in self._works(situation.saga):
                late = work.status in GIVEN_UP and not self._may_come(situation.services, part)
                if late and part.slot.step == failure.step:
                    why = f"{part.label} is expected, and nothing leads to it"
                    return Violation("L53", SAGA_ID, stuck, why)
        return super()._shortcoming(situation, events)

    def _nothing_is_late(self, situation: Situation) -> bool:
        """Whether nothing was forgotten, and all that was told is heard."""
        saga, services, now, _ = situation
        if any(settled.fate is Fate.FORGOTTEN for settled in services.fates.values()):
            return False
        return not any(self._react(saga, self._heard(event), now) for event in self._told(services))

    def _react(self, saga: SagaState, heard: Heard, now: float) -> list[SagaEvent]:
        try:
            return react(self.definition, saga, heard, now).events
        except NotYet:
            return []


def _observed(step: StepDefinition) -> Observed:
    assert step.observed is not None, "nobody conducts it"
    return step.observed


def _fate(services: Services, slot: Slot) -> Fate | None:
    settled = services.fates.get(slot)
    return settled and settled.fate


def _carry_out(services: Services, slot: Slot, at: float) -> Services:
    return services.carry_out(Delivery(SAGA_ID, slot, 1, 1), at)


def _undone(services: Services, slot: Slot, at: float) -> tuple[Services, str]:
    """What an undo changes; where nothing was done there is nothing to undo, nor will be."""
    own = (one for one in services.fates if (one.step, one.direction) == (slot.step, Direction.DO))
    forward = next(own, Slot(slot.service, slot.step, Direction.DO, 1))
    if _fate(services, forward) is Fate.DONE:
        return _carry_out(services, slot, at), ""
    after = services.settle(slot, Fate.EMPTY, 1)
    if services.fates.get(forward) in (None, _LOST):
        after = after.settle(forward, Fate.UNDONE, 1)
    return after, ", which finds nothing to undo"


_EXAMPLES: dict[type[Event], Message] = {}


def _made_up(event: type[Event]) -> Message:
    if event not in _EXAMPLES:
        _EXAMPLES[event] = example(event)
    return _EXAMPLES[event]
