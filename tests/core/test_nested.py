"""A saga that runs another: what the parent is, and every ending of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example as explicitly
from hypothesis import given as over
from hypothesis import strategies as st

from es_saga import START, Saga, quorum
from es_saga.core.compiled import Definition, StepKind
from es_saga.core.decide import react
from es_saga.core.events import CompensationStarted, Parent, StepSkipped
from es_saga.core.inputs import Reply
from es_saga.core.messages import (
    Command,
    CommandKey,
    Direction,
    Outcome,
    command_id,
    parse_command_id,
)
from es_saga.core.nested import child_id, child_prefix, command_of, order_of
from es_saga.core.policy import FOR_EVER, NESTED_TIMEOUT
from es_saga.core.state import WorkStatus
from es_saga.core.unfolding import unfolded
from es_saga.testing import Bounds, explore, given, judge
from tests.core.family import (
    SHIPPED,
    TEA,
    BeginShip,
    Charge,
    CloseShip,
    No,
    PlaceOrder,
    Release,
    Reserve,
    Ship,
    Thank,
    UndoShip,
    order,
    ship,
    shipping,
)


def test_a_step_that_runs_a_saga_is_undone_and_closed_by_what_follows_from_it() -> None:
    steps = order.definition.steps
    assert [(one.name, one.kind, one.after) for one in steps.values()] == [
        ("reserve", StepKind.COMPENSATABLE, ()),
        ("ship", StepKind.COMPENSATABLE, ("reserve",)),
        ("charge", StepKind.PIVOT, ("ship",)),
        ("close_ship", StepKind.RETRIABLE, ("charge",)),
    ]
    run, close = steps["ship"], steps["close_ship"]
    assert run.undo is not None
    assert (run.command, run.undo.command, close.command) == (BeginShip, UndoShip, CloseShip)
    assert (run.timeout, run.retry) == (NESTED_TIMEOUT.total_seconds(), FOR_EVER)
    assert close.ancestors == {"reserve", "ship", "charge"}
    assert (close.confirms, close.child, run.child) == ("ship", None, shipping.definition)
    assert (close.retry, close.undo) == (FOR_EVER, None)
    assert run.doc == "Have it sent."
    assert ship(TEA).input == Ship(sku="tea")


def test_what_a_parent_sends_is_named_after_the_childs_input() -> None:
    assert BeginShip.__name__ == "BeginShip"
    assert (BeginShip.to, UndoShip.to, CloseShip.to) == ("saga:shipping",) * 3
    assert order_of(BeginShip) == ("begin", "shipping", Ship)
    assert order_of(Charge) is None


def test_the_child_is_part_of_its_parents_fingerprint() -> None:
    def parent(child: Saga[Ship]) -> Definition:
        saga = Saga("order", PlaceOrder)
        saga.saga(child)(_ship)
        return saga.definition

    other = Saga("parcels", Ship)
    other.check(_look)
    assert parent(shipping).fingerprint != parent(other).fingerprint


def test_the_id_of_a_child_is_a_function_of_the_command_that_runs_it() -> None:
    def of(saga_id: str, round: int = 1) -> str:
        return child_id(CommandKey(saga_id, "ship", Direction.DO, round))

    assert (of("order-1"), of("order-1", 2)) == ("order-1--ship", "order-1--ship-2")
    assert of("x" * 58) == "x" * 58 + "--ship"
    longest = [of("x" * 63 + "a"), of("x" * 63 + "b"), of("x" * 59), of("x" * 59, 2)]
    assert {len(one) for one in longest} == {64}
    assert len(set(longest)) == 4


@explicitly("x" * 64, "ship", 1)
@over(
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.sampled_from(["ship", "ship-2", "ship.2"]),
    st.integers(1, 9),
)
def test_a_child_is_known_by_its_parent_and_its_parent_by_its_children(
    saga_id: str, step: str, round: int
) -> None:
    child = child_id(CommandKey(saga_id, step, Direction.DO, round))
    assert child.startswith(child_prefix(saga_id))
    assert parse_command_id(f"{child}/parcel/do").saga_id == child, "it is an id as any saga's"
    command = command_id(saga_id, step, Direction.DO, round)
    assert Parent(command_id=command, undoable=True).saga_id == saga_id


# ── every ending of the parent ───────────────────────────────────────────────────────────────────


def test_a_parent_closes_its_children_when_all_else_is_done() -> None:
    scene = given(order, TEA).expect(Reserve).reply().expect(BeginShip).reply(SHIPPED)
    charged = scene.expect(Charge(shipment="order-1--ship")).reply()
    charged.expect(CloseShip).reply().completed()


@pytest.mark.law("L59")
def test_a_parent_that_turns_back_has_its_children_undone_last_done_first_undone() -> None:
    scene = given(order, TEA).expect(Reserve).reply().expect(BeginShip).reply(SHIPPED)
    undoing = scene.expect(Charge).refuse(No()).expect(UndoShip)
    undoing.reply().expect(Release).reply().compensated()


@pytest.mark.law("L18", "L59")
def test_a_child_that_may_have_begun_is_undone() -> None:
    unheard = given(order, TEA).expect(Reserve).reply().expect(BeginShip)
    back = unheard.wait(NESTED_TIMEOUT.total_seconds()).cancel().expect(UndoShip)
    back.reply().expect(Release).reply().compensated()


@pytest.mark.law("L16", "L59")
def test_each_way_from_a_save_point_has_a_child_of_its_own() -> None:
    saga = Saga("order", PlaceOrder)
    saga.save_point("held", ways=2)
    saga.saga(shipping)(_ship)
    saga.pivot(_charge)
    first = given(saga, TEA).expect(BeginShip).reply(SHIPPED).expect(Charge)
    second = first.refuse(No()).expect(UndoShip).reply().expect(BeginShip)
    closing = second.reply(SHIPPED).expect(Charge).reply().expect(CloseShip)
    assert unfolded(saga.definition, closing.state).steps["close__ship.2"].confirms == "_ship.2"
    assert not judge(closing.reply().completed().story).violations


@pytest.mark.law("L16", "L59")
def test_a_child_from_before_the_save_point_is_the_same_on_every_way() -> None:
    saga = Saga("order", PlaceOrder)
    saga.saga(shipping)(_ship)
    saga.save_point("held", ways=2)
    saga.pivot(_charge)
    held = given(saga, TEA).expect(BeginShip).reply(SHIPPED).expect(Charge).refuse(No())
    closing = held.expect(Charge).reply().expect(CloseShip)
    assert unfolded(saga.definition, closing.state).steps["close__ship.2"].confirms == "_ship"
    assert not judge(closing.reply().completed().story).violations


@pytest.mark.law("L60")
def test_a_child_that_was_undone_by_itself_refuses_its_parents_step() -> None:
    scene = given(order, TEA).expect(Reserve).reply().expect(BeginShip)
    scene.refuse(No()).expect(Release).reply().compensated()


@pytest.mark.law("L18")
def test_a_child_of_which_nothing_is_heard_is_asked_for_again_and_undone_when_cancelled() -> None:
    asked = given(order, TEA).expect(Reserve).reply().expect(BeginShip).timeout().expect(BeginShip)
    undone = asked.cancel().expect(UndoShip).reply().expect(Release).reply().compensated()
    turned = next(one for one in undone.history if isinstance(one, CompensationStarted))
    assert turned.left == ("ship",)


@pytest.mark.law("L59")
@pytest.mark.parametrize("late", [Outcome.SUCCEEDED, Outcome.REFUSED])
def test_a_child_is_undone_at_once_when_what_runs_beside_it_is_refused(late: Outcome) -> None:
    """What it answers to what it was asked first does not matter any more."""
    saga = Saga("order", PlaceOrder)
    saga.saga(shipping, after=START)(_ship)
    saga.step(after=START)(_reserve).compensation(_release)
    asked = given(saga, TEA).expect(BeginShip, Reserve)
    undoing = asked.on(Reserve).refuse(No()).expect(UndoShip)
    left = undoing.state.steps["_ship"].do
    assert (left.status, left.unanswered, left.ended) == (WorkStatus.UNKNOWN, 1, undoing.now)
    key = CommandKey("order-1", "_ship", Direction.DO, 1)
    data = SHIPPED.model_dump() if late is Outcome.SUCCEEDED else {}
    told = Reply(key, 1, late, "", data, message_id="m")
    after = react(saga.definition, undoing.state, told, undoing.now).state
    assert after.current == ("_ship",), "it is still to be undone"
    assert not judge(undoing.reply().compensated().story).violations


def test_what_others_are_asked_for_is_waited_for_before_a_child_is_undone() -> None:
    """Their answers say what is owed."""
    saga = Saga("order", PlaceOrder)
    saga.saga(shipping, after=START)(_ship)
    saga.step(after=START)(_reserve).compensation(_release)
    waiting = given(saga, TEA).expect(BeginShip, Reserve).cancel()
    assert waiting.state.steps["_ship"].do.status is WorkStatus.UNKNOWN
    back = waiting.on(Reserve).reply().expect(UndoShip, Release)
    back.on(UndoShip).reply().on(Release).reply().compensated()


def test_a_child_that_cannot_be_undone_takes_a_human() -> None:
    scene = given(order, TEA).expect(Reserve).reply().expect(BeginShip).reply(SHIPPED)
    failing = scene.expect(Charge).refuse(No()).expect(UndoShip).refuse(No())
    stuck = failing.expect(Release).reply().stuck(UndoShip)
    stuck.skip(UndoShip).compensated(owing=[UndoShip])


def test_a_child_that_was_not_wanted_is_not_closed() -> None:
    saga = Saga("order", PlaceOrder)
    saga.saga(shipping, when=lambda o: o.gift)(_ship)
    saga.check(_look_at_order)
    scene = given(saga, TEA).expect(Look).reply().completed()
    assert [e.step for e in scene.history if isinstance(e, StepSkipped)] == ["_ship", "close__ship"]


def _not_wanted() -> Saga[PlaceOrder]:
    saga = Saga("order", PlaceOrder)
    saga.saga(shipping, after=START, when=lambda o: o.gift)(_ship)
    saga.saga(shipping, after=START)(_ship_more)
    return saga


def _on_another_way() -> Saga[PlaceOrder]:
    saga = Saga("order", PlaceOrder)
    saga.saga(shipping)(_ship)
    saga.save_point("held", ways=2)
    saga.saga(shipping)(_ship_more)
    return saga


def _one_of_two() -> Saga[PlaceOrder]:
    saga = Saga("order", PlaceOrder)
    some = [saga.saga(shipping, after=START)(one) for one in (_ship, _ship_more)]
    saga.check(after=quorum(1, *some))(_look_at_order)
    return saga


@pytest.mark.law("L59", "L71")
@pytest.mark.parametrize("write", [_not_wanted, _on_another_way, _one_of_two])
def test_a_child_that_its_parent_goes_on_without_keeps_no_other_from_being_closed(
    write: Callable[[], Saga[PlaceOrder]],
) -> None:
    found = explore(write(), bounds=Bounds(faults=1))
    assert not found.counterexample
    assert "L71" in found.laws


def test_a_parent_without_a_pivot_goes_on_once_it_closes_its_children() -> None:
    """As with a `Tcc`, the first close is the point of no return."""
    saga = Saga("order", PlaceOrder)
    saga.saga(shipping)(_ship)
    closing = given(saga, TEA).expect(BeginShip).reply(SHIPPED).expect(CloseShip)
    late = closing.cancel()
    assert "can only go on" in late.history[-1].model_dump_json()
    late.on(CloseShip).reply().completed()


def test_after_the_pivot_a_child_ends_by_itself() -> None:
    saga = Saga("order", PlaceOrder)
    saga.pivot(_charge)
    saga.saga(shipping)(_ship)
    definition = saga.definition
    assert list(definition.steps) == ["_charge", "_ship"]
    assert definition.steps["_ship"].kind is StepKind.RETRIABLE
    assert definition.steps["_ship"].child is shipping.definition
    asked = given(saga, TEA).expect(Charge).reply().expect(BeginShip)
    assert asked.asked.data["undoable"] is False
    asked.reply(SHIPPED).completed()


def test_a_child_with_a_pivot_is_its_parents_pivot() -> None:
    paying = Saga("paying", Ship)
    paying.pivot(_pay)
    saga = Saga("order", PlaceOrder)
    saga.step(_reserve).compensation(_release)
    run = saga.saga(paying)(_ship)
    saga.step(_thank)
    definition = saga.definition
    assert definition.pivot == run.name
    assert [one.kind for one in definition.steps.values()] == [
        StepKind.COMPENSATABLE,
        StepKind.PIVOT,
        StepKind.RETRIABLE,
    ]
    begin = command_of("begin", paying)
    scene = given(saga, TEA).expect(Reserve).reply().expect(begin)
    assert scene.asked.data["undoable"] is False
    scene.reply(SHIPPED).expect(Thank).reply().completed()
    scene.refuse(No()).expect(Release).reply().compensated()


class Look(Command[None]):
    to = "stock"
    sku: str


def _ship(o: PlaceOrder) -> Ship:
    return Ship(sku=o.sku)


def _ship_more(o: PlaceOrder) -> Ship:
    return Ship(sku=f"more {o.sku}")


def _pay(s: Ship) -> Charge:
    return Charge(shipment=s.sku)


def _charge(o: PlaceOrder) -> Charge:
    return Charge(shipment=o.sku)


def _reserve(o: PlaceOrder) -> Reserve:
    return Reserve(sku=o.sku)


def _release(o: PlaceOrder) -> Release:
    return Release(sku=o.sku)


def _thank(o: PlaceOrder) -> Thank:
    return Thank(sku=o.sku)


def _look(s: Ship) -> Look:
    return Look(sku=s.sku)


def _look_at_order(o: PlaceOrder) -> Look:
    return Look(sku=o.sku)
