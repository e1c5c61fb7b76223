"""A saga that runs another: what parent and child each do, and what such a definition cannot be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example as explicitly
from hypothesis import given as over
from hypothesis import strategies as st

from es_saga import (
    START,
    App,
    ChildSaga,
    IllegalOperation,
    NotFound,
    Refusal,
    Saga,
    quorum,
)
from es_saga.core.child import Answer, answer, due_answer
from es_saga.core.compiled import Definition, StepKind
from es_saga.core.decide import decide, react
from es_saga.core.errors import ConflictError, DefinitionError
from es_saga.core.events import (
    CompensationStarted,
    OperatorCancelled,
    Parent,
    ParentDecided,
    SagaCompensated,
    SagaStarted,
    StepSkipped,
)
from es_saga.core.inputs import FromParent, Reply, Start
from es_saga.core.messages import (
    Command,
    CommandKey,
    Direction,
    Message,
    Outcome,
    command_id,
    parse_command_id,
)
from es_saga.core.nested import Order, child_id, child_prefix, command_of, order_of
from es_saga.core.policy import FOR_EVER, NESTED_TIMEOUT
from es_saga.core.state import WorkStatus
from es_saga.core.tcc import Tcc, cancel_of, confirm_of
from es_saga.core.unfolding import unfolded
from es_saga.testing import Bounds, explore, given, judge
from tests.core.fulfilment import OrderCreated, fulfilment


class PlaceOrder(Message):
    sku: str
    gift: bool = False


class Ship(Message):
    sku: str


class Reserve(Command[None]):
    to = "stock"
    sku: str


class Release(Command[None]):
    to = "stock"
    sku: str


class BookParcel(Command[None]):
    to = "carrier"
    sku: str


class CancelParcel(Command[None]):
    to = "carrier"
    sku: str


class Charge(Command[None]):
    to = "bank"
    shipment: str


class Thank(Command[None]):
    to = "post"
    sku: str


class No(Refusal):
    pass


shipping = Saga("shipping", Ship)


@shipping.step
def parcel(s: Ship) -> BookParcel:
    return BookParcel(sku=s.sku)


@parcel.compensation
def cancel_parcel(s: Ship) -> CancelParcel:
    return CancelParcel(sku=s.sku)


order = Saga("order", PlaceOrder)


@order.step
def reserve(o: PlaceOrder) -> Reserve:
    return Reserve(sku=o.sku)


@reserve.compensation
def release(o: PlaceOrder) -> Release:
    return Release(sku=o.sku)


@order.saga(shipping)
def ship(o: PlaceOrder) -> Ship:
    """Have it sent."""
    return Ship(sku=o.sku)


@order.pivot
def charge(o: PlaceOrder, shipment: ChildSaga) -> Charge:
    return Charge(shipment=shipment.saga_id)


ORDERS: tuple[Order, ...] = ("begin", "undo", "close")
BeginShip, UndoShip, CloseShip = (command_of(one, shipping) for one in ORDERS)
SHIPPED = ChildSaga(saga_id="order-1--ship")
TEA = PlaceOrder(sku="tea")
BY = Parent(command_id="order-1/ship/do", undoable=True)


def begun(*, undoable: bool = True) -> Start:
    parent = Parent(command_id="order-1/ship/do", undoable=undoable)
    return Start("order-1--ship", {"sku": "tea"}, message_id="m-1", parent=parent)


def ask(order: Order, name: str = "m-2") -> FromParent:
    begin = Start("order-1--ship", {"sku": "tea"}, message_id=name, parent=BY)
    return FromParent(begin, order, f"order-1/ship/{order}")


# ── what the parent is ───────────────────────────────────────────────────────────────────────────


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


# ── every ending of the child ────────────────────────────────────────────────────────────────────

HELD = given(shipping, Ship(sku="tea"), child=True).expect(BookParcel).reply().held()


@pytest.mark.law("L59")
def test_a_child_whose_steps_are_done_is_held_until_its_parent_ends() -> None:
    HELD.waiting().nothing_sent().wait(7 * 24 * 3600).held().parent_closes().completed()


def test_who_would_hurry_a_child_that_is_held_is_told_whom_it_waits_for() -> None:
    for hurry in (HELD.retry, HELD.resume, HELD.resend):
        with pytest.raises(IllegalOperation) as refused:
            hurry()
        assert refused.value.hint == "It is done, and held until the saga that runs it ends."


@pytest.mark.law("L59")
def test_a_child_that_is_held_is_undone_with_its_parent() -> None:
    HELD.parent_undoes().expect(CancelParcel).reply().compensated()


def test_a_child_is_undone_wherever_it_stands() -> None:
    running = given(shipping, Ship(sku="tea"), child=True).expect(BookParcel)
    running.parent_undoes().on(BookParcel).reply().expect(CancelParcel).reply().compensated()
    running.refuse(No()).compensated()
    turned = running.cancel().on(BookParcel).reply().expect(CancelParcel)
    decided = turned.parent_undoes()
    assert isinstance(decided.history[-1], ParentDecided)
    decided.on(CancelParcel).reply().compensated()


def test_a_child_is_undone_where_it_is_stuck() -> None:
    saga = Saga("shipping", Ship)
    saga.step(_book).compensation(cancel_parcel)

    def broken(s: Ship) -> Reserve:
        raise ValueError(s.sku)

    saga.step(broken).compensation(cancel_parcel)
    stuck = given(saga, Ship(sku="tea"), child=True).expect(BookParcel).reply().stuck()
    stuck.parent_undoes().expect(CancelParcel).reply().compensated()


@pytest.mark.law("L60")
def test_nobody_but_its_parent_turns_back_a_child_that_is_held() -> None:
    refused = HELD.cancel().held()
    last = refused.history[-1]
    assert isinstance(last, OperatorCancelled)
    assert last.refused == "it is done, and the saga that runs it decides what becomes of it"
    with pytest.raises(IllegalOperation, match="the saga that runs it decides"):
        HELD.compensate()
    refused.parent_closes().completed()


def test_the_deadline_of_a_child_that_is_held_is_noted() -> None:
    saga = Saga("shipping", Ship, deadline=timedelta(minutes=1))
    saga.step(_book).compensation(cancel_parcel)
    held = given(saga, Ship(sku="tea"), child=True).expect(BookParcel).reply().held()
    held.wait(3600).held().parent_closes().completed()


def test_a_child_that_may_complete_before_it_is_done_does_not_wait_again() -> None:
    """As when an operator has told its parent that it is done."""
    running = given(shipping, Ship(sku="tea"), child=True).expect(BookParcel)
    running.parent_closes().on(BookParcel).reply().completed()


def test_what_a_parent_has_decided_stays_decided() -> None:
    undone = HELD.parent_undoes().expect(CancelParcel)
    assert undone.parent_closes().history == undone.history
    assert undone.duplicate().history == undone.history
    done = HELD.parent_closes().completed()
    assert done.parent_undoes().history == done.history


@pytest.mark.law("L21", "L22")
def test_a_child_that_is_undone_before_it_began_never_begins() -> None:
    events, state = react(shipping.definition, None, ask("undo"), 5.0)
    assert [type(event) for event in events] == [
        SagaStarted,
        ParentDecided,
        CompensationStarted,
        SagaCompensated,
    ]
    assert decide(shipping.definition, state, ask("begin", "m-3"), 6.0) == []
    said = answer(state, "undo")
    assert said is not None
    assert said.outcome is Outcome.SUCCEEDED


def test_a_child_that_never_began_cannot_be_closed() -> None:
    with pytest.raises(NotFound, match="never began"):
        decide(shipping.definition, None, ask("close"), 5.0)


def test_a_saga_of_somebody_elses_is_no_child() -> None:
    mine = Start("order-1--ship", {"sku": "tea"}, message_id="m-0")
    state = react(shipping.definition, None, mine, 5.0).state
    for asked in ORDERS:
        with pytest.raises(ConflictError):
            decide(shipping.definition, state, ask(asked), 6.0)
    child = react(shipping.definition, None, ask("begin"), 5.0).state
    assert child.decided is None, "it was only begun"
    with pytest.raises(ConflictError):
        decide(shipping.definition, child, mine, 6.0)


def test_a_child_that_is_not_to_be_undone_completes_by_itself() -> None:
    events, state = react(shipping.definition, None, begun(undoable=False), 5.0)
    assert isinstance(events[0], SagaStarted)
    assert not state.bound
    assert due_answer(state) == ("begin", "order-1/ship/do")
    alone = react(shipping.definition, None, Start("s-1", {"sku": "tea"}), 5.0).state
    assert due_answer(alone) is None


def test_a_child_with_a_pivot_is_not_held() -> None:
    """No compiled parent asks for it."""
    paying = Saga("paying", Ship)
    paying.pivot(_pay)
    with pytest.raises(IllegalOperation, match="after its pivot _pay nobody can undo it"):
        decide(paying.definition, None, ask("begin"), 5.0)
    given(paying, Ship(sku="tea"), child=True).expect(Charge).reply().completed()


def test_a_tcc_is_held_before_it_is_confirmed() -> None:
    tcc = Tcc("shipping", Ship)
    tcc.hold(expires=timedelta(days=1))(_book)
    held = given(tcc, Ship(sku="tea"), child=True).expect(BookParcel).reply().held()
    held.parent_closes().expect(confirm_of(BookParcel)).reply().completed()
    held.parent_undoes().expect(cancel_of(BookParcel)).reply().compensated()


def test_a_child_closes_its_own_children_when_it_may_close() -> None:
    saga = Saga("middle", PlaceOrder)
    saga.saga(shipping)(_ship)
    held = given(saga, TEA, child=True).expect(BeginShip).reply(SHIPPED).held()
    held.parent_closes().expect(CloseShip).reply().completed()
    held.parent_undoes().expect(UndoShip).reply().compensated()


# ── what it answers ──────────────────────────────────────────────────────────────────────────────

RUNNING = given(shipping, Ship(sku="tea"), child=True).expect(BookParcel)
UNDONE = HELD.parent_undoes().expect(CancelParcel).reply().compensated()
CLOSED = HELD.parent_closes().completed()
OWING = (
    HELD.parent_undoes().expect(CancelParcel).refuse(No()).stuck().skip(CancelParcel)
).compensated(owing=[CancelParcel])

ALONE = (
    (RUNNING.cancel().on(BookParcel).reply().expect(CancelParcel).refuse(No()).stuck())
    .skip(CancelParcel)
    .compensated(owing=[CancelParcel])
)

_ANSWERS: list[tuple[str, Any, tuple[str, str, str]]] = [
    ("running", RUNNING, ("-", "-", "-")),
    ("held", HELD, ("succeeded", "-", "-")),
    ("closed", CLOSED, ("succeeded", "ChildCompleted", "succeeded")),
    ("undone", UNDONE, ("ChildUndone", "succeeded", "ChildUndone")),
    ("owing", OWING, ("ChildUndone", "ChildOwesUndo", "ChildUndone")),
    ("owing by itself", ALONE, ("ChildUndone", "succeeded", "ChildUndone")),
]


@pytest.mark.parametrize(
    ("scene", "said"), [one[1:] for one in _ANSWERS], ids=[a[0] for a in _ANSWERS]
)
def test_a_child_answers_what_it_has_come_to(scene: Any, said: tuple[str, str, str]) -> None:
    found = [answer(scene.state, order) for order in ORDERS]
    told = [
        "-" if f is None else f.type if f.outcome is Outcome.REFUSED else f.outcome for f in found
    ]
    assert tuple(told) == said


def test_a_child_owes_its_answer_to_what_its_parent_asked_last() -> None:
    assert due_answer(HELD.state) == ("begin", "parent-1/run/do")
    assert due_answer(CLOSED.state) == ("close", "parent-1/close_run/do")
    assert due_answer(UNDONE.state) == ("undo", "parent-1/run/undo")


def test_a_refusal_tells_why() -> None:
    refused = RUNNING.refuse(No()).compensated()
    for state, why in ((refused.state, "No"), (UNDONE.state, "its parent is undone")):
        said = answer(state, "begin")
        assert said is not None
        assert said.data == {"saga_id": "shipping-1", "why": why}


def test_a_child_that_did_as_it_was_told_answers_as_participants_do() -> None:
    done = Answer(Outcome.SUCCEEDED, "Done", None)
    assert answer(HELD.state, "begin") == (
        Outcome.SUCCEEDED,
        "ChildSaga",
        {"saga_id": "shipping-1"},
    )
    assert answer(CLOSED.state, "close") == answer(UNDONE.state, "undo") == done


# ── what it cannot be ────────────────────────────────────────────────────────────────────────────


def faults(saga: Saga[Any]) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as caught:
        _ = saga.definition
    return caught.value.faults


def test_two_pivots_through_a_child_are_refused() -> None:
    paying = Saga("paying", Ship)
    paying.pivot(_pay)
    nested = Saga("nested", Ship)
    nested.saga(paying)(_run)
    for child, inner in ((paying, "_pay"), (nested, "_run")):
        saga = Saga("order", PlaceOrder)
        saga.pivot(_charge)
        saga.saga(child)(_ship)
        told = f"there can be one pivot, not 2: _charge, _ship ({inner} of {child.name!r})"
        assert told in faults(saga)


def test_a_saga_does_not_run_itself() -> None:
    one, two = Saga("one", Ship), Saga("two", Ship)
    one.saga(two)(_run)
    two.saga(one)(_run)
    assert faults(one) == ("_run runs the saga itself: one → two → one",)
    alone = Saga("alone", Ship)
    alone.saga(alone)(_run)
    assert faults(alone) == ("_run runs the saga itself: alone → alone",)


def test_the_faults_of_a_child_are_told_with_its_parents() -> None:
    child = Saga("shipping", Ship)
    child.step(_book)
    saga = Saga("order", PlaceOrder, version=0)
    saga.saga(child)(_ship)
    first, second = faults(saga)
    assert "_ship runs 'shipping', which cannot run: _book has no compensation" in first + second
    assert "counts from 1" in first + second


def test_a_flow_that_nobody_conducts_is_not_run() -> None:
    saga = Saga("order", PlaceOrder)
    saga.saga(fulfilment())(_create)
    assert faults(saga) == ("_create runs 'fulfilment', a choreography: nobody conducts it",)


def test_a_child_belongs_to_its_parents_app() -> None:
    with pytest.raises(DefinitionError) as caught:
        App("shop", sagas=[order]).definitions()
    assert caught.value.faults == (
        "ship of 'order' runs 'shipping', version 1, which is none of its sagas: add it to "
        "sagas=[…]",
    )
    assert len(App("shop", sagas=[order, shipping]).definitions()) == 2


def test_a_function_that_makes_no_input_of_the_child_is_refused() -> None:
    saga = Saga("order", PlaceOrder)
    saga.saga(shipping)(_wrong)  # type: ignore[arg-type]
    assert faults(saga) == ("_wrong returns PlaceOrder, but the input of 'shipping' is Ship",)


_BESIDE: list[tuple[Callable[[Saga[PlaceOrder]], object], str]] = [
    (
        lambda saga: saga.saga(shipping)(_ship).compensation(_release),
        "_ship has a compensation, but a saga undoes itself",
    ),
    (
        lambda saga: (saga.saga(shipping)(_ship), saga.check(after=START)(close__ship)),
        "close__ship is what the closing of _ship will be called",
    ),
]


@pytest.mark.parametrize(("write", "fault"), _BESIDE)
def test_what_follows_from_it_is_not_written_too(
    write: Callable[[Saga[PlaceOrder]], object], fault: str
) -> None:
    saga = Saga("order", PlaceOrder)
    write(saga)
    assert fault in faults(saga)


def test_a_pivot_has_no_condition_through_a_child_either() -> None:
    paying = Saga("paying", Ship)
    paying.pivot(_pay)
    saga = Saga("order", PlaceOrder)
    saga.saga(paying, when=lambda o: o.gift)(_ship)
    assert faults(saga) == ("_ship (_pay of 'paying') is the pivot, and has a condition",)


class Look(Command[None]):
    to = "stock"
    sku: str


def _create(o: PlaceOrder) -> OrderCreated:
    return OrderCreated(order_id=o.sku, pence=1)


def _ship(o: PlaceOrder) -> Ship:
    return Ship(sku=o.sku)


def _ship_more(o: PlaceOrder) -> Ship:
    return Ship(sku=f"more {o.sku}")


def _run(s: Ship) -> Ship:
    return s


def _wrong(o: PlaceOrder) -> PlaceOrder:
    return o


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


def _book(s: Ship) -> BookParcel:
    return BookParcel(sku=s.sku)


def _look(s: Ship) -> Look:
    return Look(sku=s.sku)


def _look_at_order(o: PlaceOrder) -> Look:
    return Look(sku=o.sku)


def close__ship(o: PlaceOrder) -> Look:
    return Look(sku=o.sku)
