"""Steps over a list: one step for each item, with a limit on how many at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from es_saga import (
    START,
    Command,
    DefinitionError,
    IllegalOperation,
    Message,
    Refusal,
    Saga,
    quorum,
)
from es_saga.core.decide import react
from es_saga.core.events import StepFannedOut, StepSkipped
from es_saga.core.inputs import Start
from es_saga.core.sensitive import SensitiveFields
from es_saga.core.unfolding import unfolded
from es_saga.replay import Replay, what_if
from es_saga.replay.telling import scene
from es_saga.testing import Bounds, World, explore, given, judge
from es_saga.testing.scenes import Scene
from tests.core.picking import (
    Basket,
    Charge,
    Line,
    Pick,
    Picked,
    PutBack,
    SendParcel,
    order,
    picking,
)

CUP, PAN, LID = (Line(sku=sku) for sku in ("cup", "pan", "lid"))


class SoldOut(Refusal):
    pass


def pick(line: Line) -> Pick:
    return Pick(sku=line.sku, count=line.count)


def picked(*lines: Line) -> Scene:
    told = given(order, Basket(lines=list(lines))).expect(*map(pick, lines))
    for line in lines:
        told = told.on(pick(line)).reply(Picked(shelf=line.sku.upper()))
    return told


def test_each_item_has_a_step_of_its_own_and_not_too_many_at_once() -> None:
    begun = given(picking(), Basket(lines=[CUP, PAN, LID])).expect(pick(CUP), pick(PAN))
    assert begun.state.current == ("pick-1", "pick-2"), "two at once"
    third = begun.on(pick(PAN)).reply(Picked(shelf="P"))
    assert third.state.current == ("pick-1",), "each follows the one two places before it"
    third = third.on(pick(CUP)).reply(Picked(shelf="C", weight=7)).expect(pick(LID))
    paid = third.reply(Picked(shelf="L", weight=0)).expect(Charge(weights=[7, 1, 0])).reply()
    parcels = paid.expect(SendParcel(shelf="C"), SendParcel(shelf="P"))
    done = parcels.on(SendParcel(shelf="P")).reply().on(SendParcel(shelf="C")).reply().completed()
    assert [(e.step, e.count) for e in done.history if isinstance(e, StepFannedOut)] == [
        ("pick", 3),
        ("send", 2),
    ]
    assert not judge(done.story).violations


def test_what_was_done_of_a_list_is_undone_item_by_item() -> None:
    begun = given(picking(), Basket(lines=[CUP, PAN, LID])).expect(pick(CUP), pick(PAN))
    third = begun.on(pick(CUP)).reply(Picked(shelf="C")).expect(pick(LID))
    back = third.on(pick(LID)).refuse(SoldOut()).on(pick(PAN)).reply(Picked(shelf="P"))
    undone = back.expect(PutBack(sku="cup", shelf="C"), PutBack(sku="pan", shelf="P"))
    undone = undone.on(PutBack(sku="pan", shelf="P")).reply()
    undone = undone.on(PutBack(sku="cup", shelf="C")).reply().compensated()
    assert undone.state.failure is not None
    assert undone.state.failure.step == "pick-3"
    assert not judge(undone.story).violations


@pytest.mark.law("L06")
def test_no_more_items_are_undone_at_once_than_were_done_at_once() -> None:
    def shelf(line: Line) -> str:
        return line.sku.upper()

    told = given(picking(at_once=1), Basket(lines=[CUP, PAN, LID]))
    for line in (CUP, PAN, LID):
        told = told.expect(pick(line)).reply(Picked(shelf=shelf(line)))
    told = told.expect(Charge).refuse(SoldOut())
    for line in (LID, PAN, CUP):
        told = told.expect(PutBack(sku=line.sku, shelf=shelf(line))).reply()
    assert not judge(told.compensated().story).violations


def test_an_empty_list_is_skipped() -> None:
    paying = given(picking(), Basket(lines=[])).expect(Charge(weights=[]))
    done = paying.reply().completed()
    assert [(e.step, e.why) for e in done.history if isinstance(e, StepSkipped)] == [
        ("pick", "its list is empty"),
        ("send", "its list is empty"),
    ]
    assert not judge(done.story).violations


def test_a_list_that_is_too_long_parks_the_saga_and_can_be_given_up() -> None:
    stuck = given(picking(most=2), Basket(lines=[CUP, PAN, LID])).stuck()
    assert stuck.state.stuck is not None
    assert "its list has 3 items; most=2" in stuck.state.stuck.why
    assert picking(most=1).definition.steps, "a list of one is a list"
    assert not judge(stuck.cancel().compensated().story).violations


class Bag(Message):
    names: tuple[str, ...]


def bags(names: Callable[[Bag], Sequence[str]]) -> Saga[Bag]:
    """A saga whose first step goes over what this function returns."""
    saga = Saga("bags", Bag)

    @saga.check(each=names, most=3)
    def fill(bag: Bag, name: str) -> Pick:
        return Pick(sku=name, count=1)

    return saga


def test_what_is_no_list_parks_the_saga() -> None:
    """A text would be gone over letter by letter."""
    stuck = given(bags(lambda bag: bag.names[0]), Bag(names=("ab",))).stuck()
    assert stuck.state.stuck is not None
    assert "its list is a str" in stuck.state.stuck.why


def test_a_list_that_is_another_one_the_next_time_parks_the_saga() -> None:
    """As one that is read from elsewhere would be: which item is the second?"""
    times = itertools.count(1)
    impure = bags(lambda bag: ("a",) * next(times)).definition  # a scene would not even play it
    state = react(impure, None, Start("s-1", {"names": []}), 0.0).state
    assert state is not None
    assert state.stuck is not None
    assert "its list has 2 items, and had 1 when it began" in state.stuck.why


def test_what_is_needed_of_a_list_cannot_be_waived() -> None:
    saga = Saga("bags", Bag)

    @saga.pivot
    def pay(bag: Bag) -> Charge:
        return Charge(weights=[])

    @saga.step(each=lambda bag: bag.names, most=3)
    def fill(bag: Bag, name: str) -> Pick:
        return Pick(sku=name, count=1)

    @saga.step
    def weigh(bag: Bag, filled: list[Picked]) -> Charge:
        return Charge(weights=[one.weight for one in filled])

    filling = given(saga, Bag(names=("a",))).expect(Charge).reply()
    stuck = filling.expect(Pick(sku="a", count=1)).refuse(SoldOut()).stuck()
    with pytest.raises(IllegalOperation, match="weigh needs the reply of fill-1"):
        stuck.skip(Pick)


def test_only_the_first_items_wait_for_a_quorum_the_others_for_those_before_them() -> None:
    saga = Saga("picking", Basket)
    for sku in ("a", "b"):
        check = saga.check(after=START)
        check(_looks_for(sku))

    @saga.step(each=lambda b: b.lines, most=3, at_once=1, after=quorum(2, "a", "b"))
    def lift(b: Basket, line: Line) -> Pick:
        return pick(line)

    @lift.compensation
    def put_back(b: Basket, line: Line) -> PutBack:
        return PutBack(sku=line.sku, shelf=None)

    looked = given(saga, Basket(lines=[CUP, PAN])).expect(Look(sku="a"), Look(sku="b"))
    lifting = looked.on(Look(sku="a")).reply().on(Look(sku="b")).reply().expect(pick(CUP))
    both = lifting.reply(Picked(shelf="C")).expect(pick(PAN)).reply(Picked(shelf="P"))
    assert not judge(both.completed().story).violations


class Look(Command[None]):
    to = "warehouse"
    sku: str


def _looks_for(sku: str) -> Callable[[Basket], Look]:
    def look(b: Basket) -> Look:
        return Look(sku=sku)

    look.__name__ = sku
    return look


@pytest.mark.parametrize("lines", [[], [CUP], [CUP, PAN]])
def test_every_schedule_of_it_keeps_the_laws(lines: list[Line]) -> None:
    found = explore(picking(at_once=1), data=Basket(lines=lines), bounds=Bounds(faults=2))
    assert found.counterexample is None, str(found.counterexample)
    assert found.complete


def test_a_simulated_world_keeps_the_laws() -> None:
    ran = World([order], seed=7).run(100)
    assert not ran.findings, str(ran)


def test_it_is_replayed_told_as_a_scene_and_asked_what_if() -> None:
    cup, pan = SendParcel(shelf="CUP"), SendParcel(shelf="PAN")
    done = picked(CUP, PAN).expect(Charge).reply().expect(cup, pan)
    done = done.on(cup).reply().on(pan).reply()
    replay = Replay.of("picking-1", done.completed().history)
    fork = what_if(order.definition, replay, {"pick-2": "refused"})
    assert fork.replay.state.status == "compensated"
    assert fork.replay.state.steps["pick-1"].undo is not None
    assert "reply(Picked(shelf='PAN'" in scene(order.definition, replay).replace('"', "'")


def test_sensitive_fields_of_its_commands_are_hidden() -> None:
    done = picked(CUP).expect(Charge).reply()
    hidden = SensitiveFields(picking().definition.sensitive)
    told = [hidden.event(event) for event in done.history]
    assert told[-1].command["to_whom"] == "***"  # type: ignore[attr-defined]


def test_the_log_says_how_many_and_the_definition_stays_what_it_was() -> None:
    definition, state = picking().definition, picked(CUP, PAN).state
    whole = unfolded(definition, state)
    assert list(whole.steps) == ["pick-1", "pick-2", "charge", "send"]
    assert whole.steps["charge"].after == ("pick-1", "pick-2")
    assert whole.fingerprint == definition.fingerprint
    assert unfolded(definition, state) is whole, "made once"
    assert unfolded(whole, state).steps == whole.steps, "to unfold it again changes nothing"


class Yes(Message):
    pass


def test_what_a_list_cannot_be_is_told_with_all_its_faults() -> None:
    saga = Saga("wrong", Basket)

    def skus(b: Basket) -> list[str]:
        return [line.sku for line in b.lines]

    unbounded: Any = {"each": skus}

    def count(b: Basket, line: Line) -> Pick:
        return Pick(sku=line.sku, count=1)

    saga.check(**unbounded)(count)  # type: ignore[no-untyped-call]

    @saga.check(each=skus, most=1_000, at_once=0, after=START)  # type: ignore[arg-type]
    def weigh(b: Basket, line: Line) -> Pick:
        return Pick(sku=line.sku, count=1)

    @saga.check(each=skus, most=3)  # type: ignore[arg-type]
    def lift(b: Basket) -> Pick:
        return Pick(sku="", count=1)

    saga.sleep("lift-1", timedelta(hours=1), after=quorum(1, "count", "weigh"))
    with pytest.raises(DefinitionError) as caught:
        _ = saga.definition
    told = " ".join(str(caught.value).split())
    for fault in (
        "each= of count is unbounded: say most=, how long its list can be",
        "most= of weigh is 1000: 1 to 200 are possible",
        "at_once= of weigh is 0: it is at least 1",
        "weigh takes Line second, but its list has str",
        "weigh goes over a list, so no quorum can go on without it",
        "lift takes no item: its second parameter is one of the list",
        "lift-1 is what a step for an item of lift will be called",
    ):
        assert fault in told, told
