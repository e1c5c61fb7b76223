"""Which events belong together: one input led to them, and they were committed together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from es_saga.core.events import (
    OperatorEvent,
    ParentDecided,
    SagaEvent,
    SagaStarted,
    SignalReceived,
    StepRetried,
    StepStarted,
    StepTimedOut,
)
from es_saga.core.inputs import Input
from es_saga.core.state import SagaState
from es_saga.replay.attempts import spans
from es_saga.replay.inputs import TIMES, Kind, input_of, kind_of
from es_saga.replay.wording import decided_on


class Reaction(NamedTuple):
    """What one input led to."""

    number: int
    """1, 2, 3, …"""
    kind: Kind
    what: str
    """The input in words: `charge was refused: CardDeclined`."""
    input: Input | None
    """As far as the events tell it; None: nothing in this release leads to such events."""
    at: float
    """Seconds since the epoch."""
    first: int
    """Number of its first event, counted from 1."""
    last: int


def reactions(
    saga_id: str, events: Sequence[SagaEvent], states: Sequence[SagaState]
) -> tuple[Reaction, ...]:
    """A history cut where one reaction ends and the next one begins; needs no definition.

    `states` are those after each event. That it cuts where `decide` would is tested on the
    histories of simulated worlds.
    """
    found: list[Reaction] = []
    waits, begun = waits_of(events), spans(events)
    begin = 0
    for end in range(1, len(events) + 1):
        if end < len(events) and not _begins(events, begin, end, waits):
            continue
        event = events[begin]
        before = states[begin - 1] if begin else None
        given = input_of(saga_id, before, events[begin:end])
        what = decided_on(events[begin:end], waits, begun)
        number = len(found) + 1
        kind = kind_of(event, waits)
        found.append(Reaction(number, kind, what, given, event.at, begin + 1, end))
        begin = end
    return tuple(found)


def waits_of(events: Sequence[SagaEvent]) -> frozenset[str]:
    """The steps that ask nobody."""
    begun = (event for event in events if isinstance(event, StepStarted))
    return frozenset(event.step for event in begun if not event.to)


def _begins(events: Sequence[SagaEvent], begin: int, index: int, waits: frozenset[str]) -> bool:
    """Whether a reaction begins with this event, while one that began earlier is going on."""
    first, event = events[begin], events[index]
    if event.at != first.at:
        return True
    kind = kind_of(event, waits)
    if kind is Kind.OVER:
        return not _heard(events[begin:index], event) and not _time_passes(first, waits)
    if isinstance(event, OperatorEvent):  # one verb may act on several steps
        return event.cause is None or event.cause != first.cause
    if isinstance(event, SagaStarted):
        return True
    if isinstance(event, ParentDecided):  # it may decide before the child has begun
        return event.cause != first.cause
    if kind in TIMES:
        return _begins_by_time(events, begin, index, waits)
    if kind is Kind.NONE:
        return event.cause != first.cause and not _time_passes(first, waits)
    return True


def _heard(before: Sequence[SagaEvent], event: SagaEvent) -> bool:
    """What a step waits for came now, or had come before it began to wait."""
    step: str = getattr(event, "step", "")
    return any(
        isinstance(one, SignalReceived) or (isinstance(one, StepStarted) and one.step == step)
        for one in before
    )


def _begins_by_time(
    events: Sequence[SagaEvent], begin: int, index: int, waits: frozenset[str]
) -> bool:
    first, event = events[begin], events[index]
    if event.cause is not None:  # not a timer's, so it follows from what came in
        return event.cause != first.cause
    if not _time_passes(first, waits):
        return True
    if isinstance(event, StepRetried):
        # An attempt that ended just now is followed by the next one in a reaction of its own.
        return any(
            isinstance(before, StepTimedOut) and before.step == event.step
            for before in events[begin:index]
        )
    return False


def _time_passes(first: SagaEvent, waits: frozenset[str]) -> bool:
    """Whether what is due happens in a reaction that begins so: a timer's, or an operator's."""
    return kind_of(first, waits) in TIMES or isinstance(first, OperatorEvent)
