"""What the log says of each event, and what the state keeps of it: nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from es_saga.core.aggregate import fold
from es_saga.core.decide import decide, react
from es_saga.core.definition import START, Saga
from es_saga.core.errors import IllegalOperation
from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    DeadlineExceeded,
    LateReplyNoted,
    OperatorCancelled,
    SagaEvent,
    SagaStarted,
    SagaStuck,
    StepFailed,
    StepRetried,
    StepStarted,
    StepTimedOut,
)
from es_saga.core.inputs import Reply, Start
from es_saga.core.messages import Command, CommandKey, Direction, Message, Outcome
from es_saga.core.policy import FOR_EVER, OnFailedUndo, Retry
from es_saga.core.state import Origin, SagaStatus, WorkStatus
from tests.core.sagas import ONCE, TWICE, Do, Done, Trip, Undo, add, chain, do, undo, with_pivot
from tests.core.scene import Scene, play


class Stay(Message):
    day: date


class Book(Command[None]):
    to = "desk"
    day: date


DO, UNDO = Direction.DO, Direction.UNDO
JITTERY = Retry(first=timedelta(seconds=0.5), jitter=1.0)


def started(*steps: str) -> Scene:
    """`a` to `d`, of which these have succeeded."""
    scene = play(chain("a", "b", "c", "d"))
    for step in steps:
        scene.succeed(step)
    return scene


def turned() -> Scene:
    """`a` was done, `b` refused; the undo of `a` is under way."""
    scene = play(chain("a", "b", undo_retry=ONCE))
    scene.succeed("a")
    scene.refuse("b")
    return scene


def given_up() -> Scene:
    """`a` stayed unanswered; its undo is under way."""
    scene = play(chain("a", retry=ONCE))
    scene.silence()
    return scene


def stuck_at_undo() -> Scene:
    scene = turned()
    scene.undo_refused("a")
    return scene


def stuck_at_ticket() -> Scene:
    """The step after the pivot was refused."""
    scene = play(with_pivot())
    for step in ("hold", "pay"):
        scene.succeed(step)
    scene.refuse("ticket")
    return scene


# ── causes ───────────────────────────────────────────────────────────────────────────────────────

Act = Callable[[], list[SagaEvent]]


def _undo_answered(scene: Scene, outcome: Outcome = Outcome.SUCCEEDED) -> list[SagaEvent]:
    return scene.reply("a", outcome, "Done", {}, direction=UNDO)


ACTS: dict[str, Callable[[], list[SagaEvent]]] = {
    "a success": lambda: started().succeed("a"),
    "the last success": lambda: started("a", "b", "c").succeed("d"),
    "a refusal": lambda: started("a").refuse("b"),
    "a failure": lambda: started().fail("a"),
    "an undo": lambda: _undo_answered(turned()),
    "a refused undo": lambda: _undo_answered(turned(), Outcome.REFUSED),
    "a failed undo": lambda: _undo_answered(turned(), Outcome.FAILED),
    "a late success": lambda: given_up().succeed("a"),
    "a cancel": lambda: started("a").cancel(),
    "a retried undo": lambda: stuck_at_undo().retry(),
    "a retried step": lambda: stuck_at_ticket().retry(),
    "a skipped undo": lambda: stuck_at_undo().skip("a"),
    "a resolved undo": lambda: stuck_at_undo().resolve("a", direction=UNDO),
    "a resolved step": lambda: stuck_at_ticket().resolve("ticket", reply={"by": "hand"}),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_L43_every_event_names_the_message_that_led_to_it(act: Act) -> None:
    events = act()
    (cause,) = {event.cause for event in events}
    assert cause is not None
    assert cause.startswith("m-")


def test_the_first_events_name_the_message_that_started_the_saga() -> None:
    assert [event.cause for event in started().log] == ["start", "start"]


def test_what_time_led_to_names_no_message() -> None:
    scene = started()
    assert [event.cause for event in scene.wait(30)] == [None]


# ── the beginning ────────────────────────────────────────────────────────────────────────────────

START_OF_ALL = Start("s-1", {"who": "ann"}, key="k", notify="n", trace="t", message_id="m")


def test_what_was_settled_at_the_start_is_kept() -> None:
    definition = chain("a", deadline=timedelta(seconds=60)).definition
    events, state = react(definition, None, START_OF_ALL, 5.0)
    origin = Origin(
        "s-1", "trip", 1, definition.fingerprint, {"who": "ann"}, 5.0, "k", 65.0, "n", "t"
    )
    first = events[0]
    assert isinstance(first, SagaStarted)
    assert (first.key, first.deadline, first.notify, first.trace) == origin[-4:]
    assert state.origin == origin
    alone = fold("s-1", events[:1])
    assert alone is not None
    assert alone.updated == 5.0
    assert fold("s-1", events) == state


def test_a_start_that_comes_again_leaves_the_saga_as_it_is() -> None:
    definition = chain("a").definition
    state = react(definition, None, START_OF_ALL, 5.0).state
    assert react(definition, state, START_OF_ALL, 6.0) == ([], state)


def test_deciding_is_reacting_without_the_state() -> None:
    definition = chain("a").definition
    events, state = react(definition, None, START_OF_ALL, 5.0)
    assert decide(definition, None, START_OF_ALL, 5.0) == events
    reply = Reply(CommandKey("s-1", "a", DO, 1), 1, Outcome.SUCCEEDED, "Done", {"by": "x"}, "m-2")
    assert decide(definition, state, reply, 6.0) == react(definition, state, reply, 6.0).events


def test_what_is_sent_and_kept_is_json() -> None:
    saga = Saga("stay", Stay)

    @saga.pivot
    def book(stay: Stay) -> Book:
        return Book(day=stay.day)

    scene = play(saga, day="2026-01-02")
    assert scene.state.origin.data == {"day": "2026-01-02"}
    assert scene.last(StepStarted).command == {"day": "2026-01-02"}


# ── work ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_saga_was_updated_when_its_last_event_came() -> None:
    scene = play(chain("a", "b", "c", undo_retry=ONCE))
    for act in (
        lambda: scene.succeed("a"),
        lambda: scene.fail("b"),
        lambda: scene.silence(),
        lambda: scene.refuse("b"),
        lambda: scene.undo_refused("a"),
        lambda: scene.retry(),
        lambda: scene.undone("a"),
    ):
        scene.now += 1
        act()
        assert scene.state.updated == scene.log[-1].at == scene.now
    paying = _paying()
    paying.now += 1
    assert [type(event) for event in paying.cancel()] == [OperatorCancelled]
    assert paying.state.updated == paying.now


def test_work_that_is_over_is_due_no_more_and_needs_no_command() -> None:
    scene = stuck_at_undo()
    scene.now += 5
    scene.skip("a")
    waived = scene.step("a").undo
    assert waived is not None
    assert (waived.status, waived.due, waived.sent) == (WorkStatus.SKIPPED, None, None)
    assert waived.ended == scene.now
    scene = turned()
    scene.now += 5
    scene.undone("a")
    done = scene.step("a").undo
    assert done is not None
    assert (done.due, done.sent, done.error, done.ended) == (None, None, None, scene.now)


def test_work_that_was_given_up_is_due_no_more_and_keeps_its_command() -> None:
    scene = play(chain("a", retry=ONCE))
    scene.now += 5
    scene.fail("a")
    work = scene.step("a").do
    assert (work.status, work.due, work.ended) == (WorkStatus.FAILED, None, scene.now)
    assert work.sent is not None


def test_work_that_waits_is_due_when_the_event_says() -> None:
    scene = started()
    scene.fail("a")
    work = scene.step("a").do
    assert (work.status, work.due) == (WorkStatus.BACKOFF, scene.last(StepFailed).retry_at)


def test_work_that_is_asked_for_again_has_not_ended() -> None:
    scene = stuck_at_ticket()
    assert scene.step("ticket").do.ended == scene.now
    scene.retry()
    assert scene.step("ticket").do.ended is None
    assert scene.last(StepRetried).due == scene.now + 30


def test_a_saga_whose_undo_is_tried_again_is_compensating() -> None:
    scene = stuck_at_undo()
    scene.retry()
    assert scene.status is SagaStatus.COMPENSATING


def test_L32_an_answer_to_another_step_does_not_free_what_is_stuck() -> None:
    saga = Saga("trip", Trip)
    pay = saga.pivot(do("pay"))
    for name in ("ticket", "mail"):
        saga.step(after=pay)(do(name))
    scene = play(saga)
    scene.succeed("pay")
    scene.refuse("ticket")
    scene.succeed("mail")
    assert scene.state.stuck is not None
    assert scene.state.stuck.step == "ticket"
    assert scene.names.count("SagaStuck") == 1


def test_what_is_owed_is_not_forgotten_over_a_late_answer() -> None:
    saga = Saga("trip", Trip, on_failed_undo=OnFailedUndo.REPORT)
    add(saga, "a", retry=ONCE, undo_retry=ONCE)
    scene = play(saga)
    scene.silence()
    scene.undo_refused("a")
    owed = scene.state.exceptions
    assert [one.step for one in owed] == ["a"]
    scene.succeed("a")
    assert scene.last(LateReplyNoted).data == {"by": "a-desk"}
    assert scene.state.exceptions == owed


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
        (lambda: _paying(), "noted: the pivot has begun"),
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


def _paying() -> Scene:
    scene = play(with_pivot(deadline=timedelta(seconds=60)))
    scene.succeed("hold")
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
