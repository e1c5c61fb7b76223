"""A run as messages: who sent what to whom, in order, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationStarted,
    CompensationSucceeded,
    DeadlineExceeded,
    LateReplyNoted,
    OperatorCancelled,
    OperatorEvent,
    ParentDecided,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaHeld,
    SagaResumed,
    SagaStarted,
    SagaStuck,
    SignalReceived,
    StepFailed,
    StepRefused,
    StepRetried,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepTimedOut,
)
from es_saga.core.messages import Direction
from es_saga.replay.attempts import Span, spans
from es_saga.replay.wording import decided_on

_WAITS: Final = {"Sleep": "sleeps: {}", "SavePoint": "save-point {}"}
"""Steps that ask nobody, and for whom nobody comes."""


class What(StrEnum):
    """What a line of a sequence diagram is."""

    COMMAND = "command"
    UNDO = "undo"
    """A command that undoes."""
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    LATE = "late"
    """An answer that could change nothing any more."""
    SILENCE = "silence"
    """No answer in time."""
    VERB = "verb"
    """An operator's."""
    NOTE = "note"
    """Something about the saga as a whole."""
    TURN = "turn"
    """From here on it is undone."""


class Line(NamedTuple):
    """One line of a sequence diagram."""

    what: What
    at: float
    version: int
    """Number of the event."""
    text: str
    service: str | None = None
    """Who it is sent to or comes from; None: it concerns the saga alone."""


def lines(events: Sequence[SagaEvent]) -> Iterator[Line]:
    """What was said, in order."""
    served: dict[tuple[str, Direction], tuple[str, str]] = {}
    expected = set[str]()
    begun = spans(events)
    for version, event in enumerate(events, 1):
        if isinstance(event, StepStarted | CompensationIssued):
            undo = isinstance(event, CompensationIssued)
            direction = Direction.UNDO if undo else Direction.DO
            served[event.step, direction] = (event.to, event.command_type)
        line = _line(event, version, served, expected, begun)
        if line is not None:
            yield line


def _line(
    event: SagaEvent,
    version: int,
    served: dict[tuple[str, Direction], tuple[str, str]],
    expected: set[str],
    begun: Sequence[Span],
) -> Line | None:
    def of(what: What, text: str, direction: Direction | None = None) -> Line:
        service = None
        if direction is not None:
            service = served.get((getattr(event, "step", ""), direction), (None, ""))[0] or None
        return Line(what, event.at, version, text, service)

    match event:
        case StepStarted() | CompensationIssued() if event.expected:
            expected.add(event.command_type)
            return None  # nobody is asked
        case StepRetried() if served.get((event.step, Direction.DO), ("", ""))[1] in expected:
            return None
        case StepStarted(to=""):
            waits = _WAITS.get(event.command_type, f"waits for {event.command_type}")
            return of(What.NOTE, waits.format(event.step))
        case StepStarted():
            return of(What.COMMAND, event.command_type, Direction.DO)
        case StepRetried():
            command = served.get((event.step, Direction.DO), ("", event.step))[1]
            return of(What.COMMAND, f"{command}{_attempt(event.attempt)}", Direction.DO)
        case CompensationIssued():
            text = f"undo: {event.command_type}{_attempt(event.attempt)}"
            return of(What.UNDO, text, Direction.UNDO)
        case StepSucceeded():
            told = served.get((event.step, Direction.DO), ("", ""))[1]
            if told == "SavePoint":
                return None
            text = told if told in expected else f"{event.step} is done"
            return of(What.DONE, text, Direction.DO)
        case CompensationSucceeded():
            told = served.get((event.step, Direction.UNDO), ("", ""))[1]
            text = told if told in expected else f"{event.step} is undone"
            return of(What.DONE, text, Direction.UNDO)
        case StepRefused():
            return of(What.REFUSED, f"refused: {event.refusal_type}", Direction.DO)
        case StepFailed():
            return of(What.FAILED, f"failed: {event.error}", Direction.DO)
        case StepTimedOut():
            return of(What.SILENCE, decided_on([event], begun=begun), Direction.DO)
        case CompensationFailed() if event.cause is None:
            return of(What.SILENCE, decided_on([event], begun=begun), Direction.UNDO)
        case CompensationFailed():
            what, word = (What.REFUSED, "refused") if event.refused else (What.FAILED, "failed")
            return of(what, f"{word}: {event.error}", Direction.UNDO)
        case LateReplyNoted():
            return of(What.LATE, f"late: {event.outcome}", event.direction)
        case OperatorEvent() if not isinstance(event, OperatorCancelled) or not event.refused:
            return of(What.VERB, decided_on([event]))
        case OperatorCancelled():
            return of(What.VERB, f"{event.actor} cancelled, in vain: {event.reason}")
        case CompensationStarted():
            back = f"back to {event.back_to}" if event.back_to else "turned back"
            return of(What.TURN, f"{back}: {event.why}")
        case _:
            return _note(event, version)


def _note(event: SagaEvent, version: int) -> Line | None:
    match event:
        case SagaStarted():
            text = f"{event.saga_type} is started"
        case SagaStuck():
            text = f"stuck: {event.why}"
        case DeadlineExceeded():
            text = "the deadline has passed"
        case SignalReceived():
            text = f"signal {event.name}"
        case SagaResumed():
            text = f"way {event.way}, from {event.save_point}"
        case SagaHeld():
            text = "held, until its parent decides"
        case ParentDecided():
            text = decided_on([event])
        case StepSkipped():
            text = f"{event.step} is skipped"
        case SagaCompleted():
            text = "completed"
        case SagaCompensated():
            text = "compensated, with exceptions" if event.exceptions else "compensated"
        case _:
            return None
    return Line(What.NOTE, event.at, version, text)


def _attempt(number: int) -> str:
    return f", attempt {number}" if number > 1 else ""
