"""What is particular to the shop: its refusals, its records, and orders in each other's way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from domain.orders import app, collect, counter, express, order
from domain.orders.contracts import PlaceOrder
from domain.orders.participants import card_payments, carrier, order_book, stockroom
from es_saga import Saga
from es_saga.core.aggregate import SagaStatus
from es_saga.core.events import StepRefused
from tests.domain.driver import Mishap, Run, Trouble, World

pytestmark = pytest.mark.anyio

AN_ORDER = PlaceOrder(
    order_id="7", customer="ada", sku="teapot", quantity=2, pence=1_800, card="visa", town="York"
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(app, tmp_path) as world:
        yield world


def an_order(number: int, **changes: Any) -> PlaceOrder:
    return AN_ORDER.model_copy(update={"order_id": str(number), **changes})


def refusals(run: Run) -> list[tuple[str, str]]:
    return [(e.step, e.refusal_type) for e in run.events if isinstance(e, StepRefused)]


@pytest.mark.requirement("R095")
@pytest.mark.parametrize(
    ("change", "step", "refusal", "undone"),
    [
        ({"customer": "mallory"}, "create", "OrderRejected", []),
        ({"card": "prepaid"}, "charge", "CardDeclined", ["create"]),
        ({"card": "nobody's"}, "charge", "CardDeclined", ["create"]),
        ({"sku": "unicorn"}, "reserve", "OutOfStock", ["charge", "create"]),
        ({"sku": "vase"}, "reserve", "OutOfStock", ["charge", "create"]),
        ({"town": "Atlantis"}, "ship", "AddressUnknown", ["reserve", "charge", "create"]),
    ],
)
async def test_a_refusal_is_named_and_what_was_done_is_undone_last_first(
    world: World, change: dict[str, Any], step: str, refusal: str, undone: list[str]
) -> None:
    run = await world.run(order, an_order(7, **change))
    assert refusals(run) == [(step, refusal)]
    assert run.undone == undone
    assert run.status is SagaStatus.COMPENSATED


@pytest.mark.requirement("R095")
async def test_four_steps_have_four_undos() -> None:
    steps = order.definition.steps
    assert list(steps) == ["create", "charge", "reserve", "ship"]
    assert all(step.undo is not None for step in steps.values())


@pytest.mark.requirement("R093", "R094", "R096")
@pytest.mark.parametrize(
    ("saga", "steps", "undos"),
    [
        (collect, ["reserve", "charge", "create"], 3),
        (express, ["charge", "reserve", "ship"], 3),
        (counter, ["create", "reserve", "charge"], 2),
    ],
)
def test_the_other_orders_have_their_steps_and_undos(
    saga: Saga[PlaceOrder], steps: list[str], undos: int
) -> None:
    found = saga.definition.steps
    assert list(found) == steps
    assert sum(step.undo is not None for step in found.values()) == undos


@pytest.mark.requirement("R095", "R035", "R036")
async def test_an_order_whose_last_step_was_lost_is_undone_four_times(world: World) -> None:
    run = await world.run(order, AN_ORDER, {"ship/do": Trouble(Mishap.LOST_REPLY)})
    assert run.undone == ["ship", "reserve", "charge", "create"]
    tables = world.tables()
    assert tables["orders"] == [("7", "ada", "teapot", 2, 1_800, "cancelled")]
    assert tables["ledger"] == [("charge 7", "visa", 1_800), ("refund 7", "visa", -1_800)]
    assert tables["parcels"] == [("parcel 7", "for 7", 2, "York", "recalled")]
    assert tables["reservations"] == []


@pytest.mark.requirement("R013")
async def test_the_parcel_carries_the_reservation_that_an_earlier_step_made(world: World) -> None:
    await world.run(order, AN_ORDER)
    assert world.tables()["parcels"] == [("parcel 7", "for 7", 2, "York", "posted")]


async def test_an_order_number_is_taken_once(world: World) -> None:
    first = await world.run(order, AN_ORDER)
    after = world.tables()
    again = await world.run(order, AN_ORDER)
    assert first.status is SagaStatus.COMPLETED
    assert refusals(again) == [("create", "OrderRejected")]
    assert world.tables() == after


async def test_the_last_piece_is_sold_once_and_again_when_it_comes_back(world: World) -> None:
    vase = {"sku": "vase", "quantity": 1}
    returned = await world.run(order, an_order(1, **vase, town="Atlantis"))
    sold = await world.run(order, an_order(2, **vase))
    late = await world.run(order, an_order(3, **vase))
    assert [run.status for run in (returned, sold, late)] == [
        SagaStatus.COMPENSATED,
        SagaStatus.COMPLETED,
        SagaStatus.COMPENSATED,
    ]
    assert refusals(late) == [("reserve", "OutOfStock")]


async def test_nothing_is_created_or_lost_over_many_orders_of_every_kind(world: World) -> None:
    before = {
        "pence": sum(card_payments.totals(world.engines["payments"]).values()),
        "pieces": _pieces(world),
    }
    changes: list[dict[str, Any]] = [{}, {"card": "prepaid"}, {"sku": "unicorn"}, {"sku": "kettle"}]
    lost = {"charge/do": Trouble(Mishap.LOST_REPLY)}
    done = 0
    for number in range(24):
        saga = (order, collect, express)[number % 3]
        script = lost if number % 5 == 0 else None
        run = await world.run(saga, an_order(number, **changes[number % 4]), script, copies=2)
        done += run.status is SagaStatus.COMPLETED
    assert 0 < done < 24
    assert sum(card_payments.totals(world.engines["payments"]).values()) == before["pence"]
    assert card_payments.totals(world.engines["payments"])["taken"] == done * 1_800
    assert _pieces(world) == before["pieces"]
    stock = stockroom.totals(world.engines["stock"])
    assert stock["reserved"] == stock["noted"] == done * 2
    placed = order_book.totals(world.engines["orders"])["placed"]
    posted = carrier.totals(world.engines["shipping"])["posted"]
    assert placed <= done
    assert posted <= stock["reserved"]


def _pieces(world: World) -> int:
    stock = stockroom.totals(world.engines["stock"])
    return stock["on_hand"] + stock["reserved"]
