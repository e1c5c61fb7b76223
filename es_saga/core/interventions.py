"""What operators' events change: the rules of `evolve` for everything that a human did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from es_saga.core.change import ended, freed, moved, put
from es_saga.core.events import (
    OperatorCancelled,
    OperatorCompensated,
    OperatorEvent,
    OperatorResent,
    OperatorResolved,
    OperatorResumed,
    OperatorRetried,
    OperatorSkipped,
    SagaEvent,
)
from es_saga.core.messages import Direction, Outcome
from es_saga.core.state import (
    GIVEN_UP,
    REMEMBERED_VERBS,
    SagaState,
    StepState,
    Work,
    WorkStatus,
)


def _operated(state: SagaState, event: OperatorEvent) -> SagaState:
    """The verb is remembered, so that it acts once however often it is delivered."""
    if event.cause is None or event.cause in state.verbs[-1:]:
        return state
    return state._replace(verbs=(*state.verbs, event.cause)[-REMEMBERED_VERBS:])


def _retried(state: SagaState, event: OperatorRetried) -> SagaState:
    """The work it is stuck at becomes due now; a refusal is asked for under a new key."""
    steps = dict(state.steps)
    for name, step in state.steps.items():
        if event.step not in (None, name):
            continue
        if state.backward:
            if step.undo is not None and step.undo.status in GIVEN_UP:
                steps[name] = step._replace(undo=_again(step.undo, event.at))
        elif step.do.status in GIVEN_UP:
            steps[name] = step._replace(do=_again(step.do, event.at))
    return moved(freed(_operated(state, event)), event, steps=steps)


def _again(work: Work, at: float) -> Work:
    round = work.round + 1 if work.status is WorkStatus.REFUSED else work.round
    return work._replace(status=WorkStatus.BACKOFF, due=at, round=round, ended=None)


def _skipped(state: SagaState, event: OperatorSkipped) -> SagaState:
    step = state.steps.get(event.step)
    never = Work(WorkStatus.SKIPPED, 0, event.at)
    if state.backward:
        assert step is not None, "never begun"
        step = step._replace(undo=ended(step.undo or never, WorkStatus.SKIPPED, event.at))
    else:
        done = step.do if step is not None else never
        step = StepState(ended(done, WorkStatus.SKIPPED, event.at))
    return put(freed(_operated(state, event)), event, event.step, step)


def _resolved(state: SagaState, event: OperatorResolved) -> SagaState:
    step = state.steps[event.step]
    done = event.outcome is Outcome.SUCCEEDED
    status = WorkStatus.SUCCEEDED if done else WorkStatus.REFUSED
    error = None if done else event.reason
    if event.direction is Direction.UNDO:
        assert step.undo is not None, "no undo was issued"
        step = step._replace(undo=ended(step.undo, status, event.at)._replace(error=error))
    else:
        work = ended(step.do, status, event.at)._replace(error=error, reply=event.reply)
        step = step._replace(do=work)
    return put(freed(_operated(state, event)), event, event.step, step)


def _noted(state: SagaState, event: OperatorCancelled | OperatorCompensated) -> SagaState:
    """What comes of it follows as an event of its own."""
    return moved(_operated(state, event), event)


def _resumed(state: SagaState, event: OperatorResumed) -> SagaState:
    """The next attempt becomes due now; where there was none, its function is called again."""
    step, state = state.steps.get(event.step), _operated(state, event)
    undo = event.direction is Direction.UNDO
    work = None if step is None else step.undo if undo else step.do
    if step is None or work is None:
        assert state.stuck is not None, "nothing was in its way"
        assert state.stuck.step == event.step, "it is stuck elsewhere"
        return moved(freed(state), event)
    assert work.status is WorkStatus.BACKOFF, "no further attempt was to come"
    work = work._replace(due=event.at)
    return put(state, event, event.step, _with(step, work, undo=undo))


def _resent(state: SagaState, event: OperatorResent) -> SagaState:
    """The attempt may have been done; the next one becomes due now."""
    step, state = state.steps[event.step], _operated(state, event)
    undo = event.direction is Direction.UNDO
    work = step.undo if undo else step.do
    assert work is not None, "it was never sent"
    assert work.status is WorkStatus.STARTED, "nothing was in flight"
    assert work.attempt == event.attempt, "another attempt is in flight"
    unanswered = work.unanswered if undo else work.unanswered + 1
    work = work._replace(status=WorkStatus.BACKOFF, due=event.at, unanswered=unanswered)
    return put(state, event, event.step, _with(step, work, undo=undo))


def _with(step: StepState, work: Work, *, undo: bool) -> StepState:
    return step._replace(undo=work) if undo else step._replace(do=work)


RULES: Mapping[type[SagaEvent], Callable[[SagaState, Any], SagaState]] = {
    OperatorRetried: _retried,
    OperatorSkipped: _skipped,
    OperatorResolved: _resolved,
    OperatorCancelled: _noted,
    OperatorCompensated: _noted,
    OperatorResumed: _resumed,
    OperatorResent: _resent,
}
"""By event."""
