"""Order fulfilment by choreography: real services, real outboxes, and the log of who watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.fulfilment import app, fulfilment
from domain.fulfilment.events import (
    OrderCreated,
    PaymentCompleted,
    PaymentRefunded,
    StockInsufficient,
)
from domain.fulfilment.participants import charges, parcels, place, placed, reservations
from es_saga import App, DefinitionError, IllegalOperation, Participant
from es_saga.core.aggregate import fold
from es_saga.core.events import CompensationSucceeded, StepRefused
from es_saga.core.messages import Envelope, Subjects
from es_saga.core.state import SagaStatus
from es_saga.engine.client import Client
from es_saga.testing.contracts.pipes import eventually
from tests.domain.watched import Watched, watched

pytestmark = pytest.mark.anyio

AN_ORDER = OrderCreated(order_id="1", card="visa", pence=999, sku="teapot", quantity=1, town="York")


@pytest.fixture(params=["memory", "nats"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Watched]:
    async with watched(app, request, tmp_path) as shop:
        await shop.open()
        yield shop


@pytest.mark.requirement("R002", "R102")
async def test_an_order_is_fulfilled_and_nobody_conducts(shop: Watched) -> None:
    async with shop.manager():
        shop.place(place, AN_ORDER)
        log = (await shop.closed("fulfilment-1"))["fulfilment-1"]
    assert [type(event).__name__ for event in log] == [
        "SagaStarted",
        *["StepStarted", "StepSucceeded"] * 4,
        "SagaCompleted",
    ]
    await eventually(lambda: shop.rows("orders", placed) == [("1", "shipped")])
    assert shop.rows("carrier", parcels) == [("1", "York")]


@pytest.mark.requirement("R043", "R044", "R102")
@pytest.mark.parametrize(
    ("change", "refused", "undone"),
    [
        ({"card": "prepaid"}, "PaymentDeclined", ["order_created"]),
        ({"quantity": 1_001}, "StockInsufficient", ["payment_completed", "order_created"]),
        (
            {"town": "Atlantis"},
            "ShipmentRefused",
            ["stock_reserved", "payment_completed", "order_created"],
        ),
    ],
)
async def test_each_service_undoes_its_own_when_it_hears_why(
    shop: Watched, change: dict[str, object], refused: str, undone: list[str]
) -> None:
    async with shop.manager():
        shop.place(place, AN_ORDER.model_copy(update=change))
        log = (await shop.closed("fulfilment-1"))["fulfilment-1"]
    assert [e.refusal_type for e in log if isinstance(e, StepRefused)] == [refused]
    assert [e.step for e in log if isinstance(e, CompensationSucceeded)] == undone
    assert shop.rows("orders", placed) == [("1", "cancelled")]
    assert shop.rows("payments", charges) == shop.rows("stock", reservations) == []


async def test_a_flow_is_neither_started_nor_turned_back_by_a_request(shop: Watched) -> None:
    async with shop.manager() as manager:
        client = Client(shop.transport, "fulfilment", tenant=shop.tenant)
        data = AN_ORDER.model_dump(mode="json")
        with pytest.raises(IllegalOperation, match="it begins with OrderCreated of orders"):
            await manager.begin(fulfilment, AN_ORDER)
        with pytest.raises(IllegalOperation, match="it begins with OrderCreated of orders"):
            (await client.start("fulfilment", data, key="1")).result()
        shop.place(place, AN_ORDER)
        await shop.closed("fulfilment-1")


async def test_a_watcher_that_was_away_catches_up(shop: Watched) -> None:
    async with shop.manager():
        pass  # from now on the stream keeps for it what it has not seen
    for number in range(20):
        change = {"order_id": str(number), "town": "Atlantis" if number % 3 else "York"}
        shop.place(place, AN_ORDER.model_copy(update=change))
    await eventually(lambda: all(row[1] != "open" for row in shop.rows("orders", placed)))
    async with shop.manager():
        logs = await shop.closed(*(f"fulfilment-{number}" for number in range(20)))
    ends = {name: fold(name, log) for name, log in logs.items()}
    completed = {n for n, s in ends.items() if s and s.status is SagaStatus.COMPLETED}
    assert completed == {f"fulfilment-{number}" for number in range(0, 20, 3)}


async def test_an_event_that_does_not_say_which_flow_it_is_of_is_put_aside(shop: Watched) -> None:
    event = Envelope(id="odd", source="svc/payments", type="PaymentCompleted", data={"order": 1})
    async with shop.manager():
        subject = Subjects(shop.tenant).event("payments", "1", "PaymentCompleted")
        await shop.transport.publish(subject, event)
        async with asyncio.timeout(10):
            while not await put_aside(shop, "evt-fulfilment--watched"):
                await asyncio.sleep(0.02)


async def put_aside(shop: Watched, consumer: str) -> bool:
    letters = await shop.transport.dead_letters()
    return any(letter.id.startswith(f"{consumer}/") for _, letter in letters)


@pytest.mark.requirement("R008")
def test_an_event_that_nobody_tells_or_hears_is_refused() -> None:
    deaf = Participant("payments", publishes=[PaymentCompleted, PaymentRefunded])
    deaf.on(StockInsufficient)(lambda _event, _tx: None)
    with pytest.raises(DefinitionError) as caught:
        App("shop", sagas=[fulfilment], participants=[deaf]).definitions()
    assert caught.value.faults == (
        "fulfilment listens for PaymentDeclined, which payments does not publish",
        "fulfilment expects PaymentCompleted after OrderCreated, and there is no "
        "@payments.on(OrderCreated)",
        "fulfilment expects PaymentDeclined after OrderCreated, and there is no "
        "@payments.on(OrderCreated)",
        "fulfilment expects PaymentRefunded after StockReleased, and there is no "
        "@payments.on(StockReleased)",
    )
