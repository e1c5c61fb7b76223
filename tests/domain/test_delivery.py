"""Orders and deliveries: two services that check each other's work, and what each no leads to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.delivery import app
from domain.delivery.events import OrderPlaced
from domain.delivery.participants import AWAY, NOWHERE, place, planned, wanted
from es_saga.core.events import CompensationSucceeded, StepRefused
from es_saga.testing.contracts.pipes import eventually
from tests.domain.watched import Watched, watched

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("R103")]

AN_ORDER = OrderPlaced(order_id="1", address="York", grams=5_000)


@pytest.fixture(params=["memory", "nats"])
async def town(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Watched]:
    async with watched(app, request, tmp_path) as town:
        yield town


async def test_what_both_services_approve_of_is_delivered(town: Watched) -> None:
    await town.open()
    async with town.manager():
        town.place(place, AN_ORDER)
        log = (await town.closed("delivery-1"))["delivery-1"]
    assert [type(event).__name__ for event in log] == [
        "SagaStarted",
        *["StepStarted", "StepSucceeded"] * 4,
        "SagaCompleted",
    ]
    await eventually(lambda: town.rows("orders", wanted) == [("1", "delivered", 500)])
    assert town.rows("deliveries", planned) == [("1", "York", 5_000, "delivered")]


@pytest.mark.requirement("R002", "R043")
@pytest.mark.parametrize(
    ("change", "refused", "undone", "left"),
    [
        ({"address": NOWHERE}, "DeliveryImpossible", {"order_placed"}, []),
        ({"grams": 30_001}, "DeliveryImpossible", {"order_placed"}, []),
        (
            {"grams": 25_000},
            "OrderUnaffordable",
            {"order_placed", "delivery_planned"},
            ["cancelled"],
        ),
        (
            {"address": AWAY},
            "NobodyHome",
            {"order_placed", "delivery_planned", "order_approved"},
            ["cancelled"],
        ),
    ],
)
async def test_a_no_at_any_step_has_each_service_take_back_its_own(
    town: Watched, change: dict[str, object], refused: str, undone: set[str], left: list[str]
) -> None:
    await town.open()
    async with town.manager():
        town.place(place, AN_ORDER.model_copy(update=change))
        log = (await town.closed("delivery-1"))["delivery-1"]
    assert [event.refusal_type for event in log if isinstance(event, StepRefused)] == [refused]
    assert {event.step for event in log if isinstance(event, CompensationSucceeded)} == undone
    assert town.rows("orders", wanted) == [("1", "dropped", 0)], "and nothing is owed"
    assert [status for *_, status in town.rows("deliveries", planned)] == left


@pytest.mark.parametrize("deaf", ["orders", "deliveries"])
async def test_a_service_that_was_away_takes_up_where_it_was(town: Watched, deaf: str) -> None:
    await town.open(deaf=deaf)
    async with town.listening(deaf):
        pass  # from now on the stream keeps for it what it has not heard
    async with town.manager():
        town.place(place, AN_ORDER)
        await eventually(lambda: town.rows("orders", wanted) == [("1", "placed", 0)])
        async with town.listening(deaf):
            await town.closed("delivery-1")
            await eventually(lambda: town.rows("orders", wanted) == [("1", "delivered", 500)])
