"""A saga that another one runs: every ending of it, and what it answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from es_saga import IllegalOperation, NotFound, Saga
from es_saga.core.child import Answer, answer, due_answer
from es_saga.core.decide import decide, react
from es_saga.core.errors import ConflictError
from es_saga.core.events import (
    CompensationStarted,
    OperatorCancelled,
    ParentDecided,
    SagaCompensated,
    SagaStarted,
)
from es_saga.core.inputs import Start
from es_saga.core.messages import Outcome
from es_saga.core.tcc import Tcc, cancel_of, confirm_of
from es_saga.testing import given
from tests.core.family import (
    ORDERS,
    SHIPPED,
    TEA,
    BeginShip,
    BookParcel,
    CancelParcel,
    Charge,
    CloseShip,
    No,
    PlaceOrder,
    Reserve,
    Ship,
    UndoShip,
    ask,
    begun,
    cancel_parcel,
    shipping,
)

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


def _ship(o: PlaceOrder) -> Ship:
    return Ship(sku=o.sku)


def _pay(s: Ship) -> Charge:
    return Charge(shipment=s.sku)


def _book(s: Ship) -> BookParcel:
    return BookParcel(sku=s.sku)
