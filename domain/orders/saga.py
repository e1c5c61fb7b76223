"""An order: create it, charge the card, reserve the stock, ship the parcel.

Every step can be undone, so there is no point of no return: whichever of them is refused, fails,
or stays unanswered, those before it are undone, the last one first. An undo is asked for by the
order's number, and so works where the answer of its step was lost.
"""

from __future__ import annotations

from domain.orders.contracts import (
    CancelOrder,
    ChargeCard,
    CreateOrder,
    PlaceOrder,
    RecallParcel,
    RefundCard,
    ReleaseStock,
    ReserveStock,
    ShipParcel,
    StockReserved,
)
from domain.pace import PATIENCE
from es_saga import Saga

order = Saga("order", PlaceOrder)


@order.step(timeout=PATIENCE)
def create(o: PlaceOrder) -> CreateOrder:
    """Enter it in the book."""
    return CreateOrder(
        order_id=o.order_id, customer=o.customer, sku=o.sku, quantity=o.quantity, pence=o.pence
    )


@create.compensation
def cancel(o: PlaceOrder) -> CancelOrder:
    return CancelOrder(order_id=o.order_id)


@order.step(timeout=PATIENCE)
def charge(o: PlaceOrder) -> ChargeCard:
    """Take the money."""
    return ChargeCard(order_id=o.order_id, card=o.card, pence=o.pence)


@charge.compensation
def refund(o: PlaceOrder) -> RefundCard:
    return RefundCard(order_id=o.order_id)


@order.step(timeout=PATIENCE)
def reserve(o: PlaceOrder) -> ReserveStock:
    """Lay the goods aside."""
    return ReserveStock(order_id=o.order_id, sku=o.sku, quantity=o.quantity)


@reserve.compensation
def release(o: PlaceOrder) -> ReleaseStock:
    return ReleaseStock(order_id=o.order_id)


@order.step(timeout=PATIENCE)
def ship(o: PlaceOrder, stock: StockReserved) -> ShipParcel:
    """Send off what was laid aside."""
    return ShipParcel(
        order_id=o.order_id, reservation=stock.reservation, quantity=o.quantity, town=o.town
    )


@ship.compensation
def recall(o: PlaceOrder) -> RecallParcel:
    return RecallParcel(order_id=o.order_id)
