"""Our statuses in the common words."""

from __future__ import annotations

import pytest

from es_saga.core.policy import OnFailedUndo
from es_saga.core.state import StepState, Work, WorkStatus
from es_saga.core.vocabulary import (
    ProgressWord,
    SagaWord,
    StepWord,
    progress_word,
    saga_word,
    step_word,
)
from tests.core.sagas import ONCE, chain
from tests.core.scene import Scene, play

pytestmark = pytest.mark.requirement("R016", "R017")


def words(scene: Scene) -> tuple[SagaWord, ProgressWord, list[StepWord]]:
    state = scene.state
    return saga_word(state), progress_word(state), [*map(step_word, state.steps.values())]


def test_a_saga_on_its_way() -> None:
    scene = play(chain("a", "b"))
    scene.succeed("a")
    assert words(scene) == (
        SagaWord.STARTED,
        ProgressWord.IN_PROGRESS,
        [StepWord.SUCCEEDED, StepWord.STARTED],
    )


def test_a_completed_saga() -> None:
    scene = play(chain("a"))
    scene.succeed("a")
    assert words(scene) == (SagaWord.COMPLETED, ProgressWord.COMPLETED, [StepWord.SUCCEEDED])


def test_a_saga_on_its_way_back_and_at_its_end() -> None:
    scene = play(chain("a", "b"))
    scene.succeed("a")
    scene.refuse("b")
    assert words(scene) == (
        SagaWord.ABORTING,
        ProgressWord.COMPENSATING,
        [StepWord.COMPENSATING, StepWord.FAILED],
    )
    scene.undone("a")
    assert words(scene) == (
        SagaWord.ABORTED,
        ProgressWord.FAILED,
        [StepWord.COMPENSATED, StepWord.FAILED],
    )


def test_a_saga_that_still_owes_an_undo_is_never_called_aborted() -> None:
    scene = play(chain("a", "b", undo_retry=ONCE, on_failed_undo=OnFailedUndo.REPORT))
    scene.succeed("a")
    scene.refuse("b")
    scene.undo_refused("a")
    assert words(scene) == (
        SagaWord.ABORTING,
        ProgressWord.FAILED,
        [StepWord.COMPENSATING, StepWord.FAILED],
    )


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (WorkStatus.STARTED, StepWord.STARTED),
        (WorkStatus.BACKOFF, StepWord.STARTED),
        (WorkStatus.SUCCEEDED, StepWord.SUCCEEDED),
        (WorkStatus.SKIPPED, StepWord.SUCCEEDED),
        (WorkStatus.REFUSED, StepWord.FAILED),
        (WorkStatus.FAILED, StepWord.FAILED),
        (WorkStatus.UNKNOWN, StepWord.FAILED),
    ],
)
def test_every_status_of_a_step_has_its_word(status: WorkStatus, word: StepWord) -> None:
    assert step_word(StepState(Work(status, attempt=1, started=0.0))) is word


@pytest.mark.parametrize("status", WorkStatus)
def test_a_step_whose_undo_was_issued_is_compensated_or_on_its_way(status: WorkStatus) -> None:
    done = Work(WorkStatus.SUCCEEDED, attempt=1, started=0.0)
    undone = status is WorkStatus.SUCCEEDED
    expected = StepWord.COMPENSATED if undone else StepWord.COMPENSATING
    assert step_word(StepState(done, Work(status, attempt=1, started=0.0))) is expected
