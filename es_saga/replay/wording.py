"""What was decided on, as a person says it: without people's data, which stands in the events."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationSucceeded,
    DeadlineExceeded,
    LateReplyNoted,
    OperatorCancelled,
    OperatorEvent,
    OperatorResolved,
    ParentDecided,
    SagaEvent,
    SagaStarted,
    SignalReceived,
    StepFailed,
    StepRefused,
    StepRetried,
    StepSucceeded,
    StepTimedOut,
)
from es_saga.core.messages import Direction
from es_saga.replay.attempts import Span
from es_saga.replay.inputs import TIMES, Kind, kind_of

_DIGITS: Final = 3
"""Of a second, as far as they are told."""


def decided_on(
    events: Sequence[SagaEvent], waits: Container[str] = (), begun: Sequence[Span] = ()
) -> str:
    """The input that these events follow from, on one line.

    Args:
        waits: steps that ask nobody.
        begun: all attempts of the saga: what nobody was asked for is missed, not unanswered.

    >>> from es_saga.core.events import StepRefused
    >>> decided_on([StepRefused(
    ...     at=0, step="charge", attempt=1, refusal_type="CardDeclined", refusal={"card": "visa"}
    ... )])
    'charge is refused: CardDeclined'
    """
    if kind_of(events[0], waits) not in TIMES:
        return _said(events[0], begun)
    times = [one for one in events if kind_of(one, waits) in TIMES and not _follows(one)]
    over = "has waited long enough"
    return ", ".join(
        f"{getattr(one, 'step', '')} {over}"
        if kind_of(one, waits) is Kind.OVER
        else _said(one, begun)
        for one in times
    )


def _follows(event: SagaEvent) -> bool:
    """The first sending of an undo: nobody waited for that."""
    return isinstance(event, CompensationIssued) and event.attempt == 1


def _said(event: SagaEvent, begun: Sequence[Span]) -> str:
    if isinstance(event, OperatorEvent):
        return _operated(event)
    match event:
        case SagaStarted():
            return f"{event.saga_type} is started"
        case StepSucceeded():
            return f"{event.step} is done"
        case StepRefused():
            return f"{event.step} is refused: {event.refusal_type}"
        case StepFailed():
            return f"{event.step} failed: {event.error}{_attempt(event.attempt)}"
        case StepTimedOut():
            return _missed((event.step, Direction.DO, event.attempt), begun)
        case StepRetried():
            return f"{event.step} is due again"
        case CompensationIssued():
            return f"the undo of {event.step} is due again"
        case CompensationSucceeded():
            return f"{event.step} is undone"
        case CompensationFailed():
            return _undo_failed(event, begun)
        case DeadlineExceeded():
            return "the deadline has passed"
        case LateReplyNoted():
            return f"a late answer to {_work(event.step, event.direction)}: {event.outcome}"
        case SignalReceived():
            return f"signal {event.name}"
        case ParentDecided():
            return f"its parent has it {'closed' if event.close else 'undone'}"
        case _:
            return "nothing known"


def _missed(attempt: tuple[str, Direction, int], begun: Sequence[Span]) -> str:
    for span in begun:
        if span.asks_nobody and (span.step, span.direction, span.attempt) == attempt:
            within = round(span.due - span.begin, _DIGITS)
            return f"{span.command} did not come within {within:.15g} s{_attempt(span.attempt)}"
    step, direction, number = attempt
    return f"no answer to {_work(step, direction)}{_attempt(number)}"


def _undo_failed(event: CompensationFailed, begun: Sequence[Span]) -> str:
    work = _work(event.step, Direction.UNDO)
    if event.refused:
        return f"{work} is refused: {event.error}"
    if event.cause is None:
        return _missed((event.step, Direction.UNDO, event.attempt), begun)
    return f"{work} failed: {event.error}{_attempt(event.attempt)}"


def _operated(event: OperatorEvent) -> str:
    """The verb is in the event's name: OperatorRetried."""
    verb = type(event).__name__.removeprefix("Operator").lower()
    step: str | None = getattr(event, "step", None)
    direction: Direction = getattr(event, "direction", Direction.DO)
    what = f"{event.actor} {verb}"
    if step is not None:
        what += f" {_work(step, direction)}"
    if isinstance(event, OperatorResolved):
        what += f" as {event.outcome}"
    what += f": {event.reason}"
    if isinstance(event, OperatorCancelled) and event.refused:
        what += f"; not done, {event.refused}"
    return what


def _work(step: str, direction: Direction) -> str:
    return step if direction is Direction.DO else f"the undo of {step}"


def _attempt(number: int) -> str:
    return f" (attempt {number})" if number > 1 else ""
