"""No answer is no refusal: timeouts, retries, late answers, and foreign ones."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from es_saga.core.after import START
from es_saga.core.definition import Saga
from es_saga.core.events import (
    CompensationIssued,
    LateReplyNoted,
    SagaStuck,
    StepFailed,
    StepRetried,
    StepTimedOut,
)
from es_saga.core.inputs import Reply
from es_saga.core.messages import CommandKey, Direction, Outcome
from es_saga.core.policy import OnFailedUndo, Retry
from es_saga.core.replies import MAX_RETRY_AFTER
from es_saga.core.state import SagaStatus, WorkStatus
from es_saga.testing.stage import NOON
from tests.core.sagas import ONCE, TWICE, Done, Trip, Undo, add, chain, do, with_pivot
from tests.core.scene import Scene, play


@pytest.mark.requirement("R045", "R049", "R051")
def test_an_unanswered_step_is_sent_again_under_the_same_id() -> None:
    scene = play(chain("a", retry=TWICE))
    assert scene.wait(29.9) == []
    scene.wait(0.1)
    assert scene.last(StepTimedOut).retry_at == NOON + 32
    scene.wait(2)
    assert scene.last(StepRetried).command_id == "s-1/a/do"
    assert scene.sent == ["a/do", "a/do #2"]


@pytest.mark.requirement("R033", "R045", "D08", "D18", "D19")
def test_a_step_that_stayed_unanswered_is_undone_without_its_reply() -> None:
    scene = play(chain("a", retry=ONCE))
    scene.wait(30)
    assert scene.sent == ["a/do", "a/undo"]
    assert scene.last(CompensationIssued).command == {"step": "a", "by": None}
    assert scene.state.failure is not None
    assert scene.state.failure.why == "timed out"


def test_a_late_success_is_credited_while_its_undo_is_not_issued() -> None:
    saga = Saga("trip", Trip)
    add(saga, "flight", after=(), retry=ONCE)
    saga.check(after=START, timeout=timedelta(minutes=5))(do("look"))
    scene = play(saga)
    scene.wait(30)
    assert scene.status is SagaStatus.COMPENSATING
    scene.succeed("flight")
    scene.succeed("look")
    assert scene.last(CompensationIssued).command == {"step": "flight", "by": "flight-desk"}


def test_a_success_that_contradicts_its_failure_is_undone_while_that_is_possible() -> None:
    saga = Saga("trip", Trip)
    add(saga, "flight", after=(), retry=ONCE)
    saga.check(after=START, timeout=timedelta(minutes=5))(do("look"))
    scene = play(saga)
    scene.fail("flight")
    scene.succeed("flight")
    scene.succeed("look")
    assert scene.sent[-1] == "flight/undo"


def test_a_success_for_the_attempt_before_counts() -> None:
    scene = play(chain("a", retry=TWICE))
    scene.wait(30)
    scene.wait(2)
    scene.succeed("a", attempt=1)
    assert scene.status is SagaStatus.COMPLETED


def test_a_refusal_while_waiting_for_the_next_attempt_counts() -> None:
    scene = play(chain("a", retry=TWICE))
    scene.wait(30)
    scene.refuse("a")
    assert scene.status is SagaStatus.COMPENSATED


@pytest.mark.requirement("R050")
def test_a_failure_is_tried_again_after_the_wait_of_the_policy() -> None:
    scene = play(chain("a", retry=TWICE))
    scene.fail("a")
    failed = scene.last(StepFailed)
    assert (failed.error, failed.detail) == ("Busy", "no room in the queue")
    assert failed.retry_at == NOON + 2
    scene.wait(2)
    scene.succeed("a")
    assert scene.status is SagaStatus.COMPLETED
    assert scene.step("a").do.error is None


def test_a_spent_step_whose_failures_were_all_told_is_not_undone() -> None:
    scene = play(chain("a", "b", retry=ONCE))
    scene.succeed("a")
    scene.fail("b")
    scene.undone("a")
    assert scene.sent == ["a/do", "b/do", "a/undo"]
    assert scene.state.failure == ("Busy", "b", "no room in the queue")


def test_a_spent_step_with_one_unanswered_attempt_may_have_been_done() -> None:
    scene = play(chain("a", retry=TWICE))
    scene.wait(30)
    scene.wait(2)
    scene.fail("a")
    assert scene.step("a").do.status is WorkStatus.UNKNOWN
    assert scene.sent[-1] == "a/undo"


@pytest.mark.requirement("R050")
def test_an_error_that_is_not_worth_it_is_not_tried_again() -> None:
    scene = play(chain("a", retry=Retry(never=("Fatal",))))
    scene.fail("a", "Fatal")
    assert scene.status is SagaStatus.COMPENSATED


def test_a_terminal_failure_is_not_tried_again() -> None:
    scene = play(chain("a"))
    scene.fail("a", retry_after=-1)
    assert scene.status is SagaStatus.COMPENSATED


@pytest.mark.parametrize(
    ("asked", "waited"), [(1.0, 2.0), (50.0, 50.0), (math.inf, MAX_RETRY_AFTER)]
)
def test_a_participant_may_ask_for_a_longer_wait_within_limits(asked: float, waited: float) -> None:
    scene = play(chain("a", retry=TWICE))
    scene.fail("a", retry_after=asked)
    assert scene.last(StepFailed).retry_at == NOON + waited


def test_a_wait_that_is_no_number_counts_as_the_longest() -> None:
    scene = play(chain("a", retry=TWICE))
    scene.fail("a", retry_after=math.nan)
    assert scene.last(StepFailed).retry_at == NOON + MAX_RETRY_AFTER


def test_a_late_failure_of_an_earlier_attempt_changes_nothing() -> None:
    scene = play(chain("a", retry=TWICE))
    scene.wait(30)
    scene.wait(2)
    assert scene.reply("a", Outcome.FAILED, "Busy", {"error": "Busy"}, attempt=1) == []


def test_a_failure_of_an_undo_attempt_before_changes_nothing() -> None:
    scene = play(chain("a", "b"))
    scene.succeed("a")
    scene.refuse("b")
    scene.silence(rounds=2)
    late = scene.reply("a", Outcome.FAILED, "Busy", {}, direction=Direction.UNDO, attempt=1)
    assert late == []


def test_the_same_reply_again_is_silent() -> None:
    scene = play(chain("a", "b"))
    scene.succeed("a")
    assert scene.succeed("a") == []
    assert scene.refuse("a") == []


@pytest.mark.requirement("R031", "D18")
def test_a_success_after_its_undo_was_issued_is_noted_once_and_changes_nothing() -> None:
    scene = play(chain("a", retry=ONCE))
    scene.wait(30)
    scene.succeed("a")
    assert scene.last(LateReplyNoted).direction is Direction.DO
    assert scene.succeed("a") == []
    scene.undone("a")
    assert scene.status is SagaStatus.COMPENSATED


@pytest.mark.requirement("D16")
def test_a_success_after_the_end_is_noted_once_and_restarts_nothing() -> None:
    scene = play(chain("a", retry=ONCE))
    scene.wait(30)
    scene.undone("a")
    scene.succeed("a")
    assert scene.names[-1] == "LateReplyNoted"
    assert scene.succeed("a") == []
    assert scene.status is SagaStatus.COMPENSATED


def test_a_refusal_after_the_end_is_not_worth_a_note() -> None:
    scene = play(chain("a", retry=ONCE))
    scene.wait(30)
    scene.undone("a")
    assert scene.refuse("a") == []


def test_a_success_that_contradicts_a_refusal_is_noted() -> None:
    scene = play(chain("a", "b"))
    scene.succeed("a")
    scene.refuse("b")
    scene.succeed("b")
    assert scene.names[-1] == "LateReplyNoted"


@pytest.mark.requirement("D15")
@pytest.mark.parametrize(
    ("step", "saga_id", "direction", "round", "attempt"),
    [
        pytest.param("b", "s-1", Direction.DO, 1, 1, id="a step that has not begun"),
        pytest.param("z", "s-1", Direction.DO, 1, 1, id="no step of this saga"),
        pytest.param("a", "s-2", Direction.DO, 1, 1, id="another saga"),
        pytest.param("a", "s-1", Direction.UNDO, 1, 1, id="an undo that was never asked for"),
        pytest.param("a", "s-1", Direction.DO, 2, 1, id="another round"),
        pytest.param("a", "s-1", Direction.DO, 1, 2, id="an attempt to come"),
        pytest.param("a", "s-1", Direction.DO, 1, 0, id="no attempt"),
    ],
)
def test_a_reply_that_fits_nothing_asked_is_ignored(
    step: str, saga_id: str, direction: Direction, round: int, attempt: int
) -> None:
    scene = play(chain("a", "b"))
    key = CommandKey(saga_id=saga_id, step=step, direction=direction, round=round)
    data = {"by": "nobody"}
    assert scene.feed(Reply(key, attempt, Outcome.SUCCEEDED, "Done", data, "m")) == []


# ── an undo that needs the reply ─────────────────────────────────────────────────────────────────


def asks_a_human(policy: OnFailedUndo = OnFailedUndo.ESCALATE) -> Scene:
    """`a`, whose undo can do without a reply, beside `b`, whose undo needs one: both unanswered."""
    saga = Saga("trip", Trip, on_failed_undo=policy)
    add(saga, "a", after=(), retry=ONCE)
    step = saga.step(after=(), retry=ONCE, on_unknown="stuck")(do("b"))

    @step.compensation
    def undo_b(trip: Trip, done: Done) -> Undo:
        return Undo(step="b", by=done.by)

    scene = play(saga)
    scene.wait(30)
    return scene


def test_an_unknown_step_that_says_so_asks_a_human_after_undoing_the_rest() -> None:
    scene = asks_a_human()
    assert scene.sent[2:] == ["a/undo"]
    assert scene.status is SagaStatus.COMPENSATING
    scene.undone("a")
    assert scene.last(SagaStuck).step == "b"
    assert "unknown" in scene.last(SagaStuck).why


def test_policy_b_asks_at_once_about_an_unknown_step() -> None:
    assert asks_a_human(OnFailedUndo.HALT).status is SagaStatus.STUCK


def test_what_was_found_out_about_it_is_undone_with_its_reply() -> None:
    scene = asks_a_human()
    scene.undone("a")
    scene.resolve("b", reply={"by": "the desk"})
    assert scene.last(CompensationIssued).command == {"step": "b", "by": "the desk"}
    scene.undone("b")
    assert scene.status is SagaStatus.COMPENSATED


def test_what_was_found_not_done_is_not_undone() -> None:
    scene = asks_a_human()
    scene.undone("a")
    scene.resolve("b", Outcome.REFUSED)
    assert scene.status is SagaStatus.COMPENSATED


def test_its_late_answer_frees_the_saga() -> None:
    scene = asks_a_human()
    scene.undone("a")
    scene.succeed("b")
    assert scene.last(CompensationIssued).command == {"step": "b", "by": "b-desk"}


# ── the pivot ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R046", "D14")
def test_while_the_pivot_is_unknown_neither_direction_moves() -> None:
    scene = play(with_pivot(retry=TWICE))
    scene.succeed("hold")
    scene.wait(30)
    scene.wait(2)
    assert scene.sent == ["hold/do", "pay/do", "pay/do #2"]
    scene.wait(30)
    assert scene.status is SagaStatus.STUCK
    assert "whether the pivot pay was done is unknown" in scene.last(SagaStuck).why
    assert scene.sent == ["hold/do", "pay/do", "pay/do #2"]


def test_a_late_success_of_an_unknown_pivot_goes_on() -> None:
    scene = play(with_pivot(retry=ONCE))
    scene.succeed("hold")
    scene.wait(30)
    scene.succeed("pay")
    assert scene.status is SagaStatus.RUNNING
    assert scene.state.failure is None, "nothing is in its way any more"
    assert scene.sent[-1] == "ticket/do"


def test_a_late_refusal_of_an_unknown_pivot_goes_back() -> None:
    scene = play(with_pivot(retry=ONCE))
    scene.succeed("hold")
    scene.wait(30)
    scene.refuse("pay")
    assert scene.sent[-1] == "hold/undo"
    assert scene.state.failure == ("No", "pay", "")


@pytest.mark.requirement("R046")
def test_a_pivot_may_refuse_and_is_not_undone() -> None:
    scene = play(with_pivot())
    scene.succeed("hold")
    scene.refuse("pay")
    scene.undone("hold")
    assert scene.status is SagaStatus.COMPENSATED
    assert "pay/undo" not in scene.sent


def test_a_pivot_whose_failures_were_all_told_goes_back() -> None:
    scene = play(with_pivot(retry=ONCE))
    scene.succeed("hold")
    scene.fail("pay")
    assert scene.sent[-1] == "hold/undo"
    scene.succeed("pay")
    assert scene.names[-1] == "LateReplyNoted", "it cannot have succeeded: nothing is turned round"


@pytest.mark.requirement("R046")
def test_a_step_after_the_pivot_is_tried_until_it_is_done() -> None:
    scene = play(with_pivot())
    scene.succeed("hold")
    scene.succeed("pay")
    for _ in range(50):
        scene.fail("ticket")
        scene.silence()
    assert scene.sent[-1] == "ticket/do #51"
    assert scene.status is SagaStatus.RUNNING


@pytest.mark.requirement("R046")
def test_a_refusal_after_the_pivot_asks_a_human_and_undoes_nothing() -> None:
    scene = play(with_pivot())
    scene.succeed("hold")
    scene.succeed("pay")
    scene.refuse("ticket")
    assert scene.status is SagaStatus.STUCK
    assert scene.last(SagaStuck).why == "ticket after the pivot: No"
    assert "hold/undo" not in scene.sent


def test_a_spent_step_after_the_pivot_asks_a_human() -> None:
    scene = play(with_pivot(after_retry=ONCE))
    scene.succeed("hold")
    scene.succeed("pay")
    scene.wait(30)
    assert scene.last(SagaStuck).why == "ticket after the pivot: timed out"


# ── the saga's own deadline ──────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R051")
def test_a_deadline_before_the_pivot_undoes_the_saga() -> None:
    scene = play(chain("a", "b", deadline=timedelta(seconds=10)))
    scene.succeed("a")
    scene.wait(9.9)
    assert scene.state.next_due == NOON + 10
    scene.wait(0.1)
    assert scene.state.failure is not None
    assert scene.state.failure.why == "deadline exceeded"
    scene.wait(20)
    assert scene.step("b").do.status is WorkStatus.UNKNOWN, "it was in flight"
    scene.undone("b", "a")
    assert scene.status is SagaStatus.COMPENSATED


@pytest.mark.requirement("R051")
def test_a_deadline_after_the_pivot_is_noted_once() -> None:
    scene = play(with_pivot(deadline=timedelta(seconds=10)))
    scene.succeed("hold")
    scene.wait(10)
    assert scene.names[-1] == "DeadlineExceeded"
    assert scene.status is SagaStatus.RUNNING
    assert scene.state.next_due == NOON + 30, "the deadline is due no more"
    scene.succeed("pay")
    assert scene.wait(0) == []


def test_a_deadline_that_passes_while_compensating_is_noted() -> None:
    scene = play(chain("a", "b", deadline=timedelta(seconds=10)))
    scene.succeed("a")
    scene.refuse("b")
    scene.wait(10)
    assert scene.names[-1] == "DeadlineExceeded"
    assert scene.sent[-1] == "a/undo"
