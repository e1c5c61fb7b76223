"""What the log says of each event, and what the state keeps of it: nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from es_saga.core.aggregate import fold
from es_saga.core.decide import decide, react
from es_saga.core.definition import Saga
from es_saga.core.events import (
    LateReplyNoted,
    OperatorCancelled,
    SagaEvent,
    SagaStarted,
    StepFailed,
    StepRetried,
    StepStarted,
)
from es_saga.core.inputs import Reply, Start
from es_saga.core.messages import Command, CommandKey, Direction, Message, Outcome
from es_saga.core.policy import OnFailedUndo
from es_saga.core.state import Origin, SagaStatus, WorkStatus
from tests.core.moments import given_up, paying, started, stuck_at_ticket, stuck_at_undo, turned
from tests.core.sagas import ONCE, Trip, add, chain, do
from tests.core.scene import Scene, play


class Stay(Message):
    day: date


class Book(Command[None]):
    to = "desk"
    day: date


DO, UNDO = Direction.DO, Direction.UNDO


# ── causes ───────────────────────────────────────────────────────────────────────────────────────

Act = Callable[[], list[SagaEvent]]


def _undo_answered(scene: Scene, outcome: Outcome = Outcome.SUCCEEDED) -> list[SagaEvent]:
    return scene.reply("a", outcome, "Done", {}, direction=UNDO)


def _failed(step: str) -> Scene:
    scene = started("a")
    scene.fail(step)
    return scene


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
    "an operator's undo": lambda: started("a").compensate(),
    "a resent step": lambda: started("a").resend(),
    "a resent undo": lambda: turned().resend(),
    "a resumed step": lambda: _failed("b").resume(),
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
    assert (first.key, first.deadline, first.notify, first.trace) == origin[-5:-1]
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
    late = paying()
    late.now += 1
    assert [type(event) for event in late.cancel()] == [OperatorCancelled]
    assert late.state.updated == late.now


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
