"""A sale at the counter: create the order, reserve the goods, charge the card.

The charge is the pivot: it may be declined, and then the two steps before it are undone; once it
has gone through the sale stands. So three steps need two undos.
"""

from __future__ import annotations

from domain.orders.contracts import (
    CancelOrder,
    ChargeCard,
    CreateOrder,
    PlaceOrder,
    ReleaseStock,
    ReserveStock,
)
from domain.pace import PATIENCE
from es_saga import Saga

counter = Saga("counter", PlaceOrder)


@counter.step(timeout=PATIENCE)
def create(o: PlaceOrder) -> CreateOrder:
    """Enter it in the book."""
    return CreateOrder(
        order_id=o.order_id, customer=o.customer, sku=o.sku, quantity=o.quantity, pence=o.pence
    )


@create.compensation
def cancel(o: PlaceOrder) -> CancelOrder:
    return CancelOrder(order_id=o.order_id)


@counter.step(timeout=PATIENCE)
def reserve(o: PlaceOrder) -> ReserveStock:
    """Lay the goods aside."""
    return ReserveStock(order_id=o.order_id, sku=o.sku, quantity=o.quantity)


@reserve.compensation
def release(o: PlaceOrder) -> ReleaseStock:
    return ReleaseStock(order_id=o.order_id)


@counter.pivot(timeout=PATIENCE)
def charge(o: PlaceOrder) -> ChargeCard:
    """Take the money; from here on the sale stands."""
    return ChargeCard(order_id=o.order_id, card=o.card, pence=o.pence)
