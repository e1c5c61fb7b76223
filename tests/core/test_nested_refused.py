"""What a saga that runs another cannot be, told when its definition is verified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from es_saga import START, App, Saga
from es_saga.core.errors import DefinitionError
from es_saga.core.messages import Command
from tests.core.family import BookParcel, Charge, PlaceOrder, Release, Ship, order, shipping
from tests.core.fulfilment import OrderCreated, fulfilment


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


def _run(s: Ship) -> Ship:
    return s


def _wrong(o: PlaceOrder) -> PlaceOrder:
    return o


def _pay(s: Ship) -> Charge:
    return Charge(shipment=s.sku)


def _charge(o: PlaceOrder) -> Charge:
    return Charge(shipment=o.sku)


def _release(o: PlaceOrder) -> Release:
    return Release(sku=o.sku)


def _book(s: Ship) -> BookParcel:
    return BookParcel(sku=s.sku)


def close__ship(o: PlaceOrder) -> Look:
    return Look(sku=o.sku)
