"""What can happen to a saga: the closed list of its events.

Events are for ever. Add a field with a default, or upcast; never rename, never remove. Each class's
name is its topic in the log.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from es_saga.core.messages import Direction, Outcome

Json = dict[str, Any]
"""A JSON object, as a message model dumps it."""


class SagaEvent(BaseModel):
    """Something that happened to one saga."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: float
    """Seconds since the epoch, as the process manager's clock told it."""
    cause: str | None = None
    """Id of the message that led to it; None when a timer did."""


class Parent(BaseModel):
    """The step of another saga that a saga was begun by."""

    model_config = ConfigDict(frozen=True)

    command_id: str
    undoable: bool
    """Once its steps are done it is held, until the parent has it closed or undone."""

    @property
    def saga_id(self) -> str:
        return self.command_id.split("/", 1)[0]


class SagaStarted(SagaEvent):
    """A saga began, under this version of its definition."""

    saga_type: str
    definition: int
    fingerprint: str
    data: Json
    key: str | None = None
    """The business key it was started under, if any."""
    deadline: float | None = None
    notify: str | None = None
    """Address that is told the outcome."""
    trace: str | None = None
    """W3C traceparent of whoever started it."""
    parent: Parent | None = None
    """What answers for it, if another saga runs it."""


class StepStarted(SagaEvent):
    """A step's command is to be sent, for the first time."""

    step: str
    command_type: str
    to: str
    command: Json
    command_id: str
    attempt: int = 1
    due: float
    """When this attempt counts as unanswered, in seconds since the epoch."""
    expected: bool = False
    """Nobody is asked: `to` is expected to do it, and to tell so by an event."""


class StepRetried(SagaEvent):
    """The same command is to be sent again."""

    step: str
    command_id: str
    attempt: int
    due: float


class StepSucceeded(SagaEvent):
    """The participant did it."""

    step: str
    attempt: int
    reply: Json | None = None


class StepRefused(SagaEvent):
    """The participant's business answer is no: nothing was done, and it stays a no."""

    step: str
    attempt: int
    refusal_type: str
    refusal: Json


class StepFailed(SagaEvent):
    """The participant could not: a technical error, its own transaction rolled back."""

    step: str
    attempt: int
    error: str
    detail: str = ""
    retry_at: float | None = None
    """When it is sent again; None when the policy is spent or the error is final."""


class StepTimedOut(SagaEvent):
    """No answer in time. Whether it was done is unknown."""

    step: str
    attempt: int
    retry_at: float | None = None


class StepSkipped(SagaEvent):
    """A step that did not have to run."""

    step: str
    why: str


class StepFannedOut(SagaEvent):
    """A step over a list begins: so many steps stand for it, `step-1` to `step-count`."""

    step: str
    count: int


class CompensationStarted(SagaEvent):
    """From here on the saga is undone."""

    why: str
    step: str | None = None
    """The step that is the reason, if one is."""
    back_to: str | None = None
    """The save-point at which this ends; none: everything is undone."""
    left: tuple[str, ...] = ()
    """Steps whose child sagas are not waited for: they are told to turn back, too."""


class SagaResumed(SagaEvent):
    """What came after a save-point is undone, and the saga goes forward from it another time."""

    save_point: str
    way: int
    """Counts the ways that this saga has taken, from whichever save-point: 2 is the first other."""
    reply: Json
    """What the steps after the save-point are told of it, see `es_saga.Way`."""
    past: tuple[str, ...] = ()
    """The steps of the way that was given up, as far as they had begun."""


class CompensationIssued(SagaEvent):
    """A step's undo is to be sent, for the first time or again."""

    step: str
    command_type: str
    to: str
    command: Json
    command_id: str
    attempt: int = 1
    due: float
    expected: bool = False
    """Nobody is asked: `to` is expected to do it, and to tell so by an event."""


class CompensationSucceeded(SagaEvent):
    """The participant undid it."""

    step: str
    attempt: int


class CompensationFailed(SagaEvent):
    """An undo was refused, failed, or stayed unanswered."""

    step: str
    attempt: int
    error: str
    detail: str = ""
    refused: bool = False
    retry_at: float | None = None
    """When it is sent again; None when it now takes a human."""


class SagaHeld(SagaEvent):
    """A child's steps are done, and its parent may still have them undone."""


class ParentDecided(SagaEvent):
    """What becomes of a child: it may complete, or it is undone."""

    close: bool
    command_id: str
    """Of the parent's command, which is answered at the end."""


class SagaCompleted(SagaEvent):
    """Every step is done. Closing event."""


class UndoException(BaseModel):
    """An undo that a closed saga still owes, or that an operator waived."""

    model_config = ConfigDict(frozen=True)

    step: str
    error: str


class SagaCompensated(SagaEvent):
    """Everything that was done is undone, except what `exceptions` names. Closing event."""

    exceptions: tuple[UndoException, ...] = ()


class SagaStuck(SagaEvent):
    """It cannot go on without a human."""

    why: str
    step: str | None = None
    detail: str = ""
    """The traceback, where code raised."""


class LateReplyNoted(SagaEvent):
    """An answer came when it could change nothing any more."""

    step: str
    direction: Direction
    attempt: int
    outcome: Outcome
    data: Any = None


class DeadlineExceeded(SagaEvent):
    """The saga's own deadline passed. Before the pivot it is undone; after it, only noted."""

    effect: str


class SignalReceived(SagaEvent):
    """An outside message for a waiting saga arrived."""

    name: str
    data: Json


class OperatorEvent(SagaEvent):
    """Somebody intervened."""

    actor: str
    reason: str


class OperatorRetried(OperatorEvent):
    """The work the saga is stuck at is tried again."""

    step: str | None = None


class OperatorSkipped(OperatorEvent):
    """Work is waived: a step after the pivot, or an undo that keeps failing."""

    step: str


class OperatorResolved(OperatorEvent):
    """A human found out, or did by hand, what became of a piece of work."""

    step: str
    direction: Direction
    outcome: Outcome
    reply: Json | None = None


class OperatorCancelled(OperatorEvent):
    """Somebody asked for the saga to be undone."""

    refused: str | None = None
    """Why it was not, if it was not."""


class OperatorCompensated(OperatorEvent):
    """Somebody had the saga turned back; what follows is CompensationStarted."""


class OperatorResumed(OperatorEvent):
    """What a step waits for comes now: its next attempt, or the call of its own function."""

    step: str
    direction: Direction = Direction.DO


class OperatorResent(OperatorEvent):
    """An attempt in flight is not waited for any longer: the next one follows at once.

    It may have been done all the same, so it counts as unanswered, as after a timeout (law L18).
    """

    step: str
    direction: Direction = Direction.DO
    attempt: int = 1
    """The one that was in flight."""


EVENTS: dict[str, type[SagaEvent]] = {
    event.__name__: event
    for event in (
        SagaStarted,
        StepStarted,
        StepRetried,
        StepSucceeded,
        StepRefused,
        StepFailed,
        StepTimedOut,
        StepSkipped,
        StepFannedOut,
        CompensationStarted,
        SagaResumed,
        CompensationIssued,
        CompensationSucceeded,
        CompensationFailed,
        SagaHeld,
        ParentDecided,
        SagaCompleted,
        SagaCompensated,
        SagaStuck,
        LateReplyNoted,
        DeadlineExceeded,
        SignalReceived,
        OperatorRetried,
        OperatorSkipped,
        OperatorResolved,
        OperatorCancelled,
        OperatorCompensated,
        OperatorResumed,
        OperatorResent,
    )
}
"""Every event by its topic."""
