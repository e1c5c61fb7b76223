"""Our statuses in the words that other saga systems and textbooks use (R016, R017)."""

from __future__ import annotations

from enum import StrEnum

from es_saga.core.state import SagaState, SagaStatus, StepState, WorkStatus


class StepWord(StrEnum):
    """A step, in both directions at once."""

    STARTED = "STARTED"
    FAILED = "FAILED"
    SUCCEEDED = "SUCCEEDED"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"


class SagaWord(StrEnum):
    """A saga, as systems that start and abort tell it."""

    STARTED = "STARTED"
    ABORTING = "ABORTING"
    ABORTED = "ABORTED"
    COMPLETED = "COMPLETED"


class ProgressWord(StrEnum):
    """A saga, as systems that progress and compensate tell it."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    COMPENSATING = "COMPENSATING"
    FAILED = "FAILED"


_FORWARD = {
    WorkStatus.STARTED: StepWord.STARTED,
    WorkStatus.BACKOFF: StepWord.STARTED,
    WorkStatus.SUCCEEDED: StepWord.SUCCEEDED,
    WorkStatus.SKIPPED: StepWord.SUCCEEDED,
    WorkStatus.REFUSED: StepWord.FAILED,
    WorkStatus.FAILED: StepWord.FAILED,
    WorkStatus.UNKNOWN: StepWord.FAILED,
}


def step_word(step: StepState) -> StepWord:
    """An undo that is not done, given up or waived ones among them, is COMPENSATING still.

    >>> from es_saga.core.state import Work
    >>> step_word(StepState(Work(WorkStatus.UNKNOWN, attempt=3, started=0.0)))
    <StepWord.FAILED: 'FAILED'>
    """
    if step.undo is None:
        return _FORWARD[step.do.status]
    undone = step.undo.status is WorkStatus.SUCCEEDED
    return StepWord.COMPENSATED if undone else StepWord.COMPENSATING


def saga_word(saga: SagaState) -> SagaWord:
    """ABORTED only when everything is undone: with exceptions a saga is ABORTING for ever (D17)."""
    if saga.status is SagaStatus.COMPLETED:
        return SagaWord.COMPLETED
    if saga.status is SagaStatus.COMPENSATED:
        return SagaWord.ABORTED
    return SagaWord.ABORTING if saga.backward else SagaWord.STARTED


def progress_word(saga: SagaState) -> ProgressWord:
    """FAILED is the end of every saga that did not complete; what is stuck has not ended."""
    if saga.status is SagaStatus.COMPLETED:
        return ProgressWord.COMPLETED
    if saga.closed is not None:
        return ProgressWord.FAILED
    return ProgressWord.COMPENSATING if saga.backward else ProgressWord.IN_PROGRESS
