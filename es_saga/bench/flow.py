"""The same order without a conductor: services hear each other, and write the same rows.

What begins it is published by the load itself, as its start is where it is conducted.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from es_saga.app import App
from es_saga.bench.orders import ADD, PATIENCE, one_number
from es_saga.core.choreography import Choreography
from es_saga.core.messages import Envelope, Event, Subjects
from es_saga.participant import Participant, SyncTx


class OfOrder(Event):
    """It happened to an order."""

    about = "order_id"
    order_id: str


class OrderPlaced(OfOrder):
    by = "shop"
    sku: str
    pence: int
    grams: int


class StockReserved(OrderPlaced):
    by = "stock"


class CardCharged(OrderPlaced):
    by = "payments"


class ParcelShipped(OfOrder):
    by = "carrier"


flow = Choreography("flow", OrderPlaced)
flow.expects(StockReserved, after=OrderPlaced, within=PATIENCE)
flow.expects(CardCharged, after=StockReserved, within=PATIENCE)
flow.expects(ParcelShipped, after=CardCharged, within=PATIENCE)

stock = Participant("stock", tables=one_number("taken"), publishes=[StockReserved])
payments = Participant("payments", tables=one_number("takings"), publishes=[CardCharged])
carrier = Participant("carrier", tables=one_number("carried"), publishes=[ParcelShipped])

_ADD: Final = {name: sa.text(ADD.format(table=name)) for name in ("taken", "takings", "carried")}


@stock.on(OrderPlaced)
def reserve(event: OrderPlaced, tx: SyncTx) -> None:
    tx.connection.execute(_ADD["taken"], {"id": event.sku, "n": 1})
    tx.publish(StockReserved.model_validate(event.model_dump()))


@payments.on(StockReserved)
def charge(event: StockReserved, tx: SyncTx) -> None:
    tx.connection.execute(_ADD["takings"], {"id": "today", "n": event.pence})
    tx.publish(CardCharged.model_validate(event.model_dump()))


@carrier.on(CardCharged)
def ship(event: CardCharged, tx: SyncTx) -> None:
    tx.connection.execute(_ADD["carried"], {"id": "today", "n": 1})
    tx.publish(ParcelShipped(order_id=event.order_id))


def placed(saga_id: str, data: dict[str, Any]) -> tuple[str, Envelope]:
    """What begins the flow with this id: where it is published, and as what."""
    order_id = saga_id.removeprefix(f"{flow.name}-")
    event = Envelope(
        id=f"{order_id}/placed",
        source="svc/shop",
        type=OrderPlaced.__name__,
        subject=order_id,
        aggregatetype="order",
        data=data | {"order_id": order_id},
    )
    return Subjects().event("shop", order_id, event.type), event


app = App("flow", sagas=[flow], participants=[stock, payments, carrier])
