"""A log with sagas of every style, each at a place where a reader has questions.

picking-1      a list of thirty items, of which one is refused and one cannot be put back
picking-2      such a list under way
getaway-1      completed on its second way
getaway-2      stuck on its way back to the save-point
together-1     runs two others: one of them is held, the other one under way
fulfilment-1   is watched, and waits for an event
fulfilment-2   waited in vain
fulfilment-3   waited in vain for an event that undoes one
procurement-1  waits for an approval
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from domain.fulfilment.flow import fulfilment
from domain.procurement.saga import procurement
from domain.together.saga import journey, together
from domain.travel.getaway import getaway
from domain.travel.participants import flights, rooms, wallet
from es_saga import Command, Message, Participant, Saga
from es_saga.core.events import SagaEvent, StepSucceeded
from es_saga.testing.faults import Fault, FaultPlan, Kind
from es_saga.testing.simulation.loop import EPOCH
from es_saga.testing.world import Begin, World
from tests.dashboard.sample import moved, write

ITEMS = 30
DONE = 7
"""Of the items of picking-2."""
HOUR = 3600.0


class Basket(Message):
    basket: str
    items: list[str]


class Picked(Message):
    shelf: str


class Pick(Command[Picked]):
    to = "shelves"
    item: str


class PutBack(Command[None]):
    to = "shelves"
    item: str


class Pack(Command[None]):
    to = "packers"
    basket: str


picking = Saga("picking", Basket)


@picking.step(each=lambda b: b.items, most=ITEMS, at_once=5)
def pick(b: Basket, item: str) -> Pick:
    return Pick(item=item)


@pick.compensation
def put_back(b: Basket, item: str) -> PutBack:
    return PutBack(item=item)


@picking.pivot
def pack(b: Basket, picked: list[Picked]) -> Pack:
    return Pack(basket=b.basket)


STYLES: tuple[Saga[Any], ...] = (picking, getaway, journey, together, fulfilment, procurement)


def _told(
    sagas: list[Saga[Any]],
    begins: list[Begin],
    faults: Iterable[Fault],
    participants: Iterable[Participant] = (),
) -> dict[str, list[SagaEvent]]:
    world = World(sagas, faults=FaultPlan(tuple(faults), seed=3), participants=participants)
    log = world.run(begins).log
    return {saga_id: list(log.history(saga_id)) for saga_id in log.states}


def _up_to(done: int, history: Sequence[SagaEvent]) -> list[SagaEvent]:
    """Its events until so many steps were."""
    at = [place for place, event in enumerate(history) if isinstance(event, StepSucceeded)]
    return [*history[: at[done - 1] + 1]]


def histories() -> dict[str, list[SagaEvent]]:
    """What has happened to each within the last hour."""
    basket = {"basket": "1", "items": [f"item {n}" for n in range(ITEMS)]}
    under_way = _told([picking], [Begin("picking-2", "picking", basket, HOUR - 60)], [])
    told = {saga_id: _up_to(DONE, own) for saga_id, own in under_way.items()}
    told |= _told(
        [picking],
        [Begin("picking-1", "picking", basket)],
        [
            Fault(Kind.REFUSED, "picking-1/pick-29/do/1"),
            Fault(Kind.FAILED_FOR_GOOD, "picking-1/pick-7/undo/1"),
        ],
    )
    trip = {"traveller": "ada", "hotel": "Savoy", "pence": 90_000}
    away = trip | {"flight": "BA117", "other_hotel": "Savoy"}
    both = trip | {"first_flight": "BA117", "second_flight": "BA117"}
    told |= _told(
        [getaway, journey, together],
        [
            Begin("getaway-1", "getaway", away | {"trip_id": "1", "hotel": "full"}),
            Begin("getaway-2", "getaway", away | {"trip_id": "2"}, 60.0),
            Begin("together-1", "together", both | {"trip_id": "3"}, HOUR - 3),
        ],
        [
            Fault(Kind.REFUSED, "getaway-2/pay/do/1"),
            Fault(Kind.FAILED_FOR_GOOD, "getaway-2/room/undo/1"),
            *(Fault(Kind.LOST, f"together-1--second/room/do/{n}") for n in (1, 2)),
        ],
        [flights, rooms, wallet],
    )
    order = {"card": "visa", "pence": 999, "sku": "teapot", "quantity": 1, "town": "York"}
    told |= _told(
        [fulfilment],
        [
            Begin("fulfilment-1", "fulfilment", order | {"order_id": "1"}, HOUR - 60),
            Begin("fulfilment-2", "fulfilment", order | {"order_id": "2"}),
            Begin("fulfilment-3", "fulfilment", order | {"order_id": "3"}),
        ],
        [
            *(Fault(Kind.LOST, f"fulfilment-{n}/stock_reserved/do/1/r") for n in (1, 2)),
            Fault(Kind.REFUSED, "fulfilment-3/stock_reserved/do/1"),
            Fault(Kind.LOST, "fulfilment-3/payment_completed/undo/1/r"),
        ],
    )
    dear = {"request_id": "1", "item": "chair", "pence": 150_000}
    told |= _told(
        [procurement],
        [Begin("procurement-1", "procurement", dear, HOUR - 60)],
        [Fault(Kind.LOST, "procurement-1/approval/do/1/r")],
    )
    now = time.time()
    shift = now - HOUR - EPOCH
    shown = {saga_id: [moved(event, shift) for event in own] for saga_id, own in told.items()}
    return {saga_id: [e for e in own if e.at <= now] for saga_id, own in shown.items()}


def fill(folder: Path) -> str:
    """A log with these sagas in a folder; its URL."""
    url = f"sqlite:///{folder / 'log.db'}"
    asyncio.run(write(url, histories(), STYLES))
    return url
