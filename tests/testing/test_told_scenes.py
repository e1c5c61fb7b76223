"""Scenes of sagas that nobody conducts: what services tell, and what becomes of the flow."""

from __future__ import annotations

import pytest

from domain.fulfilment import fulfilment
from domain.fulfilment.events import (
    OrderCancelled,
    OrderCreated,
    PaymentCompleted,
    PaymentDeclined,
    PaymentRefunded,
    ShipmentCreated,
    ShipmentRefused,
    StockInsufficient,
    StockReleased,
    StockReserved,
)
from es_saga import IllegalOperation, InvalidInput, Saga
from es_saga.core.errors import NotYet
from es_saga.core.messages import Event
from es_saga.testing import Scene, given, judge
from tests.core.sagas import Trip

ONWARD = {"order_id": "7", "card": "visa", "pence": 5, "sku": "tea", "quantity": 1, "town": "York"}
CREATED, PAID = OrderCreated.model_validate(ONWARD), PaymentCompleted.model_validate(ONWARD)
RESERVED = StockReserved.model_validate(ONWARD)
SHIPPED = ShipmentCreated(order_id="7")
BEGUN = given(fulfilment, CREATED)
MINUTES = 60.0


class Weather(Event):
    """Nobody in fulfilment cares for it."""

    by = "sky"
    about = "order_id"
    order_id: str


def lawful(scene: Scene) -> Scene:
    assert not judge(scene.story).violations
    return scene


def test_a_flow_is_told_by_its_events() -> None:
    scene = BEGUN.nothing_sent().tells(PAID).tells(RESERVED).tells(SHIPPED).completed()
    assert lawful(scene).state.saga_id == "fulfilment-7"
    assert scene.state.origin.key == "7"
    assert scene.duplicate().history == scene.history


@pytest.mark.requirement("R008")
def test_a_refusal_is_undone_by_those_who_react_to_it() -> None:
    declined = BEGUN.tells(PaymentDeclined(order_id="7")).tells(OrderCancelled(order_id="7"))
    lawful(declined.compensated())
    refused = BEGUN.tells(PAID).tells(RESERVED).tells(ShipmentRefused(order_id="7"))
    back = refused.tells(StockReleased(order_id="7")).tells(PaymentRefunded(order_id="7"))
    lawful(back.tells(OrderCancelled(order_id="7")).compensated())


def test_what_is_not_told_in_time_takes_a_human_until_it_is_told() -> None:
    missed = BEGUN.wait(5 * MINUTES).stuck(PaymentCompleted)
    assert missed.tells(PAID).state.stuck is None
    lawful(missed.tells(PAID).tells(StockInsufficient(order_id="7")))
    undone = BEGUN.tells(PaymentDeclined(order_id="7")).wait(15 * MINUTES).stuck(OrderCancelled)
    lawful(undone.skip(OrderCancelled).compensated(owing=[OrderCancelled]))
    again = missed.retry(PaymentCompleted).nothing_sent().wait(5 * MINUTES).stuck(PaymentDeclined)
    lawful(again)
    with pytest.raises(AssertionError, match="expected it to be stuck at StockReserved, but it is"):
        missed.stuck(StockReserved)


def test_what_a_flow_does_not_know_or_not_yet_is_refused() -> None:
    with pytest.raises(NotYet, match="does not expect StockReserved, or not yet"):
        BEGUN.tells(RESERVED)
    with pytest.raises(InvalidInput, match="PaymentCompleted tells of '8'; this saga is '7'"):
        BEGUN.tells(PAID.model_copy(update={"order_id": "8"}))
    with pytest.raises(InvalidInput, match=r"does not listen for Weather.*OrderCreated, Payment"):
        BEGUN.tells(Weather(order_id="7"))
    with pytest.raises(IllegalOperation, match="Nobody conducts saga fulfilment-7"):
        BEGUN.cancel()


def test_a_conducted_saga_hears_what_it_waits_for() -> None:
    saga = Saga("trip", Trip)
    saga.wait(Weather, timeout=fulfilment.expectations[1].within)
    begun = given(saga, Trip())
    lawful(begun.tells(Weather(order_id="1")).completed())
    with pytest.raises(InvalidInput, match="trip does not listen for PaymentCompleted"):
        begun.tells(PAID)
