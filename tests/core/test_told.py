"""How long is waited, what is told of what went wrong, and who is asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from es_saga.core.after import START
from es_saga.core.definition import Saga
from es_saga.core.errors import IllegalOperation
from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    DeadlineExceeded,
    SagaStuck,
    StepFailed,
    StepTimedOut,
)
from es_saga.core.messages import Direction, Outcome
from es_saga.core.policy import FOR_EVER, Retry
from es_saga.core.state import SagaStatus
from tests.core.moments import paying, started, turned
from tests.core.sagas import ONCE, TWICE, Do, Done, Trip, Undo, add, chain, do, undo, with_pivot
from tests.core.scene import Scene, play

UNDO = Direction.UNDO
JITTERY = Retry(first=timedelta(seconds=0.5), jitter=1.0)


# ── waits ────────────────────────────────────────────────────────────────────────────────────────


def test_L31_the_waits_of_a_command_are_those_of_its_id() -> None:
    scene = play(chain("a", retry=JITTERY))
    scene.wait(30)
    wait = JITTERY.wait("s-1/a/do", 1)
    assert scene.last(StepTimedOut).retry_at == scene.now + wait
    scene.silence()
    scene.fail("a")
    assert scene.last(StepFailed).retry_at == scene.now + JITTERY.wait("s-1/a/do", 2)


def test_a_participant_that_asks_for_no_wait_gets_that_of_the_policy() -> None:
    scene = play(chain("a", retry=Retry(first=timedelta(seconds=0.5), jitter=0)))
    scene.fail("a")
    assert scene.last(StepFailed).retry_at == scene.now + 0.5


def test_L31_the_waits_of_an_undo_are_those_of_its_id() -> None:
    scene = play(chain("a", "b", undo_retry=JITTERY))
    scene.succeed("a")
    scene.refuse("b")
    scene.wait(30)
    assert scene.last(CompensationFailed).error == "timed out"
    assert scene.last(CompensationFailed).retry_at == scene.now + JITTERY.wait("s-1/a/undo", 1)
    scene.silence()
    scene.undo_fails("a")
    assert scene.last(CompensationFailed).retry_at == scene.now + JITTERY.wait("s-1/a/undo", 2)


def test_L31_the_waits_of_a_new_round_are_those_of_its_new_id() -> None:
    policy = Retry(attempts=None, jitter=1.0)
    scene = play(with_pivot(after_retry=policy))
    for step in ("hold", "pay"):
        scene.succeed(step)
    scene.refuse("ticket")
    scene.retry()
    scene.wait(30)
    assert scene.last(StepTimedOut).retry_at == scene.now + policy.wait("s-1/ticket/do-2", 2)
    scene.silence()
    scene.fail("ticket")
    assert scene.last(StepFailed).retry_at == scene.now + policy.wait("s-1/ticket/do-2", 3)


def test_L31_the_waits_of_an_undo_in_a_new_round_are_those_of_its_new_id() -> None:
    scene = play(chain("a", "b", undo_retry=FOR_EVER))
    scene.succeed("a")
    scene.refuse("b")
    scene.undo_refused("a")
    scene.retry()
    scene.wait(30)
    assert scene.last(CompensationFailed).retry_at == scene.now + FOR_EVER.wait("s-1/a/undo-2", 2)


# ── words ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"error": "Full", "detail": "no room"}, ("Full", "no room")),
        ({}, ("Busy", "")),
        (None, ("Busy", "")),
    ],
)
def test_a_failure_is_told_as_the_participant_tells_it(
    data: dict[str, str] | None, told: tuple[str, str]
) -> None:
    scene = turned()
    scene.reply("a", Outcome.FAILED, "Busy", data, direction=UNDO)
    failed = scene.last(CompensationFailed)
    assert (failed.error, failed.detail) == told
    scene = started()
    scene.reply("a", Outcome.FAILED, "Busy", data)
    step = scene.last(StepFailed)
    assert (step.error, step.detail) == told


def test_an_undo_is_not_tried_again_after_an_error_that_is_not_worth_it() -> None:
    scene = play(chain("a", "b", undo_retry=Retry(never=("Busy",))))
    scene.succeed("a")
    scene.refuse("b")
    scene.undo_fails("a")
    assert scene.last(CompensationFailed).retry_at is None


def test_an_undo_whose_function_raises_is_told_with_its_trace() -> None:
    saga = Saga("trip", Trip)

    @saga.step(after=START)
    def a(trip: Trip) -> Do:
        return Do(step="a", who=trip.who)

    @a.compensation
    def undo_a(trip: Trip) -> Undo:
        raise ValueError("upside down")

    add(saga, "b")
    scene = play(saga)
    scene.succeed("a")
    scene.refuse("b")
    stuck = scene.last(SagaStuck)
    assert stuck.why == "the function of compensation of a raised ValueError: upside down"
    assert stuck.detail.startswith("Traceback")
    assert stuck.detail.endswith("\nValueError: upside down\n")
    assert "in undo_a\n" in stuck.detail


@pytest.mark.parametrize(
    ("scene", "effect"),
    [
        (lambda: _late(chain("a", "b", deadline=timedelta(seconds=60))), "compensating already"),
        (lambda: paying(), "noted: the pivot has begun"),
    ],
)
def test_a_deadline_says_what_came_of_it(scene: Callable[[], Scene], effect: str) -> None:
    late = scene()
    late.wait(61)
    assert late.last(DeadlineExceeded).effect == effect
    assert late.state.updated == late.now


def _late(saga: Saga[Trip]) -> Scene:
    scene = play(saga)
    scene.succeed("a")
    scene.refuse("b")
    return scene


def test_a_step_that_asks_a_human_does_so_although_its_undo_could_do_without() -> None:
    saga = Saga("trip", Trip)
    step = saga.step(retry=ONCE, on_unknown="stuck")(do("a"))
    step.compensation(undo("a"))
    scene = play(saga)
    scene.silence()
    assert scene.status is SagaStatus.STUCK
    assert scene.state.stuck is not None
    assert scene.state.stuck.step == "a"


def test_L37_what_waits_for_a_human_holds_up_no_other_undo() -> None:
    saga = Saga("trip", Trip)
    step = saga.step(after=START, retry=ONCE, on_unknown="stuck")(do("a"))
    step.compensation(undo("a"))
    add(saga, "b", after=(), retry=ONCE)
    scene = play(saga)
    scene.wait(30)
    assert scene.last(CompensationIssued).step == "b"
    scene.undone("b")
    assert scene.state.stuck is not None
    with pytest.raises(IllegalOperation) as caught:
        scene.retry()
    assert caught.value.message == (
        "Whether a was done is unknown, and sending it again could do it."
    )


def test_each_undo_that_was_given_up_can_be_waived() -> None:
    saga = Saga("trip", Trip)
    for name in ("a", "b"):
        add(saga, name, after=(), undo_retry=ONCE)
    add(saga, "c", after=("a", "b"))
    scene = play(saga)
    for name in ("a", "b"):
        scene.succeed(name)
    scene.refuse("c")
    for name in ("a", "b"):
        scene.undo_refused(name)
    with pytest.raises(IllegalOperation) as caught:
        scene.retry("c")
    assert caught.value.message == "c is not what saga s-1 is stuck at: a, b."
    scene.skip("b")
    scene.skip("a")
    assert scene.status is SagaStatus.COMPENSATED_WITH_EXCEPTIONS


def test_a_step_is_still_the_function_that_it_was() -> None:
    saga = Saga("trip", Trip)

    add(saga, "a")

    def b(trip: Trip, done: Done) -> Do:
        """The second of them."""
        return Do(step="b", who=done.by)

    step = saga.step(b)
    step.compensation(undo("b"))
    assert step.__doc__ == "The second of them."
    assert saga.definition.steps["b"].doc == "The second of them."
    assert step(Trip(), Done(by="x")) == step(Trip(), done=Done(by="x")) == Do(step="b", who="x")


def test_an_undo_that_is_sent_again_is_an_attempt_more_of_the_same() -> None:
    scene = play(chain("a", "b", undo_retry=TWICE))
    scene.succeed("a")
    scene.refuse("b")
    first = scene.last(CompensationIssued)
    scene.undo_fails("a")
    scene.silence()
    second = scene.last(CompensationIssued)
    assert second.command_id == first.command_id
    assert (second.attempt, second.command, second.to) == (2, first.command, first.to)
