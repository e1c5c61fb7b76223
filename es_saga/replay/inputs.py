"""What came in: the input of a reaction, made out from the first event that it led to.

An event that can be the first of a reaction says nearly everything about the input. What it does
not say: how long a participant asked to wait (`es_saga.replay.again` finds out), and what was in
the data of a refused undo.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from enum import StrEnum
from typing import Any, Final

from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationSucceeded,
    DeadlineExceeded,
    LateReplyNoted,
    OperatorCancelled,
    OperatorCompensated,
    OperatorEvent,
    OperatorResent,
    OperatorResolved,
    OperatorResumed,
    OperatorRetried,
    OperatorSkipped,
    ParentDecided,
    SagaEvent,
    SagaStarted,
    SignalReceived,
    StepFailed,
    StepRefused,
    StepRetried,
    StepSkipped,
    StepSucceeded,
    StepTimedOut,
)
from es_saga.core.inputs import (
    Cancel,
    Compensate,
    FromParent,
    Input,
    Reply,
    Resend,
    Resolve,
    Resume,
    RetryStuck,
    Signal,
    Skip,
    Start,
    Tick,
)
from es_saga.core.messages import CommandKey, Direction, Outcome
from es_saga.core.state import SagaState

DONE: Final = "Done"
"""The type of a reply that is told by its data alone."""


class Kind(StrEnum):
    """What was decided on."""

    START = "start"
    REPLY = "reply"
    REFUSAL = "refusal"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    RETRY = "retry"
    """A wait was over."""
    OVER = "over"
    """A step that asks nobody had waited long enough."""
    DEADLINE = "deadline"
    LATE = "late"
    """An answer that could change nothing any more."""
    SIGNAL = "signal"
    PARENT = "parent"
    """What the saga that runs it has decided."""
    VERB = "verb"
    """An operator's."""
    NONE = "none"
    """No input of this release leads to such an event first."""


def kind_of(event: SagaEvent, waits: Container[str] = ()) -> Kind:
    """What led to a reaction that begins with this event.

    Args:
        waits: steps that ask nobody.
    """
    match event:
        case StepSucceeded() | StepSkipped() if event.step in waits:
            return Kind.OVER
        case CompensationFailed():
            if event.cause is None:
                return Kind.TIMEOUT
            return Kind.REFUSAL if event.refused else Kind.FAILURE
        case OperatorEvent():
            return Kind.VERB
        case _:
            return _KINDS.get(type(event), Kind.NONE)


_KINDS: Final[dict[type[SagaEvent], Kind]] = {
    SagaStarted: Kind.START,
    StepSucceeded: Kind.REPLY,
    CompensationSucceeded: Kind.REPLY,
    StepRefused: Kind.REFUSAL,
    StepFailed: Kind.FAILURE,
    StepTimedOut: Kind.TIMEOUT,
    StepRetried: Kind.RETRY,
    CompensationIssued: Kind.RETRY,
    DeadlineExceeded: Kind.DEADLINE,
    LateReplyNoted: Kind.LATE,
    SignalReceived: Kind.SIGNAL,
    ParentDecided: Kind.PARENT,
}

TIMES: Final = frozenset({Kind.TIMEOUT, Kind.RETRY, Kind.OVER, Kind.DEADLINE})
"""Nothing came in: it was time."""


def input_of(saga_id: str, state: SagaState | None, events: Sequence[SagaEvent]) -> Input | None:
    """What a saga in this state was told, that these events came of it; None: nothing known."""
    event = events[0]
    if isinstance(event, SagaStarted):
        start = Start(
            saga_id, event.data, event.key, event.notify, event.trace, event.cause, event.parent
        )
        decided = next((one for one in events if isinstance(one, ParentDecided)), None)
        return start if decided is None else FromParent(start, "undo", decided.command_id)
    if state is None:
        return None
    if isinstance(event, ParentDecided):
        origin = state.origin
        begin = Start(saga_id, origin.data, message_id=event.cause, parent=origin.parent)
        return FromParent(begin, "close" if event.close else "undo", event.command_id)
    if isinstance(event, OperatorEvent):
        return _verb(event, [one for one in events if isinstance(one, OperatorEvent)])
    if kind_of(event, state.waiting) in TIMES:
        return Tick()
    if isinstance(event, SignalReceived):
        return Signal(event.name, event.data, event.cause or "")
    if isinstance(event, Answered):
        return _reply(state, event)
    return None


Answered = (
    StepSucceeded
    | StepRefused
    | StepFailed
    | CompensationSucceeded
    | CompensationFailed
    | LateReplyNoted
)
"""What becomes of a participant's answer."""


def _reply(state: SagaState, event: Answered) -> Reply:
    """To the round that the saga is in: answers to earlier ones lead to nothing."""
    direction, outcome, kind, data = _told(event)
    own = state.steps.get(event.step)
    work = None if own is None else own.do if direction is Direction.DO else own.undo
    key = CommandKey(state.saga_id, event.step, direction, work.round if work else 1)
    return Reply(key, event.attempt, outcome, kind, data, event.cause or "")


def _told(event: Answered) -> tuple[Direction, Outcome, str, Any]:
    match event:
        case StepSucceeded():
            return Direction.DO, Outcome.SUCCEEDED, DONE, event.reply
        case StepRefused():
            return Direction.DO, Outcome.REFUSED, event.refusal_type, event.refusal
        case CompensationSucceeded():
            return Direction.UNDO, Outcome.SUCCEEDED, DONE, None
        case CompensationFailed(refused=True):
            return Direction.UNDO, Outcome.REFUSED, event.error, None
        case LateReplyNoted():
            return event.direction, event.outcome, DONE, event.data
        case StepFailed() | CompensationFailed():
            direction = Direction.DO if isinstance(event, StepFailed) else Direction.UNDO
            data = {"error": event.error, "detail": event.detail}
            return direction, Outcome.FAILED, event.error, data


def _verb(event: OperatorEvent, together: Sequence[OperatorEvent]) -> Input | None:
    """One verb may act on several steps at once: then it named none."""
    said = (event.actor, event.reason, event.cause or "")
    match event:
        case OperatorCancelled():
            return Cancel(*said)
        case OperatorCompensated():
            return Compensate(*said)
        case OperatorRetried():
            return RetryStuck(*said, event.step)
        case OperatorResumed():
            return Resume(*said, event.step if len(together) == 1 else None)
        case OperatorResent():
            return Resend(*said, event.step if len(together) == 1 else None)
        case OperatorSkipped():
            return Skip(*said, event.step)
        case OperatorResolved():
            return Resolve(*said, event.step, event.direction, event.outcome, event.reply)
        case _:
            return None
