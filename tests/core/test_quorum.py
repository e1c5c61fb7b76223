"""Joins that need some of their predecessors only: k of n, and what came by the deadline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from es_saga import START, Command, DefinitionError, Message, Refusal, Saga, gather, of, quorum
from es_saga.core.after import Quorum
from es_saga.core.events import StepSkipped
from es_saga.core.state import WorkStatus
from es_saga.testing import Bounds, explore, given, judge
from tests.core.auction import Asked, AskHauler, Award, Bid, Load, ThankHauler, auction

pytestmark = pytest.mark.requirement("R003")

ANN, BOB, CID = (AskHauler(name=name) for name in ("ann", "bob", "cid"))


class Full(Refusal):
    pass


def two_of_them(*asked: Asked) -> Quorum:
    return quorum(2, *asked)


def all_that_come(*asked: Asked) -> Quorum:
    return gather(*asked)


def two_that_come(*asked: Asked) -> Quorum:
    return gather(*asked, least=2)


def test_a_quorum_goes_on_as_soon_as_enough_have_succeeded() -> None:
    asked = given(auction(two_of_them), Load()).expect(ANN, BOB, CID)
    two = asked.on(ANN).reply(Bid(pence=7)).on(CID).reply(Bid(pence=5))
    awarded = two.expect(Award(bids=(7, 5))).reply()
    assert awarded.state.current == ("bob",), "the last one is still asked"
    done = awarded.on(BOB).reply(Bid(pence=9)).completed()
    assert not judge(done.story).violations


def test_what_a_quorum_does_not_need_may_say_no() -> None:
    asked = given(auction(two_of_them), Load()).expect(ANN, BOB, CID)
    refused = asked.on(ANN).refuse(Full())
    assert refused.state.steps["ann"].do.status is WorkStatus.SKIPPED
    assert refused.state.failure is None, "nothing is wrong with it"
    done = refused.on(BOB).reply(Bid()).on(CID).reply(Bid()).expect(Award(bids=(100, 100)))
    assert not judge(done.reply().completed().story).violations


def test_a_quorum_that_is_out_of_reach_turns_the_saga_back() -> None:
    asked = given(auction(two_of_them), Load()).expect(ANN, BOB, CID)
    back = asked.on(ANN).refuse(Full()).on(BOB).refuse(Full()).on(CID).reply(Bid())
    assert back.state.failure is not None
    assert back.state.failure.step == "bob", "the one that put it out of reach"
    done = back.expect(ThankHauler(name="cid")).reply().compensated()
    assert not judge(done.story).violations


def test_what_is_still_under_way_is_undone_with_the_others() -> None:
    asked = given(auction(two_of_them), Load()).expect(ANN, BOB, CID)
    awarding = asked.on(ANN).reply(Bid()).on(BOB).reply(Bid()).expect(Award)
    back = awarding.on(Award).refuse(Full()).on(CID).reply(Bid())
    thanked = back.expect(*(ThankHauler(name=name) for name in ("ann", "bob", "cid")))
    for name in ("ann", "bob", "cid"):
        thanked = thanked.on(ThankHauler(name=name)).reply()
    assert not judge(thanked.compensated().story).violations


def test_no_answer_is_no_no_where_something_may_have_been_done() -> None:
    asked = given(auction(two_of_them), Load()).expect(ANN, BOB, CID)
    late = asked.on(ANN).reply(Bid()).on(BOB).reply(Bid()).expect(Award).reply().wait(10)
    back = late.expect(*(ThankHauler(name=name) for name in ("ann", "bob", "cid")))
    assert back.state.failure is not None
    assert back.state.failure.step == "cid"


def test_the_pivot_waits_for_what_could_turn_the_saga_back() -> None:
    saga = auction(two_of_them, pivot=True)
    asked = given(saga, Load()).expect(ANN, BOB, CID)
    two = asked.on(ANN).reply(Bid()).on(BOB).reply(Bid())
    assert two.state.current == ("cid",)
    two.on(CID).refuse(Full()).expect(Award(bids=(100, 100)))


def test_a_gathering_takes_what_came_by_the_deadline() -> None:
    saga = auction(all_that_come, reads_only=True)
    asked = given(saga, Load()).expect(ANN, BOB, CID)
    some = asked.on(BOB).reply(Bid(pence=3)).on(CID).refuse(Full())
    assert some.state.current == ("ann",), "it has its time"
    done = some.wait(10).expect(Award(bids=(3,))).reply().completed()
    skipped = [event for event in done.history if isinstance(event, StepSkipped)]
    assert [(one.step, one.why) for one in skipped] == [
        ("cid", "it goes on without: Full"),
        ("ann", "it goes on without: timed out"),
    ]
    assert not judge(done.story).violations


def test_a_gathering_of_too_little_turns_the_saga_back() -> None:
    saga = auction(two_that_come, reads_only=True)
    asked = given(saga, Load()).expect(ANN, BOB, CID)
    asked.on(BOB).reply(Bid()).wait(10).compensated()


class Yes(Message):
    pass


class Go(Message):
    pass


def test_members_that_are_skipped_are_not_counted() -> None:
    saga = Saga("votes", Go)
    first = saga.sleep("first", timedelta(seconds=1), when=lambda _go: False)
    second = saga.sleep("second", timedelta(seconds=1), after=START)
    saga.sleep("third", timedelta(seconds=1), after=quorum(2, first, second))
    back = given(saga, Go()).compensated()
    assert back.state.failure is not None
    assert back.state.failure.why == "third needs 2 of first, second"


def test_a_quorum_is_given_nothing_of_what_only_a_missing_member_comes_after() -> None:
    saga = Saga("auction", Load)

    @saga.check
    def rate(load: Load) -> AskHauler:
        return AskHauler(name="rate")

    @saga.check(each=lambda load: ["x", "y"], most=2, at_once=1)
    def weigh(load: Load, item: str) -> AskHauler:
        return AskHauler(name=item)

    @saga.check
    def ann(load: Load) -> AskHauler:
        return AskHauler(name="ann")

    @saga.check(after=START)
    def bob(load: Load) -> AskHauler:
        return AskHauler(name="bob")

    @saga.check(after=quorum(1, ann, bob))
    def award(
        load: Load,
        rated: Bid | None = of(rate),
        weighed: list[Bid] | None = of(weigh),
        a: Bid | None = of(ann),
        b: Bid | None = of(bob),
    ) -> Award:
        assert weighed != [], "its list has two"
        bids = (rated, *(weighed or ()), a, b)
        return Award(bids=tuple(bid.pence for bid in bids if bid))

    x, y = AskHauler(name="x"), AskHauler(name="y")
    asked = given(saga, Load()).expect(AskHauler(name="rate"), BOB)
    asked.on(BOB).reply(Bid(pence=3)).expect(Award(bids=(3,)))
    rated = asked.on(AskHauler(name="rate")).reply(Bid(pence=1)).expect(x)
    one = rated.on(x).reply(Bid(pence=2)).expect(y)
    for weighing in (rated, one):
        weighing.on(BOB).reply(Bid(pence=3)).expect(Award(bids=(1, 3)))
    both = one.on(y).reply(Bid(pence=2)).expect(ANN)
    both.on(BOB).reply(Bid(pence=3)).expect(Award(bids=(1, 2, 2, 3)))


def test_what_may_not_be_done_when_a_quorum_is_reached_is_told() -> None:
    """Two of three come after it: so of any two one does, at least. A gathering waits for all."""

    def saga(join: Callable[..., Quorum]) -> Saga[Load]:
        saga = Saga("auction", Load)

        @saga.check
        def rate(load: Load) -> AskHauler:
            return AskHauler(name="rate")

        def award(load: Load, rated: Bid = of(rate)) -> Award:
            return Award(bids=(rated.pence,))

        hour = timedelta(hours=1)
        two = [saga.sleep(name, hour, after=rate) for name in ("one", "two")]
        saga.check(after=join(*two, saga.sleep("three", hour, after=START)))(award)
        return saga

    assert saga(gather).definition.steps["award"].binds
    assert saga(partial(quorum, 2)).definition.steps["award"].binds
    with pytest.raises(DefinitionError) as caught:
        _ = saga(partial(quorum, 1)).definition
    fault = "award(rated: Bid): rate may not be done by then: take Bid | None"
    assert caught.value.faults == (fault,)


def test_so_is_what_is_missing_at_a_step_that_is_written_before_the_quorum() -> None:
    saga, hour = Saga("auction", Load), timedelta(hours=1)

    @saga.check
    def rate(load: Load) -> AskHauler:
        return AskHauler(name="rate")

    @saga.check(after="enough")
    def award(load: Load, rated: Bid = of(rate)) -> Award:
        return Award(bids=(rated.pence,))

    two = saga.sleep("one", hour, after=rate), saga.sleep("two", hour, after=START)
    saga.sleep("enough", hour, after=quorum(1, *two))
    with pytest.raises(DefinitionError, match="rate may not be done by then"):
        _ = saga.definition


@pytest.mark.parametrize("pivot", [False, True])
def test_every_schedule_of_it_keeps_the_laws(pivot: bool) -> None:
    for join in (two_of_them, all_that_come, two_that_come):
        found = explore(auction(join, pivot=pivot), data=Load(), bounds=Bounds(faults=2))
        assert found.counterexample is None, str(found.counterexample)
        assert found.complete


class Draw(Command[None]):
    to = "well"


class PourBack(Command[None]):
    to = "well"


def _draw(go: Go) -> Draw:
    return Draw()


def _draw_more(go: Go) -> Draw:
    return Draw()


def _draw_last(go: Go) -> Draw:
    return Draw()


def _pour_back(go: Go) -> PourBack:
    return PourBack()


@pytest.mark.law("L01")
def test_what_a_quorum_goes_on_without_may_be_done_later() -> None:
    saga = Saga("well", Go)
    one, other = (saga.step(after=START)(draw) for draw in (_draw, _draw_more))
    last = saga.step(after=quorum(1, one, other))(_draw_last)
    for step in (one, other, last):
        step.compensation(_pour_back)
    found = explore(saga, bounds=Bounds(faults=1))
    assert found.counterexample is None, str(found.counterexample)
    assert found.complete


def test_what_a_quorum_cannot_be_is_told_with_all_its_faults() -> None:
    saga = Saga("wrong", Go)
    hour = timedelta(hours=1)
    one = saga.wait(Yes, timeout=hour)
    many = saga.sleep("many", hour, after=quorum(2, one))
    saga.sleep("other", hour, after=one)

    @saga.pivot(after=(many, "other"))
    def pay(go: Go, yes: Yes) -> Award:
        return Award(bids=())

    saga.sleep("late", hour, after=gather(pay))
    with pytest.raises(DefinitionError) as caught:
        _ = saga.definition
    told = " ".join(str(caught.value).split())
    for fault in (
        "many needs 2 of 1 steps: 1 to all are possible",
        "many may go on without yes, but other comes after it",
        "pay(yes: Yes): yes may be skipped: take Yes | None",
        "late needs a quorum only, after the pivot pay",
    ):
        assert fault in told, told
