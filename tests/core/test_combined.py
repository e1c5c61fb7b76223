"""What a definition can say, said together: children, quorums, conditions, save-points, waits.

Random sagas that combine them found what went wrong here.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from es_saga import START, ChildSaga, OnFailedUndo, Refusal, Saga, SagaStatus, of, quorum
from es_saga.core.messages import Message
from es_saga.core.nested import command_of
from es_saga.testing import Bounds, Fault, FaultPlan, Kind, Story, World, explore, given, judge
from tests.core.sagas import ONCE, Do, Done, Trip, Undo, add, chain, do
from tests.testing.told import did

CHILD = chain("x")
BEGIN, CLOSE = command_of("begin", CHILD), command_of("close", CHILD)
HELD = ChildSaga(saga_id="trip-1--run")
DONE = Done(by="desk")


class No(Refusal):
    pass


class Paper(Message):
    page: int = 1


def run(trip: Trip) -> Trip:
    return trip


def beside(trip: Trip) -> Trip:
    return trip


@pytest.mark.law("L59", "L71")
def test_a_child_is_closed_when_all_else_is_done_even_if_it_came_after_a_quorum() -> None:
    """Its closing once needed the same quorum, and turned the saga back when others had closed."""
    saga = Saga("parent", Trip)
    first = saga.saga(CHILD, after=START)(run)
    saga.saga(CHILD, after=quorum(1, first), when=lambda trip: trip.who == "bob")(beside)
    closing = given(saga, Trip()).expect(BEGIN).reply(HELD).expect(CLOSE)
    assert not judge(closing.reply().completed().story).violations


@pytest.mark.law("L71")
def test_a_child_that_refused_one_way_is_not_missed_when_that_of_another_is_closed() -> None:
    saga = Saga("parent", Trip)
    saga.save_point("here", ways=2)
    saga.saga(CHILD)(run)
    second = given(saga, Trip()).expect(BEGIN).refuse(No()).expect(BEGIN)
    assert not judge(second.reply(HELD).expect(CLOSE).reply().completed().story).violations


@pytest.mark.law("L71")
def test_a_child_that_one_way_never_came_to_is_not_missed_either() -> None:
    saga = Saga("parent", Trip)
    saga.save_point("here", ways=2)
    saga.check(do("look"))
    saga.saga(CHILD)(run)
    second = given(saga, Trip()).expect(Do).refuse(No()).expect(Do).reply(DONE).expect(BEGIN)
    assert not judge(second.reply(HELD).expect(CLOSE).reply().completed().story).violations


@pytest.mark.law("L71")
def test_a_child_that_is_not_wanted_is_not_missed_when_another_is_closed() -> None:
    saga = Saga("parent", Trip)
    saga.saga(CHILD, after=START)(run)
    saga.saga(CHILD, after=START, when=lambda trip: trip.who == "bob")(beside)
    closing = given(saga, Trip()).expect(BEGIN).reply(HELD).expect(CLOSE)
    assert not judge(closing.reply().completed().story).violations


@pytest.mark.law("L60")
def test_a_way_back_that_fails_after_a_child_was_cancelled_is_nobodys_wish() -> None:
    """To the save-point for the child, and from there altogether for an undo."""
    saga = Saga("parent", Trip, on_failed_undo=OnFailedUndo.REPORT)
    here = saga.save_point("here", ways=2)
    saga.saga(CHILD, after=here)(run)
    add(saga, "a", after=("here",), undo_retry=ONCE)
    faults = (
        Fault(Kind.CANCELLED, "parent-1--run#2"),
        Fault(Kind.LOST, "parent-1--run/x/do/1"),
        Fault(Kind.FAILED, "parent-1/a/undo/1"),
    )
    outcome = World([saga], faults=FaultPlan(faults)).run()
    assert outcome.states["parent-1"].status is SagaStatus.COMPENSATED_WITH_EXCEPTIONS
    assert not outcome.findings, outcome


@pytest.mark.law("L16")
def test_from_the_earlier_save_point_the_later_one_is_come_to_again() -> None:
    saga = Saga("trip", Trip)
    saga.save_point("one", ways=2)
    add(saga, "a")
    saga.save_point("two", ways=2)
    saga.check(do("b"))
    scene = given(saga, Trip()).expect(Do).reply(DONE)
    for _ in range(2):
        scene = scene.expect(Do).refuse(No())
    again = scene.expect(Undo).reply().expect(Do).reply(DONE).expect(Do).reply(DONE).completed()
    assert not judge(again.story).violations


@pytest.mark.law("L16")
def test_a_quorum_that_is_out_of_reach_on_one_way_leads_to_the_next() -> None:
    saga = Saga("trip", Trip)
    here = saga.save_point("here", ways=2)
    pause, only = timedelta(seconds=1), here.way(2)
    members = [saga.sleep(name, pause, after=here, when=only) for name in ("m", "n")]
    saga.check(after=quorum(1, *members))(do("a"))
    resumed = given(saga, Trip()).wait(1)
    assert resumed.state.steps["here"].do.reply == {
        "number": 2,
        "failed": "a",
        "why": "a needs 1 of m, n",
    }
    assert not judge(resumed.expect(Do).reply(DONE).completed().story).violations


@pytest.mark.law("L16")
def test_who_goes_on_from_a_save_point_does_nothing_again_that_came_before_it() -> None:
    """Until that one is given up itself."""
    story = given(_once(), Trip()).expect(Do).reply(DONE).expect(Do).refuse(No()).expect(Do)
    history = story.history
    twice = [*history, next(event for event in history if getattr(event, "step", None) == "a")]
    found = judge(Story(_once().definition, story.state.saga_id, twice)).violations
    assert "L16" in {violation.law for violation in found}


def _once() -> Saga[Trip]:
    saga = Saga("trip", Trip)
    add(saga, "a")
    saga.save_point("two", ways=2)
    saga.check(do("b"))
    return saga


def test_an_undo_after_a_save_point_may_take_the_reply_of_a_step_after_it() -> None:
    """And is explored: on every way it takes that of the step on its own way."""
    saga = Saga("trip", Trip)
    saga.save_point("here", ways=2)
    first = add(saga, "a")
    second = saga.step(do("b"))

    @second.compensation
    def back(trip: Trip, done: Done | None, before: Done = of(first)) -> Undo:
        return Undo(step="b", by=before.by)

    found = explore(saga, bounds=Bounds(faults=1))
    assert found, str(found)
    assert found.complete


@pytest.mark.law("L01")
def test_what_a_quorum_went_on_without_may_take_effect_after_what_follows() -> None:
    saga = Saga("trip", Trip)
    members = [add(saga, name, after=()) for name in ("a", "b")]
    saga.save_point("enough", ways=2, after=quorum(1, *members))
    add(saga, "c")
    asked = given(saga, Trip()).expect(Do(step="a", who="ann"), Do(step="b", who="ann"))
    went = asked.on(Do(step="a", who="ann")).reply(DONE).expect(Do(step="c", who="ann"))
    over = went.reply(DONE).on(Do(step="b", who="ann")).reply(DONE).completed()
    effects = [did(name)._replace(saga_id=over.state.saga_id) for name in ("a", "c", "b")]
    assert not judge(over.story._replace(effects=effects)).violations
    effects = [did(name)._replace(saga_id=over.state.saga_id) for name in ("c", "b", "a")]
    chained = chain("b", "c", "a").definition
    found = judge(over.story._replace(definition=chained, effects=effects)).violations
    assert "c took effect before b, on which it depends" in {one.why for one in found}


@pytest.mark.law("L27")
def test_what_comes_from_outside_is_for_the_way_that_waits_for_it() -> None:
    saga = Saga("trip", Trip)
    here = saga.save_point("here", ways=2)
    saga.check(after=here)(do("b"))
    saga.wait(Paper, timeout=timedelta(seconds=3), after=here)
    outcome = World([saga], faults=FaultPlan((Fault(Kind.REFUSED, "trip-1/b/do/1"),))).run()
    assert outcome.states["trip-1"].steps["paper.2"].do.reply == {"page": 1}
    assert not outcome.findings, outcome


def test_two_operators_who_help_at_once_do_not_do_it_twice() -> None:
    """In a simulated world: who finds that another one has just had it tried again leaves it."""
    saga = Saga("trip", Trip)
    saga.pivot(do("a"))
    saga.step(after="a")(do("b"))
    saga.step(after="a")(do("c"))
    stuck = [Fault(kind, "trip-1#stuck", 1.0) for kind in (Kind.RETRIED, Kind.RESOLVED)]
    for seed in (9, 13, 26):  # their messages cross
        plan = FaultPlan((Fault(Kind.REFUSED, "trip-1/b/do/1"), *stuck), seed=seed)
        outcome = World([saga], faults=plan).run()
        assert not outcome.findings, outcome
