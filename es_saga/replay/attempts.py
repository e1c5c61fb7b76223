"""Every attempt of a history as a span of time: when it was sent, when it ended, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationStarted,
    CompensationSucceeded,
    OperatorResent,
    OperatorResolved,
    OperatorSkipped,
    SagaEvent,
    StepFailed,
    StepRefused,
    StepRetried,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepTimedOut,
)
from es_saga.core.messages import Direction, Outcome


class Ending(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    LATE = "succeeded late"
    """After it had been given up."""
    REFUSED = "refused"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    RESENT = "sent again"
    """An operator would not wait for it any longer."""
    RESOLVED = "resolved"
    """An operator said what became of it."""
    SKIPPED = "skipped"
    OPEN = "in flight"


@dataclass(slots=True)
class Span:
    """One attempt of a step, or of its undo."""

    step: str
    direction: Direction
    attempt: int
    command: str
    """The type of what was sent."""
    to: str
    """Who it was sent to; empty: nobody, it waits for the world outside."""
    version: int
    """Number of the event that sent it."""
    begin: float
    """Seconds since the epoch."""
    due: float
    end: float | None = None
    ended: int | None = None
    """Number of the event that ended it."""
    ending: Ending = Ending.OPEN
    why: str = ""
    """What it was refused with, or failed of."""
    again: float | None = None
    """When the next attempt was due."""
    expected: bool = False
    """It was not sent to anybody: an event was to tell of it."""

    @property
    def asks_nobody(self) -> bool:
        """Whether its command is what was waited for, or expected, and not what was asked."""
        return self.expected or not self.to

    @property
    def seconds(self) -> float | None:
        """How long it took; None: it goes on."""
        return None if self.end is None else self.end - self.begin

    @property
    def outcome(self) -> str:
        """The ending in words, with what it was refused with."""
        if self.asks_nobody and self.ending is Ending.OPEN:
            return "not heard yet" if self.expected else "waits"
        if self.asks_nobody and self.ending is Ending.TIMED_OUT:
            return "not heard in time"
        return f"{self.ending}: {self.why}" if self.why else self.ending.value


def spans(events: Sequence[SagaEvent]) -> list[Span]:
    """In the order in which they were sent."""
    found: dict[tuple[str, Direction, int], Span] = {}
    latest: dict[tuple[str, Direction], Span] = {}
    for version, event in enumerate(events, 1):
        begun = _begun(event, version, latest)
        if begun is not None:
            latest[begun.step, begun.direction] = begun
            found[begun.step, begun.direction, begun.attempt] = begun
            continue
        if isinstance(event, CompensationStarted):
            ended = [
                one
                for one in found.values()
                if one.ending is Ending.OPEN and (not one.to or one.step in event.left)
            ]
        else:
            meant = _meant(event, found, latest)
            ended = [meant] if meant is not None else []
        for span in ended:
            _end(span, event, version)
    return list(found.values())


def _begun(
    event: SagaEvent, version: int, latest: dict[tuple[str, Direction], Span]
) -> Span | None:
    match event:
        case StepStarted() | CompensationIssued():
            undo = isinstance(event, CompensationIssued)
            direction = Direction.UNDO if undo else Direction.DO
            command, to, expected = event.command_type, event.to, event.expected
        case StepRetried():
            direction = Direction.DO
            before = latest.get((event.step, direction))
            command, to = (before.command, before.to) if before else ("", "")
            expected = before is not None and before.expected
        case _:
            return None
    return Span(
        step=event.step,
        direction=direction,
        attempt=event.attempt,
        command=command,
        to=to,
        version=version,
        begin=event.at,
        due=event.due,
        expected=expected,
    )


def _meant(
    event: SagaEvent,
    found: dict[tuple[str, Direction, int], Span],
    latest: dict[tuple[str, Direction], Span],
) -> Span | None:
    """The attempt that an event is about."""
    match event:
        case StepSucceeded() | StepRefused() | StepFailed() | StepTimedOut():
            return found.get((event.step, Direction.DO, event.attempt))
        case CompensationSucceeded() | CompensationFailed():
            return found.get((event.step, Direction.UNDO, event.attempt))
        case OperatorResolved() | OperatorResent():
            return latest.get((event.step, event.direction))
        case StepSkipped():
            return latest.get((event.step, Direction.DO))
        case OperatorSkipped():
            undo = latest.get((event.step, Direction.UNDO))
            return undo or latest.get((event.step, Direction.DO))
        case _:
            return None


def _end(span: Span, event: SagaEvent, version: int) -> None:
    if span.end is None:
        span.end, span.ended = event.at, version
    match event:
        case StepSucceeded() | CompensationSucceeded():
            late = span.ending is not Ending.OPEN
            span.ending, span.why = (Ending.LATE if late else Ending.SUCCEEDED), ""
        case StepRefused():
            span.ending, span.why = Ending.REFUSED, event.refusal_type
        case StepTimedOut():
            span.ending, span.again = Ending.TIMED_OUT, event.retry_at
        case StepFailed():
            span.ending, span.why, span.again = Ending.FAILED, event.error, event.retry_at
        case CompensationFailed():
            _end_undo(span, event)
        case OperatorResolved():
            done = event.outcome is Outcome.SUCCEEDED
            span.ending, span.why = Ending.RESOLVED, "done" if done else "not done"
        case OperatorSkipped() | StepSkipped():
            span.ending, span.why = Ending.SKIPPED, ""
        case CompensationStarted():
            span.ending, span.why = Ending.SKIPPED, "nobody waits any more"
        case OperatorResent():
            span.ending, span.again = Ending.RESENT, event.at
        case _:
            raise AssertionError("it ends no attempt")


def _end_undo(span: Span, event: CompensationFailed) -> None:
    span.again = event.retry_at
    if event.cause is None:
        span.ending = Ending.TIMED_OUT
    else:
        span.ending = Ending.REFUSED if event.refused else Ending.FAILED
        span.why = event.error
