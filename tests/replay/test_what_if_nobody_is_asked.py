"""What if: forks of sagas that wait, sleep, go on from a save-point, or that another one runs."""

from __future__ import annotations

from typing import Any

import pytest

from domain.procurement import procurement
from domain.together import journey
from domain.together.contracts import BookJourney
from domain.travel import getaway
from domain.travel.contracts import BookFlight, BookRoom, FlightBooked, RoomBooked
from es_saga import InvalidInput, Saga
from es_saga.core.decide import react
from es_saga.core.events import (
    ParentDecided,
    SagaEvent,
    SagaHeld,
    SignalReceived,
    StepStarted,
    StepSucceeded,
    StepTimedOut,
)
from es_saga.core.inputs import FromParent, Start
from es_saga.core.state import SagaStatus
from es_saga.replay import Fork, Replay, diverges, what_if
from es_saga.testing import Fault, FaultPlan, Kind, Scene, Story, World, given, judge
from es_saga.testing.belonging import RUN, parent_of
from tests.core.sagas import Do, Done, Trip, chain, do
from tests.replay.papers import Paper, beside, optional, posted
from tests.replay.recorded import of, recorded
from tests.replay.test_families import families

DONE = Done(by="desk")
INPUT = BookJourney(trip_id="7", flight="BA117", hotel="Savoy")
SEAT, ROOM = FlightBooked(ticket="t"), RoomBooked(voucher="v")


def fork(saga: Saga[Any], history: str | Scene | Replay, **answers: Any) -> Fork:
    """What it would have come to; `_` in the name of a step is its dot."""
    if isinstance(history, str):
        replay = recorded(history)
    else:
        replay = of(history) if isinstance(history, Scene) else history
    told = {step.replace("_", "."): answer for step, answer in answers.items()}
    found = what_if(saga.definition, replay, told)
    assert diverges(saga.definition, found.replay) is None
    assert not judge(Story(saga.definition, replay.saga_id, found.replay.events)).violations
    return found


def at(found: Fork | Replay, kind: type[SagaEvent]) -> float:
    """When the only such event was."""
    events = found.replay.events if isinstance(found, Fork) else found.events
    (when,) = (event.at for event in events if isinstance(event, kind))
    return when


# ── sleeps and save-points: nobody answers them ──────────────────────────────────────────────────


@pytest.mark.parametrize("answer", ["timeout", "fail", "NoRoom", "{}", {}, {"number": 2}])
@pytest.mark.parametrize(
    ("saga", "name", "step"),
    [(procurement, "procurement/approved", "due"), (getaway, "getaway/on_another_way", "landed")],
)
def test_nobody_answers_a_sleep_or_a_save_point(
    saga: Saga[Any], name: str, step: str, answer: Any
) -> None:
    assert fork(saga, name, **{step: "done"})[1:] == (None, ()), "it is over in its time"
    with pytest.raises(InvalidInput, match=f"{step} asks nobody and waits for nothing but its"):
        fork(saga, name, **{step: answer})


def test_a_sleep_that_was_not_come_to_is_told_of() -> None:
    found = fork(procurement, "procurement/approved", order="Unwanted", due="done")
    assert "due was not begun, so its answer was not needed" in found.notes


# ── waits ────────────────────────────────────────────────────────────────────────────────────────

ASKED = given(posted, Trip()).expect(Do)
PAID = ASKED.reply(DONE).expect(Do).reply(DONE)
RETRIED = PAID.wait(61).stuck().retry()


def test_what_came_before_it_was_waited_for_comes_when_it_came() -> None:
    same = fork(procurement, "procurement/approved_at_once", approval={"by": "ada"})
    assert same.version is None
    assert same.replay.events == recorded("procurement/approved_at_once").events
    other = fork(procurement, "procurement/approved_at_once", approval={"by": "eve"})
    assert other.version == 3
    assert at(other, SignalReceived) == at(recorded("procurement/approved_at_once"), SignalReceived)
    (order,) = (e for e in other.replay.events if isinstance(e, StepStarted) and e.step == "order")
    assert order.command["approved_by"] == "eve"


@pytest.mark.parametrize("name", ["approved", "approved_at_once"])
def test_what_does_not_come_is_waited_for_as_long_as_it_may(name: str) -> None:
    found = fork(procurement, f"procurement/{name}", approval="timeout")
    assert found.replay.state.status is SagaStatus.COMPENSATED
    assert [e.step for e in found.replay.events if isinstance(e, StepTimedOut)] == ["approval"]
    assert found.notes == ("made up: the undo of earmark is done",)


@pytest.mark.parametrize("late", [PAID.wait(61), RETRIED.wait(1)], ids=["stuck", "retried"])
def test_what_came_too_late_is_told_to_come_in_time(late: Scene) -> None:
    """And comes once only, though it is on record for later."""
    history = late.signal(Paper(page=2)).expect(Do).reply(DONE).completed()
    found = fork(posted, history, paper={"page": 2})
    assert found.replay.state.status is SagaStatus.COMPLETED
    assert not any(isinstance(event, StepTimedOut) for event in found.replay.events)
    assert at(found, SignalReceived) < at(of(history), SignalReceived)


def test_an_attempt_to_wait_is_like_any_other_attempt() -> None:
    """What the first one waited for in vain does not come to it; to the second it is made up."""
    open_ = fork(posted, RETRIED)
    comes = "made up: Paper comes; paper=timeout: what if it does not"
    assert open_.notes == (comes, "made up: mail is done")
    assert open_.version == len(RETRIED.history) + 1
    assert open_.replay.state.status is SagaStatus.COMPLETED
    came = RETRIED.signal(Paper(page=2)).expect(Do).reply(DONE).completed()
    for history in (came, RETRIED):
        again = fork(posted, history, hold={"by": "desk"})
        assert again.replay.events[: len(RETRIED.history)] == RETRIED.history
        assert "made up: paper is done" not in again.notes


def test_a_wait_that_nobody_waited_for_any_more_may_have_been_over() -> None:
    """The step beside it was refused; what it waits for would have come before."""
    refused = given(beside, Trip()).expect(Do).wait(9).on(Do).fail("Terminal", retry_after=-1)
    history = refused.compensated()
    found = fork(beside, history, paper="done")
    assert found.version == 4
    assert at(found, SignalReceived) < refused.now
    assert found.notes == ()


def test_what_it_went_on_without_may_have_come() -> None:
    lapsed = given(optional, Trip()).wait(60).expect(Do).reply(DONE).completed()
    found = fork(optional, lapsed, paper={"page": 3})
    assert found.version == 3
    assert found.replay.state.signals == {"Paper": {"page": 3}}


def test_what_was_skipped_was_not_begun() -> None:
    found = fork(procurement, "procurement/paid_when_due", approval="done")
    assert found.version is None
    assert found.notes == ("approval was not begun, so its answer was not needed",)


# ── ways from a save-point ───────────────────────────────────────────────────────────────────────


def test_what_is_answered_on_another_way_can_be_said_before_it_is_taken() -> None:
    first = fork(getaway, "getaway/on_another_way", pay="done").replay
    assert first.state.ways == ()
    on = fork(getaway, first, pay="WalletEmpty")
    assert on.replay.state.status is SagaStatus.COMPLETED
    assert "made up: room.2 is done" in on.notes
    back = fork(getaway, first, pay="WalletEmpty", room_2="NoRoom")
    assert back.replay.state.status is SagaStatus.COMPENSATED
    assert list(back.replay.state.past) == ["room", "pay"]
    with pytest.raises(InvalidInput, match=r"no step 'room.3': flight, landed, room, pay"):
        fork(getaway, first, room_3="NoRoom")
    with pytest.raises(InvalidInput, match=r"no step 'flight.2'"):
        fork(getaway, first, flight_2="NoSeat")


# ── sagas that others run ────────────────────────────────────────────────────────────────────────


def test_a_parent_lets_it_complete_as_long_after_it_was_held() -> None:
    was = given(journey, INPUT, child=True).expect(BookFlight).reply(SEAT)
    closed = was.expect(BookRoom).reply(ROOM).held().wait(1).parent_closes().completed()
    found = fork(journey, closed, room="timeout*1")
    assert at(found, SagaHeld) > at(of(closed), ParentDecided)
    assert at(found, ParentDecided) == at(found, SagaHeld) + 1
    assert found.notes == ()
    again = fork(journey, closed, flight={"ticket": "t"})
    assert again.replay.events == of(closed).events


def test_a_parent_that_had_nothing_to_decide_lets_it_complete() -> None:
    found = fork(journey, "journey/refused", room="done")
    assert found.replay.state.status is SagaStatus.COMPLETED
    assert "made up: its parent has it closed" in found.notes
    decided = next(event for event in found.replay.events if isinstance(event, ParentDecided))
    assert decided.command_id == "parent-1/close_run/do"


def test_a_parent_that_had_it_undone_does_so_again() -> None:
    found = fork(journey, "journey/undone_on_its_way", flight={"ticket": "another"})
    assert found.replay.state.status is SagaStatus.COMPENSATED
    held = fork(journey, "journey/held_and_undone", room={"voucher": "another"})
    assert held.replay.state.status is SagaStatus.COMPENSATED
    assert at(held, ParentDecided) == at(recorded("journey/held_and_undone"), ParentDecided)
    assert not any("its parent" in note for note in (*found.notes, *held.notes))


def test_a_child_that_was_undone_before_it_began_is_so_by_new_code_too() -> None:
    was, now = chain("a").definition, chain("a", "b")
    begin = Start("trip-1", {"who": "ann"}, message_id="m", parent=parent_of(was))
    undone = react(was, None, FromParent(begin, "undo", RUN), 0.0).events
    found = fork(now, Replay.of("trip-1", undone))
    assert found.version == 1, "its shape is another"
    assert found.replay.state.status is SagaStatus.COMPENSATED
    assert len(found.replay) == len(undone)


def test_a_child_that_is_tried_again_answers_as_it_did_and_not_as_the_first_one_did() -> None:
    """Another child, which names the first attempt: so it is no answer to that of the other."""
    saga = Saga("parent", Trip)
    saga.pivot(do("a"))
    saga.saga(chain("x"))(do_run)
    faults = (
        Fault(Kind.REFUSED, "parent-1--do_run/x/do/1"),
        Fault(Kind.RETRIED, "parent-1#stuck", 1.0),
    )
    story = World([saga], faults=FaultPlan(faults)).run().stories[0]
    replay = Replay.of(story.saga_id, story.history)
    assert replay.state.steps["do_run"].do.round == 2
    (answer,) = (e.reply for e in replay.events if isinstance(e, StepSucceeded) and e.step == "a")
    assert fork(saga, replay, a=answer)[1:] == (None, ())


def do_run(trip: Trip) -> Trip:
    return trip


def test_every_fork_of_a_family_is_a_history_that_today_decides() -> None:
    forked = 0
    for story in families(range(4)):
        replay = Replay.of(story.saga_id, story.history)
        if [*replay.events] != sorted(replay.events, key=lambda event: event.at):
            continue
        same = what_if(story.definition, replay, {})
        assert replay.state.closed is None or same.replay.events == replay.events
        for step in story.definition.steps.keys() & replay.state.steps.keys():
            for answer in ("Unwanted", "timeout*2", "done"):
                found = what_if(story.definition, replay, {step: answer})
                assert diverges(story.definition, found.replay) is None
                after = Story(story.definition, story.saga_id, found.replay.events)
                assert not judge(after).violations
                assert not found.replay.state.held, "its parent decides"
                forked += found.version is not None
    assert forked > 20
