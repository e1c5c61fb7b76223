"""On the way back: what is undone, in which order, and what becomes of an undo that fails."""

from __future__ import annotations

from datetime import timedelta

import pytest

from es_saga.core.definition import Saga
from es_saga.core.events import (
    CompensationIssued,
    CompensationStarted,
    LateReplyNoted,
    SagaCompensated,
    SagaStuck,
    StepRefused,
)
from es_saga.core.messages import Direction, Outcome
from es_saga.core.policy import OnFailedUndo
from es_saga.core.state import SagaStatus, WorkStatus
from es_saga.testing.stage import NOON
from tests.core.sagas import ONCE, TWICE, Trip, Undo, add, beside, chain, do, undo
from tests.core.scene import Scene, play


def refused_at_the_end(policy: OnFailedUndo) -> Scene:
    """Four steps, the last one refused; undos have one attempt."""
    scene = play(chain("a", "b", "c", "d", undo_retry=ONCE, on_failed_undo=policy))
    for step in "abc":
        scene.succeed(step)
    scene.refuse("d")
    return scene


@pytest.mark.requirement("R032", "R033", "R100", "D01")
@pytest.mark.parametrize(
    ("refused", "undone"),
    [("a", []), ("b", ["a/undo"]), ("c", ["b/undo", "a/undo"])],
)
def test_a_refusal_at_each_step_undoes_those_before_it_in_reverse(
    refused: str, undone: list[str]
) -> None:
    scene = play(chain("a", "b", "c"))
    for step in "abc":
        if step == refused:
            scene.refuse(step)
            break
        scene.succeed(step)
    for name in reversed("abc"[: "abc".index(refused)]):
        scene.undone(name)
    assert scene.sent[len(undone) + 1 :] == undone
    assert scene.status is SagaStatus.COMPENSATED


@pytest.mark.requirement("R032", "D03")
def test_an_undo_waits_for_the_undo_of_what_came_after() -> None:
    scene = refused_at_the_end(OnFailedUndo.ESCALATE)
    assert scene.sent[4:] == ["c/undo"]
    scene.undone("c")
    assert scene.sent[4:] == ["c/undo", "b/undo"]


@pytest.mark.requirement("R042")
def test_independent_branches_are_undone_side_by_side() -> None:
    scene = play(beside())
    for step in ("flight", "room", "car"):
        scene.succeed(step)
    scene.refuse("pay")
    assert scene.sent[4:] == ["flight/undo", "room/undo", "car/undo"]


def test_a_refusal_waits_for_the_answers_of_the_branches_in_flight() -> None:
    scene = play(beside())
    scene.succeed("flight")
    scene.refuse("room")
    assert scene.status is SagaStatus.COMPENSATING
    assert scene.sent == ["flight/do", "room/do", "car/do"]
    scene.succeed("car")
    assert scene.sent[3:] == ["flight/undo", "car/undo"]


@pytest.mark.requirement("D08")
def test_a_branch_in_flight_that_stays_unanswered_is_undone_too() -> None:
    scene = play(beside())
    scene.succeed("flight")
    scene.refuse("room")
    scene.silence()
    assert scene.step("car").do.status is WorkStatus.UNKNOWN
    assert scene.sent[3:] == ["flight/undo", "car/undo"]


def test_a_branch_in_flight_that_fails_is_not_tried_again() -> None:
    saga = Saga("trip", Trip)
    add(saga, "flight", after=())
    add(saga, "room", after=())
    scene = play(saga)
    scene.refuse("flight")
    scene.fail("room")
    assert scene.step("room").do.status is WorkStatus.FAILED
    assert scene.status is SagaStatus.COMPENSATED
    assert scene.sent == ["flight/do", "room/do"]


def test_a_branch_that_waited_for_its_next_attempt_does_not_get_it() -> None:
    saga = Saga("trip", Trip)
    add(saga, "flight", after=())
    add(saga, "room", after=())
    scene = play(saga)
    scene.fail("room")
    assert scene.step("room").do.status is WorkStatus.BACKOFF
    scene.refuse("flight")
    assert scene.status is SagaStatus.COMPENSATED
    assert "room/undo" not in scene.sent, "it is known not to have been done"


def test_a_branch_that_waited_after_a_timeout_counts_as_maybe_done() -> None:
    saga = Saga("trip", Trip)
    add(saga, "flight", after=())
    add(saga, "room", after=())
    scene = play(saga)
    scene.wait(30)
    scene.refuse("flight")
    assert scene.step("room").do.status is WorkStatus.UNKNOWN
    assert scene.sent == ["flight/do", "room/do", "room/undo"]


@pytest.mark.requirement("R035", "R036", "R013")
def test_an_undo_is_given_the_reply_of_its_step() -> None:
    scene = play(chain("a", "b"))
    scene.succeed("a")
    scene.refuse("b")
    assert scene.last(CompensationIssued).command == {"step": "a", "by": "a-desk"}


def test_an_undo_may_do_with_the_input_alone() -> None:
    saga = Saga("trip", Trip)
    step = saga.step(do("a"))

    @step.compensation
    def undo_a(trip: Trip) -> Undo:
        return Undo(step="a", by=trip.who)

    add(saga, "b")
    scene = play(saga, who="eve")
    scene.succeed("a")
    scene.refuse("b")
    assert scene.last(CompensationIssued).command == {"step": "a", "by": "eve"}


@pytest.mark.requirement("R026", "R027")
def test_the_two_directions_of_a_step_have_two_keys() -> None:
    scene = play(chain("a", "b"))
    scene.succeed("a")
    scene.refuse("b")
    assert scene.last(CompensationIssued).command_id == "s-1/a/undo"
    assert scene.last(CompensationIssued).command_id != "s-1/a/do"


@pytest.mark.requirement("R061")
def test_the_reason_and_the_failing_step_are_kept() -> None:
    scene = play(chain("a", "b"))
    scene.succeed("a")
    scene.refuse("b")
    scene.undone("a")
    assert scene.state.failure is not None
    assert (scene.state.failure.why, scene.state.failure.step) == ("No", "b")
    assert scene.last(CompensationStarted).why == "No"
    assert scene.last(StepRefused).refusal == {"why": "full"}


@pytest.mark.parametrize(("data", "kept"), [(None, {}), ("full", {"value": "full"})])
def test_a_refusal_without_an_object_is_kept_as_one(data: object, kept: object) -> None:
    scene = play(chain("a"))
    scene.reply("a", Outcome.REFUSED, "No", data)
    assert scene.last(StepRefused).refusal == kept


# ── undos that fail ──────────────────────────────────────────────────────────────────────────────


def test_an_undo_is_sent_again_for_ever_unless_told_otherwise() -> None:
    scene = play(chain("a", "b"))
    scene.succeed("a")
    scene.refuse("b")
    scene.silence(rounds=100)
    assert scene.status is SagaStatus.COMPENSATING
    assert scene.sent[-1] == "a/undo #51"


def test_an_undo_that_failed_is_sent_again_with_the_same_command() -> None:
    scene = play(chain("a", "b", undo_retry=TWICE))
    scene.succeed("a")
    scene.refuse("b")
    first = scene.last(CompensationIssued)
    scene.undo_fails("a")
    assert scene.wait(1.9) == []
    scene.wait(0.1)
    again = scene.last(CompensationIssued)
    assert (again.command_id, again.command) == (first.command_id, first.command)
    assert again.attempt == 2
    scene.undone("a")
    assert scene.status is SagaStatus.COMPENSATED


def test_an_undo_waits_at_least_as_long_as_the_participant_asks() -> None:
    scene = play(chain("a", "b"))
    scene.succeed("a")
    scene.refuse("b")
    scene.undo_fails("a", retry_after=500)
    assert scene.state.next_due == NOON + 500


@pytest.mark.requirement("R037", "R061", "D02", "D14")
def test_policy_a_notes_it_undoes_the_rest_and_asks_a_human() -> None:
    scene = refused_at_the_end(OnFailedUndo.ESCALATE)
    scene.undone("c")
    scene.undo_refused("b")
    assert "SagaStuck" not in scene.names
    scene.undone("a")
    assert scene.status is SagaStatus.STUCK
    assert scene.last(SagaStuck).why == "the compensation of b failed"
    assert scene.state.failure is not None
    assert scene.state.failure.step == "d", "the first reason is kept"


@pytest.mark.requirement("R038")
def test_policy_b_stops_at_the_first_failed_undo() -> None:
    scene = refused_at_the_end(OnFailedUndo.HALT)
    scene.undone("c")
    scene.undo_refused("b")
    assert scene.status is SagaStatus.STUCK
    assert "a/undo" not in scene.sent
    scene.skip("b")
    assert scene.sent[-1] == "a/undo"


@pytest.mark.requirement("R039", "D09", "D17")
def test_policy_c_reports_the_first_failure_and_every_failed_undo_together() -> None:
    scene = refused_at_the_end(OnFailedUndo.REPORT)
    scene.undo_fails("c")
    scene.undone("b")
    scene.undo_refused("a")
    assert scene.status is SagaStatus.COMPENSATED_WITH_EXCEPTIONS
    assert [(one.step, one.error) for one in scene.last(SagaCompensated).exceptions] == [
        ("a", "No"),
        ("c", "Busy"),
    ]
    assert scene.state.failure is not None
    assert scene.state.failure.why == "No"


@pytest.mark.requirement("D16")
def test_an_undo_that_succeeds_after_the_end_is_noted_and_changes_nothing() -> None:
    scene = refused_at_the_end(OnFailedUndo.REPORT)
    scene.undo_fails("c")
    scene.undone("b", "a")
    scene.undone("c")
    assert scene.last(LateReplyNoted).direction is Direction.UNDO
    assert scene.status is SagaStatus.COMPENSATED_WITH_EXCEPTIONS


def test_several_failed_undos_are_one_alert() -> None:
    scene = refused_at_the_end(OnFailedUndo.ESCALATE)
    for step in "cba":
        scene.undo_refused(step)
    assert scene.last(SagaStuck).why == "the compensation of a, b, c failed"
    assert scene.names.count("SagaStuck") == 1


def test_a_late_success_of_a_given_up_undo_frees_the_saga() -> None:
    scene = refused_at_the_end(OnFailedUndo.ESCALATE)
    scene.silence()
    scene.undone("b", "a")
    assert scene.names[-1] == "SagaStuck"
    scene.undone("c")
    assert scene.status is SagaStatus.COMPENSATED


def test_a_late_success_of_another_undo_leaves_it_stuck() -> None:
    scene = refused_at_the_end(OnFailedUndo.ESCALATE)
    scene.silence()
    scene.silence()
    scene.undone("a")
    assert scene.state.stuck is not None
    assert scene.state.stuck.step == "b"
    scene.undone("c")
    assert scene.state.stuck is not None
    scene.undone("b")
    assert scene.status is SagaStatus.COMPENSATED


def test_a_refused_undo_is_refused_once() -> None:
    scene = refused_at_the_end(OnFailedUndo.ESCALATE)
    scene.undo_refused("c")
    assert scene.undo_refused("c") == []


def test_a_saga_without_anything_done_is_compensated_at_once() -> None:
    scene = play(chain("a"))
    assert [type(event).__name__ for event in scene.refuse("a")] == [
        "StepRefused",
        "CompensationStarted",
        "SagaCompensated",
    ]


def test_an_undo_has_a_timeout_of_its_own() -> None:
    saga = Saga("trip", Trip)
    step = saga.step(do("a"))
    step.compensation(timeout=timedelta(seconds=7))(undo("a"))
    add(saga, "b")
    scene = play(saga)
    scene.succeed("a")
    scene.refuse("b")
    assert scene.last(CompensationIssued).due == NOON + 7
    assert scene.reply("a", Outcome.FAILED, "Busy", None, direction=Direction.UNDO), (
        "a failure needs no data"
    )
    assert scene.step("a").undo is not None
