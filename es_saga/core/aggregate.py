"""How each event changes a saga: `evolve(state, event) -> state`, and `fold` for a history.

The assertions are what a history must hold to be one; a breach is reported as CorruptHistory, with
the number of the event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, TypeVar

from es_saga.core import interventions
from es_saga.core.change import ended, freed, moved, put
from es_saga.core.errors import CorruptHistory
from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationStarted,
    CompensationSucceeded,
    DeadlineExceeded,
    LateReplyNoted,
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
    StepFannedOut,
    StepRefused,
    StepRetried,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepTimedOut,
)
from es_saga.core.state import (
    CLOSED,
    GIVEN_UP,
    UNDECIDED,
    Failure,
    Origin,
    SagaState,
    SagaStatus,
    Sent,
    StepState,
    Work,
    WorkStatus,
)

E_ = TypeVar("E_", bound=SagaEvent)
_RULES: dict[type[SagaEvent], Callable[[SagaState, Any], SagaState]] = {**interventions.RULES}


def _on(
    event: type[E_],
) -> Callable[[Callable[[SagaState, E_], SagaState]], Callable[[SagaState, E_], SagaState]]:
    def register(
        rule: Callable[[SagaState, E_], SagaState],
    ) -> Callable[[SagaState, E_], SagaState]:
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
            parent=event.parent,
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
    kind = type(event)
    rule = _RULES.get(kind)
    if rule is None or (state.closed is not None and kind is not LateReplyNoted):
        raise CorruptHistory(
            f"saga {state.saga_id!r}, event {state.version + 1}: {kind.__name__} cannot follow "
            f"{'the end' if state.closed is not None else 'the start'}."
        )
    try:
        return rule(state, event)
    except (KeyError, AssertionError) as error:
        raise CorruptHistory(
            f"saga {state.saga_id!r}, event {state.version + 1}: {kind.__name__} "
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
        raise CorruptHistory(f"saga {saga_id!r}, event 1: {type(first).__name__} begins no saga.")
    return reduce(evolve, iterator, start(saga_id, first))


def _answered(state: SagaState, step: str) -> SagaState:
    """An answer for the step it was stuck at frees it."""
    return freed(state) if state.stuck is not None and state.stuck.step == step else state


def _failing(state: SagaState, why: str, step: str | None, detail: str = "") -> SagaState:
    if state.failure is not None:
        return state
    return state._replace(failure=Failure(why, step, detail))


def _given_up(work: Work, at: float) -> Work:
    """Forward work without another attempt: definite only if every attempt was answered."""
    status = WorkStatus.UNKNOWN if work.unanswered else WorkStatus.FAILED
    # The command is kept: an operator may have it sent again.
    return work._replace(status=status, due=None, ended=at)


def _left(work: Work, at: float) -> Work:
    """Forward work that is not waited for: nobody knows how far it has come."""
    assert work.status is WorkStatus.STARTED, "nothing was in flight"
    return _given_up(work._replace(unanswered=work.unanswered + 1), at)


# ── forward ──────────────────────────────────────────────────────────────────────────────────────


@_on(StepStarted)
def _step_started(state: SagaState, event: StepStarted) -> SagaState:
    assert not state.backward, "nothing new begins while compensating"
    assert event.step not in state.steps, "started twice"
    sent = Sent(event.command_type, event.to, event.command, event.expected)
    work = Work(WorkStatus.STARTED, event.attempt, event.at, event.due, sent)
    if not event.to:
        state = state._replace(waiting=(*state.waiting, event.step))
    return put(state, event, event.step, StepState(work))


@_on(StepRetried)
def _step_retried(state: SagaState, event: StepRetried) -> SagaState:
    step = state.steps[event.step]
    assert step.do.status is WorkStatus.BACKOFF, "no further attempt was due"
    assert event.attempt == step.do.attempt + 1, "attempts count up"
    work = step.do._replace(status=WorkStatus.STARTED, attempt=event.attempt, due=event.due)
    if work.sent is not None and not work.sent.to:
        state = state._replace(waiting=(*state.waiting, event.step))
    return put(state, event, event.step, step._replace(do=work))


@_on(StepSucceeded)
def _step_succeeded(state: SagaState, event: StepSucceeded) -> SagaState:
    step = state.steps[event.step]
    assert step.do.status in UNDECIDED, "it has its outcome"
    assert event.attempt <= step.do.attempt, "no such attempt was sent"
    done = step.do
    work = Work(
        WorkStatus.SUCCEEDED,
        done.attempt,
        done.started,
        reply=event.reply,
        unanswered=done.unanswered,
        round=done.round,
        ended=event.at,
    )
    value = StepState(work, step.undo, step.late)
    return put(_answered(state, event.step), event, event.step, value)


@_on(StepRefused)
def _step_refused(state: SagaState, event: StepRefused) -> SagaState:
    step = state.steps[event.step]
    assert step.do.status in UNDECIDED, "it has its outcome"
    # The command is kept: after the pivot an operator may ask again.
    work = step.do._replace(
        status=WorkStatus.REFUSED, due=None, ended=event.at, error=event.refusal_type
    )
    state = _failing(_answered(state, event.step), event.refusal_type, event.step)
    return put(state, event, event.step, step._replace(do=work))


@_on(StepFailed)
def _step_failed(state: SagaState, event: StepFailed) -> SagaState:
    step = state.steps[event.step]
    work = _unanswered_or_failed(step.do, event.attempt, event.retry_at, event.at)
    if event.retry_at is None:
        state = _failing(state, event.error, event.step, event.detail)
    return put(state, event, event.step, step._replace(do=work._replace(error=event.error)))


@_on(StepTimedOut)
def _step_timed_out(state: SagaState, event: StepTimedOut) -> SagaState:
    step = state.steps[event.step]
    work = step.do._replace(unanswered=step.do.unanswered + 1, error="timed out")
    work = _unanswered_or_failed(work, event.attempt, event.retry_at, event.at)
    if event.retry_at is None:
        state = _failing(state, "timed out", event.step)
    return put(state, event, event.step, step._replace(do=work))


def _unanswered_or_failed(work: Work, attempt: int, retry_at: float | None, at: float) -> Work:
    assert work.status is WorkStatus.STARTED, "nothing was in flight"
    assert attempt == work.attempt, "another attempt is in flight"
    if retry_at is None:
        return _given_up(work, at)
    return work._replace(status=WorkStatus.BACKOFF, due=retry_at)


@_on(StepSkipped)
def _step_skipped(state: SagaState, event: StepSkipped) -> SagaState:
    step = state.steps.get(event.step)
    if step is None:
        work = Work(WorkStatus.SKIPPED, 0, event.at, ended=event.at, error=event.why)
    else:
        given_up = step.do.status in GIVEN_UP
        assert given_up or event.step in state.waiting, "already begun"
        work = ended(step.do, WorkStatus.SKIPPED, event.at)._replace(error=event.why)
        if given_up and state.failure is not None and state.failure.step == event.step:
            state = state._replace(failure=None)
    return put(state, event, event.step, StepState(work))


@_on(StepFannedOut)
def _step_fanned_out(state: SagaState, event: StepFannedOut) -> SagaState:
    assert not state.backward, "nothing new begins while compensating"
    assert event.step not in state.steps, "already begun"
    assert event.step not in state.fans, "already begun"
    assert event.count > 0, "an empty list is skipped"
    return moved(state, event, fans={**state.fans, event.step: event.count})


# ── backward ─────────────────────────────────────────────────────────────────────────────────────


@_on(CompensationStarted)
def _compensation_started(state: SagaState, event: CompensationStarted) -> SagaState:
    widened = state.back_to is not None and event.back_to is None
    assert widened or not state.backward, "compensation starts once"
    # A step that waited for its next attempt will not get one; nobody waits for the world outside.
    steps = {
        name: step._replace(do=ended(step.do, WorkStatus.SKIPPED, event.at))
        if name in state.waiting
        else step._replace(do=_left(step.do, event.at))
        if name in event.left
        else step._replace(do=_given_up(step.do, event.at))
        if step.do.status is WorkStatus.BACKOFF
        else step
        for name, step in state.steps.items()
    }
    return moved(
        _failing(state, event.why, event.step),
        event,
        steps=steps,
        backward=True,
        status=SagaStatus.COMPENSATING,
        stuck=None,
        waiting=(),
        back_to=event.back_to,
    )


@_on(SagaResumed)
def _saga_resumed(state: SagaState, event: SagaResumed) -> SagaState:
    assert state.back_to == event.save_point, "it was not on its way there"
    assert state.stuck is None, "it takes a human"
    point = state.steps[event.save_point]
    steps = {name: own for name, own in state.steps.items() if name not in event.past}
    steps[event.save_point] = point._replace(do=point.do._replace(reply=event.reply))
    return moved(
        state,
        event,
        steps=steps,
        backward=False,
        status=SagaStatus.RUNNING,
        failure=None,
        back_to=None,
        ways=(*state.ways, (event.save_point, event.way)),
        past={**state.past, **{name: state.steps[name] for name in event.past}},
    )


@_on(CompensationIssued)
def _compensation_issued(state: SagaState, event: CompensationIssued) -> SagaState:
    assert state.backward, "nothing is undone on the way forward"
    step = state.steps[event.step]
    sent = Sent(event.command_type, event.to, event.command, event.expected)
    if step.undo is None:
        undo = Work(WorkStatus.STARTED, event.attempt, event.at, event.due, sent)
    else:
        assert step.undo.status is WorkStatus.BACKOFF, "no further attempt was due"
        undo = step.undo._replace(
            status=WorkStatus.STARTED, attempt=event.attempt, due=event.due, sent=sent
        )
    return put(state, event, event.step, step._replace(undo=undo))


@_on(CompensationSucceeded)
def _compensation_succeeded(state: SagaState, event: CompensationSucceeded) -> SagaState:
    step = state.steps[event.step]
    assert step.undo is not None, "no undo was issued"
    assert step.undo.status in UNDECIDED, "it has its outcome"
    undo = ended(step.undo, WorkStatus.SUCCEEDED, event.at)._replace(error=None)
    return put(_answered(state, event.step), event, event.step, step._replace(undo=undo))


@_on(CompensationFailed)
def _compensation_failed(state: SagaState, event: CompensationFailed) -> SagaState:
    step = state.steps[event.step]
    assert step.undo is not None, "no undo was issued"
    assert step.undo.status in UNDECIDED, "it has its outcome"
    if event.retry_at is not None:
        undo = step.undo._replace(status=WorkStatus.BACKOFF, due=event.retry_at, error=event.error)
    else:
        # The command is kept: an operator may have it sent again.
        status = WorkStatus.REFUSED if event.refused else WorkStatus.FAILED
        undo = step.undo._replace(status=status, due=None, error=event.error, ended=event.at)
    return put(state, event, event.step, step._replace(undo=undo))


# ── the saga as a whole ──────────────────────────────────────────────────────────────────────────


@_on(SagaHeld)
def _saga_held(state: SagaState, event: SagaHeld) -> SagaState:
    assert state.bound, "nobody decides for it"
    assert not state.backward, "what is undone is not held"
    return moved(state, event, status=SagaStatus.WAITING, held=True)


@_on(ParentDecided)
def _parent_decided(state: SagaState, event: ParentDecided) -> SagaState:
    assert state.origin.parent is not None, "it has none"
    status = SagaStatus.RUNNING if state.held else state.status
    return moved(state, event, status=status, held=False, decided=event)


@_on(SagaCompleted)
def _saga_completed(state: SagaState, event: SagaCompleted) -> SagaState:
    assert not state.backward, "what is undone cannot complete"
    assert not state.bound, "its parent has not decided"
    return moved(state, event, status=SagaStatus.COMPLETED, closed=event.at)


@_on(SagaCompensated)
def _saga_compensated(state: SagaState, event: SagaCompensated) -> SagaState:
    assert state.backward, "nothing is undone on the way forward"
    status = SagaStatus.COMPENSATED_WITH_EXCEPTIONS if event.exceptions else SagaStatus.COMPENSATED
    return moved(state, event, status=status, exceptions=event.exceptions, closed=event.at)


@_on(SagaStuck)
def _saga_stuck(state: SagaState, event: SagaStuck) -> SagaState:
    state = _failing(state, event.why, event.step, event.detail)
    stuck = Failure(event.why, event.step, event.detail)
    return moved(state, event, status=SagaStatus.STUCK, stuck=stuck)


@_on(LateReplyNoted)
def _late_reply_noted(state: SagaState, event: LateReplyNoted) -> SagaState:
    return put(state, event, event.step, state.steps[event.step]._replace(late=True))


@_on(DeadlineExceeded)
def _deadline_exceeded(state: SagaState, event: DeadlineExceeded) -> SagaState:
    assert not state.deadline_noted, "it passes once"
    return moved(state, event, deadline_noted=True)


@_on(SignalReceived)
def _signal_received(state: SagaState, event: SignalReceived) -> SagaState:
    return moved(state, event, signals={**state.signals, event.name: event.data})


__all__ = [
    "CLOSED",
    "Failure",
    "Origin",
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
