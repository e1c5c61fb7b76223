"""The histories that were recorded, and those of unreliable worlds, ready to be replayed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from domain import (
    activities,
    checkout,
    credit,
    orders,
    procurement,
    transfer,
    travel,
    wholesale,
)
from domain.delivery import delivery
from domain.fulfilment import fulfilment
from domain.orders.contracts import PlaceOrder
from es_saga import Saga
from es_saga.replay import Replay
from es_saga.testing import Scene, World
from es_saga.testing.history import read_history
from tests.core.buying import buy
from tests.histories.record import file_of

_BUSINESSES = (
    *(orders, travel, transfer, credit),
    *(activities, checkout, procurement, wholesale),
)

EVERY_SAGA: list[Saga[Any]] = [
    *(saga for business in _BUSINESSES for saga in business.app.sagas),
    buy,
]

FLOWS: list[Saga[Any]] = [fulfilment, delivery]
"""Those that nobody conducts."""

HARSH = 0.5
"""Half of all commands meet with trouble."""

AN_ORDER = PlaceOrder(
    order_id="7", customer="ada", sku="tea", quantity=2, pence=1_800, card="visa", town="York"
)


def recorded(name: str) -> Replay:
    """A history of an earlier release."""
    history = read_history(file_of(name))
    return Replay.of(history.saga_id, history.events)


def of(scene: Scene) -> Replay:
    """What happened in a scene."""
    return Replay.of(scene.state.saga_id, scene.history)


def worlds(saga: Saga[Any], seeds: range) -> Iterator[Replay]:
    """Sagas among unreliable services, with clocks that go forward."""
    for seed in seeds:
        for story in World([saga], seed=seed, rate=HARSH).run(2).stories:
            times = [event.at for event in story.history]
            if times == sorted(times):
                yield Replay.of(story.saga_id, story.history)
