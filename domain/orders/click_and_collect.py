"""Click and collect: reserve the goods, charge the card, then create the order.

The order comes last: the counter hands out what is in the book, and only what is paid gets there.
"""

from __future__ import annotations

from domain.orders.contracts import (
    CancelOrder,
    ChargeCard,
    CreateOrder,
    PlaceOrder,
    RefundCard,
    ReleaseStock,
    ReserveStock,
)
from domain.pace import PATIENCE
from es_saga import Saga

collect = Saga("collect", PlaceOrder)


@collect.step(timeout=PATIENCE)
def reserve(o: PlaceOrder) -> ReserveStock:
    """Lay the goods aside."""
    return ReserveStock(order_id=o.order_id, sku=o.sku, quantity=o.quantity)


@reserve.compensation
def release(o: PlaceOrder) -> ReleaseStock:
    return ReleaseStock(order_id=o.order_id)


@collect.step(timeout=PATIENCE)
def charge(o: PlaceOrder) -> ChargeCard:
    """Take the money."""
    return ChargeCard(order_id=o.order_id, card=o.card, pence=o.pence)


@charge.compensation
def refund(o: PlaceOrder) -> RefundCard:
    return RefundCard(order_id=o.order_id)


@collect.step(timeout=PATIENCE)
def create(o: PlaceOrder) -> CreateOrder:
    """Enter it in the book."""
    return CreateOrder(
        order_id=o.order_id, customer=o.customer, sku=o.sku, quantity=o.quantity, pence=o.pence
    )


@create.compensation
def cancel(o: PlaceOrder) -> CancelOrder:
    return CancelOrder(order_id=o.order_id)
