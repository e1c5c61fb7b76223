"""A saga's state, and how each event changes it: `evolve(state, event) -> state`.

The state is what the log says, no more: folding a history needs no definition, so a view can show a
saga whose code is long gone. Forward work and compensation of a step are kept apart, each a `Work`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import reduce
from typing import Any, NamedTuple, TypeVar

from es_saga.core.errors import CorruptHistory
from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationStarted,
    CompensationSucceeded,
    DeadlineExceeded,
    Json,
    LateReplyNoted,
    OperatorCancelled,
    OperatorResolved,
    OperatorRetried,
    OperatorSkipped,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
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
    UndoException,
)
from es_saga.core.messages import Direction, Outcome

REMEMBERED_VERBS = 16
"""How many operators' message ids a saga remembers, so that a redelivered verb acts once."""


class SagaStatus(StrEnum):
    """Where a saga stands. The last three are closed: nothing follows but noted arrivals."""

    RUNNING = "running"
    WAITING = "waiting"
    COMPENSATING = "compensating"
    STUCK = "stuck"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    COMPENSATED_WITH_EXCEPTIONS = "compensated-with-exceptions"


CLOSED = frozenset(
    {SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.COMPENSATED_WITH_EXCEPTIONS}
)


class WorkStatus(StrEnum):
    """Where one direction of one step stands."""

    STARTED = "started"
    """In flight: sent, not answered."""
    BACKOFF = "backoff"
    """The last attempt ended without an outcome; another one is due."""
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    """A definite no: nothing was done."""
    FAILED = "failed"
    """Given up, and every attempt is known to have been rolled back."""
    UNKNOWN = "unknown"
    """Given up, and at least one attempt was never answered: maybe done."""
    SKIPPED = "skipped"
    """Did not have to run, or was waived."""


class Sent(NamedTuple):
    """A command as it was, or will be, sent."""

    type: str
    to: str
    data: Json


@dataclass(frozen=True, slots=True)
class Work:
    """One direction of one step: what was sent, how often, and what became of it."""

    status: WorkStatus
    attempt: int
    started: float
    due: float | None = None
    """When the attempt counts as unanswered, or the next one is to be sent."""
    sent: Sent | None = None
    """Kept while it may have to be sent again."""
    reply: Json | None = None
    error: str | None = None
    unanswered: int = 0
    """Attempts that ended in a timeout."""
    round: int = 1
    """Counts an operator's fresh starts after a refusal; part of the command id."""
    ended: float | None = None

    @property
    def open(self) -> bool:
        """Whether an answer is still awaited, or another attempt is."""
        return self.status in (WorkStatus.STARTED, WorkStatus.BACKOFF)


@dataclass(frozen=True, slots=True)
class StepState:
    """One step: its forward work, and its undo once one was issued."""

    do: Work
    undo: Work | None = None
    late: bool = False
    """A late answer has been noted; the next ones are not."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What was settled when the saga began."""

    saga_id: str
    saga_type: str
    definition: int
    fingerprint: str
    data: Json
    started: float
    key: str | None = None
    deadline: float | None = None
    notify: str | None = None
    trace: str | None = None


class Failure(NamedTuple):
    """Why a saga is not on its way to completion."""

    why: str
    step: str | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SagaState:
    """A saga, folded from its history."""

    origin: Origin
    version: int
    """Number of events."""
    status: SagaStatus
    updated: float
    steps: Mapping[str, StepState] = field(default_factory=dict[str, StepState])
    """Steps that were begun or skipped, in the order in which they were."""
    backward: bool = False
    """Compensation has started."""
    failure: Failure | None = None
    """The first reason; later ones do not replace it."""
    stuck: Failure | None = None
    exceptions: tuple[UndoException, ...] = ()
    deadline_noted: bool = False
    verbs: tuple[str, ...] = ()
    closed: float | None = None

    @property
    def saga_id(self) -> str:
        return self.origin.saga_id

    @property
    def next_due(self) -> float | None:
        """When time alone will change something next, in seconds since the epoch."""
        if self.closed is not None:
            return None
        due = None if self.deadline_noted else self.origin.deadline
        for step in self.steps.values():
            work = step.undo or step.do
            if work.due is not None and (due is None or work.due < due):
                due = work.due
        return due

    @property
    def current(self) -> tuple[str, ...]:
        """Steps something is open for, in either direction."""
        return tuple(name for name, step in self.steps.items() if (step.undo or step.do).open)


E_ = TypeVar("E_", bound=SagaEvent)
_Rule = Callable[[SagaState, Any], SagaState]
_RULES: dict[type[SagaEvent], _Rule] = {}


def _on(
    event: type[E_],
) -> Callable[[Callable[[SagaState, E_], SagaState]], Callable[[SagaState, E_], SagaState]]:
    def register(rule: Callable[[SagaState, E_], SagaState]) -> Callable[[SagaState, E_], SagaState]:
        _RULES[event] = rule
        return rule

    return register


def start(saga_id: str, event: SagaStarted) -> SagaState:
    """The state after a saga's first event."""
    return SagaState(
        origin=Origin(
            saga_id=saga_id,
            saga_type=event.saga_type,
            definition=event.definition,
            fingerprint=event.fingerprint,
            data=event.data,
            started=event.at,
            key=event.key,
            deadline=event.deadline,
            notify=event.notify,
            trace=event.trace,
        ),
        version=1,
        status=SagaStatus.RUNNING,
        updated=event.at,
    )


def evolve(state: SagaState, event: SagaEvent) -> SagaState:
    """The state after one more event.

    Raises:
        CorruptHistory: no saga in this state can have this event.
    """
    rule = _RULES.get(type(event))
    if rule is None:
        raise CorruptHistory(
            f"saga {state.saga_id!r}, event {state.version + 1}: "
            f"{type(event).__name__} cannot follow the start."
        )
    try:
        return rule(state, event)
    except (KeyError, AssertionError) as error:
        raise CorruptHistory(
            f"saga {state.saga_id!r}, event {state.version + 1}: {type(event).__name__} "
            f"does not fit what came before ({error!r})."
        ) from error


def fold(saga_id: str, events: Iterable[SagaEvent]) -> SagaState | None:
    """The state after a whole history; None for an empty one.

    Raises:
        CorruptHistory: it does not begin with SagaStarted, or an event does not fit.
    """
    iterator = iter(events)
    first = next(iterator, None)
    if first is None:
        return None
    if not isinstance(first, SagaStarted):
        raise CorruptHistory(f"saga {saga_id!r} begins with {type(first).__name__}.")
    return reduce(evolve, iterator, start(saga_id, first))


def _next(state: SagaState, event: SagaEvent, **changes: Any) -> SagaState:
    return replace(state, version=state.version + 1, updated=event.at, **changes)


def _put(state: SagaState, event: SagaEvent, step: str, value: StepState, **changes: Any) -> SagaState:
    """Like `_next`, with one step replaced."""
    return replace(
        state,
        version=state.version + 1,
        updated=event.at,
        steps={**state.steps, step: value},
        **changes,
    )


def _unstick(state: SagaState, step: str) -> dict[str, Any]:
    """What an answer for `step` changes in a saga that was stuck at it."""
    if state.stuck is None or state.stuck.step != step:
        return {}
    return {"stuck": None, "status": _moving(state)}


def _moving(state: SagaState) -> SagaStatus:
    return SagaStatus.COMPENSATING if state.backward else SagaStatus.RUNNING


def _ended(work: Work, status: WorkStatus, at: float, **changes: Any) -> Work:
    """Work that has its outcome; the command is forgotten, it is in the log."""
    return replace(work, status=status, due=None, sent=None, ended=at, **changes)


def _given_up(work: Work, at: float, **changes: Any) -> Work:
    """Forward work without another attempt: definite only if every attempt was answered."""
    unanswered = changes.get("unanswered", work.unanswered)
    status = WorkStatus.UNKNOWN if unanswered else WorkStatus.FAILED
    # The command is kept: an operator may have it sent again.
    return replace(work, status=status, due=None, ended=at, **changes)


@_on(StepStarted)
def _step_started(state: SagaState, event: StepStarted) -> SagaState:
    assert event.step not in state.steps, "started twice"
    work = Work(
        WorkStatus.STARTED,
        event.attempt,
        event.at,
        event.due,
        Sent(event.command_type, event.to, event.command),
    )
    return _put(state, event, event.step, StepState(work))


@_on(StepRetried)
def _step_retried(state: SagaState, event: StepRetried) -> SagaState:
    step = state.steps[event.step]
    work = replace(
        step.do, status=WorkStatus.STARTED, attempt=event.attempt, due=event.due, ended=None
    )
    return _put(state, event, event.step, replace(step, do=work))


@_on(StepSucceeded)
def _step_succeeded(state: SagaState, event: StepSucceeded) -> SagaState:
    step = state.steps[event.step]
    work = _ended(step.do, WorkStatus.SUCCEEDED, event.at, reply=event.reply, error=None)
    return _put(
        state, event, event.step, StepState(work, step.undo, step.late), **_unstick(state, event.step)
    )


@_on(StepRefused)
def _step_refused(state: SagaState, event: StepRefused) -> SagaState:
    step = state.steps[event.step]
    work = replace(
        step.do, status=WorkStatus.REFUSED, due=None, ended=event.at, error=event.refusal_type
    )
    changes = _unstick(state, event.step)
    if state.failure is None:
        changes["failure"] = Failure(event.refusal_type, event.step)
    return _put(state, event, event.step, replace(step, do=work), **changes)


@_on(StepFailed)
def _step_failed(state: SagaState, event: StepFailed) -> SagaState:
    step = state.steps[event.step]
    if event.retry_at is None:
        work = _given_up(step.do, event.at, error=event.error)
    else:
        work = replace(step.do, status=WorkStatus.BACKOFF, due=event.retry_at, error=event.error)
    changes: dict[str, Any] = {}
    if event.retry_at is None and state.failure is None:
        changes["failure"] = Failure(event.error, event.step, event.detail)
    return _put(state, event, event.step, replace(step, do=work), **changes)


@_on(StepTimedOut)
def _step_timed_out(state: SagaState, event: StepTimedOut) -> SagaState:
    step = state.steps[event.step]
    unanswered = step.do.unanswered + 1
    if event.retry_at is None:
        work = _given_up(step.do, event.at, unanswered=unanswered, error="timed out")
    else:
        work = replace(
            step.do,
            status=WorkStatus.BACKOFF,
            due=event.retry_at,
            unanswered=unanswered,
            error="timed out",
        )
    changes: dict[str, Any] = {}
    if event.retry_at is None and state.failure is None:
        changes["failure"] = Failure("timed out", event.step)
    return _put(state, event, event.step, replace(step, do=work), **changes)


@_on(StepSkipped)
def _step_skipped(state: SagaState, event: StepSkipped) -> SagaState:
    assert event.step not in state.steps, "already begun"
    return _put(
        state,
        event,
        event.step,
        StepState(Work(WorkStatus.SKIPPED, 0, event.at, ended=event.at, error=event.why)),
    )


@_on(CompensationStarted)
def _compensation_started(state: SagaState, event: CompensationStarted) -> SagaState:
    # A step that waited for its next attempt will not get one.
    steps = {
        name: replace(step, do=_given_up(step.do, event.at))
        if step.do.status is WorkStatus.BACKOFF
        else step
        for name, step in state.steps.items()
    }
    failure = state.failure or Failure(event.why, event.step)
    return _next(
        state,
        event,
        steps=steps,
        backward=True,
        status=SagaStatus.COMPENSATING,
        stuck=None,
        failure=failure,
    )


@_on(CompensationIssued)
def _compensation_issued(state: SagaState, event: CompensationIssued) -> SagaState:
    step = state.steps[event.step]
    sent = Sent(event.command_type, event.to, event.command)
    if step.undo is None:
        undo = Work(WorkStatus.STARTED, event.attempt, event.at, event.due, sent)
    else:
        undo = replace(
            step.undo,
            status=WorkStatus.STARTED,
            attempt=event.attempt,
            due=event.due,
            sent=sent,
            ended=None,
        )
    return _put(state, event, event.step, replace(step, undo=undo))


@_on(CompensationSucceeded)
def _compensation_succeeded(state: SagaState, event: CompensationSucceeded) -> SagaState:
    step = state.steps[event.step]
    assert step.undo is not None, "no undo was issued"
    undo = _ended(step.undo, WorkStatus.SUCCEEDED, event.at, error=None)
    return _put(
        state, event, event.step, replace(step, undo=undo), **_unstick(state, event.step)
    )


@_on(CompensationFailed)
def _compensation_failed(state: SagaState, event: CompensationFailed) -> SagaState:
    step = state.steps[event.step]
    assert step.undo is not None, "no undo was issued"
    if event.retry_at is not None:
        status = WorkStatus.BACKOFF
    else:
        status = WorkStatus.REFUSED if event.refused else WorkStatus.FAILED
    undo = replace(
        step.undo,
        status=status,
        due=event.retry_at,
        error=event.error,
        ended=None if event.retry_at is not None else event.at,
    )
    return _put(state, event, event.step, replace(step, undo=undo))


@_on(SagaCompleted)
def _saga_completed(state: SagaState, event: SagaCompleted) -> SagaState:
    return _next(state, event, status=SagaStatus.COMPLETED, closed=event.at)


@_on(SagaCompensated)
def _saga_compensated(state: SagaState, event: SagaCompensated) -> SagaState:
    status = (
        SagaStatus.COMPENSATED_WITH_EXCEPTIONS if event.exceptions else SagaStatus.COMPENSATED
    )
    return _next(state, event, status=status, exceptions=event.exceptions, closed=event.at)


@_on(SagaStuck)
def _saga_stuck(state: SagaState, event: SagaStuck) -> SagaState:
    stuck = Failure(event.why, event.step, event.detail)
    return _next(
        state, event, status=SagaStatus.STUCK, stuck=stuck, failure=state.failure or stuck
    )


@_on(LateReplyNoted)
def _late_reply_noted(state: SagaState, event: LateReplyNoted) -> SagaState:
    step = state.steps[event.step]
    return _put(state, event, event.step, replace(step, late=True))


@_on(DeadlineExceeded)
def _deadline_exceeded(state: SagaState, event: DeadlineExceeded) -> SagaState:
    return _next(state, event, deadline_noted=True)


@_on(SignalReceived)
def _signal_received(state: SagaState, event: SignalReceived) -> SagaState:
    return _next(state, event)


def _remember(state: SagaState, event: SagaEvent) -> tuple[str, ...]:
    if event.cause is None:
        return state.verbs
    return (*state.verbs, event.cause)[-REMEMBERED_VERBS:]


@_on(OperatorRetried)
def _operator_retried(state: SagaState, event: OperatorRetried) -> SagaState:
    """The work it is stuck at becomes due now; a refusal is asked for under a new key."""
    steps = dict(state.steps)
    for name, step in state.steps.items():
        if event.step not in (None, name):
            continue
        if state.backward:
            if step.undo is not None and step.undo.status in (WorkStatus.FAILED, WorkStatus.REFUSED):
                steps[name] = replace(step, undo=_again(step.undo, event.at))
        elif step.do.status in (WorkStatus.FAILED, WorkStatus.REFUSED, WorkStatus.UNKNOWN):
            steps[name] = replace(step, do=_again(step.do, event.at))
    return _next(
        state,
        event,
        steps=steps,
        stuck=None,
        status=_moving(state),
        verbs=_remember(state, event),
    )


def _again(work: Work, at: float) -> Work:
    round = work.round + 1 if work.status is WorkStatus.REFUSED else work.round
    return replace(work, status=WorkStatus.BACKOFF, due=at, round=round, ended=None)


@_on(OperatorSkipped)
def _operator_skipped(state: SagaState, event: OperatorSkipped) -> SagaState:
    step = state.steps.get(event.step)
    if state.backward:
        assert step is not None, "never begun"
        waived = step.undo or Work(WorkStatus.SKIPPED, 0, event.at)
        step = replace(step, undo=_ended(waived, WorkStatus.SKIPPED, event.at))
    else:
        skipped = step.do if step else Work(WorkStatus.SKIPPED, 0, event.at)
        step = StepState(_ended(skipped, WorkStatus.SKIPPED, event.at))
    return _put(
        state,
        event,
        event.step,
        step,
        stuck=None,
        status=_moving(state),
        verbs=_remember(state, event),
    )


@_on(OperatorResolved)
def _operator_resolved(state: SagaState, event: OperatorResolved) -> SagaState:
    step = state.steps[event.step]
    status = WorkStatus(event.outcome.value)
    if event.direction is Direction.UNDO:
        assert step.undo is not None, "no undo was issued"
        step = replace(step, undo=_ended(step.undo, status, event.at))
    else:
        step = replace(step, do=_ended(step.do, status, event.at, reply=event.reply))
    return _put(
        state,
        event,
        event.step,
        step,
        stuck=None,
        status=_moving(state),
        verbs=_remember(state, event),
    )


@_on(OperatorCancelled)
def _operator_cancelled(state: SagaState, event: OperatorCancelled) -> SagaState:
    return _next(state, event, verbs=_remember(state, event))


__all__ = [
    "CLOSED",
    "Failure",
    "Origin",
    "Outcome",
    "SagaState",
    "SagaStatus",
    "Sent",
    "StepState",
    "Work",
    "WorkStatus",
    "evolve",
    "fold",
    "start",
]
