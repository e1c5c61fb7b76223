"""What is particular to a trip: three bookings side by side, a pivot, and papers that must come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.travel import app, trip
from domain.travel.contracts import BookTrip
from es_saga.core.aggregate import SagaStatus
from es_saga.core.events import CompensationIssued, StepStarted
from tests.domain.driver import Mishap, Trouble, World

pytestmark = pytest.mark.anyio

A_TRIP = BookTrip(
    trip_id="7", traveller="ada", flight="BA117", hotel="Savoy", car="compact", pence=90_000
)
BOOKINGS = {"flight", "room", "car"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(app, tmp_path) as world:
        yield world


async def test_flight_room_and_car_are_asked_for_at_once(world: World) -> None:
    run = world.start(trip, A_TRIP)
    assert {e.step for e in run.events if isinstance(e, StepStarted)} == BOOKINGS


@pytest.mark.parametrize("seed", range(6))
async def test_paying_waits_for_all_three_in_whatever_order_they_answer(
    world: World, seed: int
) -> None:
    run = await world.run(trip, A_TRIP, seed=seed)
    assert run.status is SagaStatus.COMPLETED
    started = [e.step for e in run.events if isinstance(e, StepStarted)]
    assert set(started[:3]) == BOOKINGS
    assert started[3:] == ["pay", "itinerary"]


@pytest.mark.requirement("R042")
async def test_who_cannot_pay_gets_all_three_cancelled_side_by_side(world: World) -> None:
    before = world.tables()
    run = await world.run(trip, A_TRIP.model_copy(update={"traveller": "tramp"}))
    issued = [n for n, e in enumerate(run.events) if isinstance(e, CompensationIssued)]
    assert set(run.undone) == BOOKINGS
    assert issued == list(range(issued[0], issued[0] + 3))
    assert world.tables() == before


@pytest.mark.requirement("R033")
@pytest.mark.parametrize("seed", range(6))
async def test_a_full_flight_waits_for_the_others_before_they_are_cancelled(
    world: World, seed: int
) -> None:
    before = world.tables()
    run = await world.run(trip, A_TRIP.model_copy(update={"flight": "full"}), seed=seed)
    assert run.status is SagaStatus.COMPENSATED
    assert set(run.undone) == {"room", "car"}
    assert world.tables() == before


async def test_two_of_the_three_may_be_refused(world: World) -> None:
    before = world.tables()
    run = await world.run(trip, A_TRIP.model_copy(update={"flight": "full", "hotel": "full"}))
    assert run.undone == ["car"]
    assert world.tables() == before


@pytest.mark.requirement("D17", "D18")
@pytest.mark.parametrize("mishap", [Mishap.LOST_COMMAND, Mishap.LOST_REPLY])
async def test_a_room_whose_answer_never_came_does_not_stay_booked(
    world: World, mishap: Mishap
) -> None:
    before = world.tables()
    run = await world.run(trip, A_TRIP, {"room/do": Trouble(mishap)})
    assert run.status is SagaStatus.COMPENSATED
    assert set(run.undone) == BOOKINGS
    assert world.tables() == before


@pytest.mark.requirement("R013")
async def test_the_itinerary_says_what_the_three_answered(world: World) -> None:
    await world.run(trip, A_TRIP)
    assert world.tables()["itineraries"] == [("itinerary 7", "seats 7", "rooms 7", "cars 7")]
