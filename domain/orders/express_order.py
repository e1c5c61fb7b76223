"""Express: charge the card, reserve the goods, ship the parcel. No order is kept in the book."""

from __future__ import annotations

from domain.orders.contracts import (
    ChargeCard,
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

express = Saga("express", PlaceOrder)


@express.step(timeout=PATIENCE)
def charge(o: PlaceOrder) -> ChargeCard:
    """Take the money."""
    return ChargeCard(order_id=o.order_id, card=o.card, pence=o.pence)


@charge.compensation
def refund(o: PlaceOrder) -> RefundCard:
    return RefundCard(order_id=o.order_id)


@express.step(timeout=PATIENCE)
def reserve(o: PlaceOrder) -> ReserveStock:
    """Lay the goods aside."""
    return ReserveStock(order_id=o.order_id, sku=o.sku, quantity=o.quantity)


@reserve.compensation
def release(o: PlaceOrder) -> ReleaseStock:
    return ReleaseStock(order_id=o.order_id)


@express.step(timeout=PATIENCE)
def ship(o: PlaceOrder, stock: StockReserved) -> ShipParcel:
    """Send off what was laid aside."""
    return ShipParcel(
        order_id=o.order_id, reservation=stock.reservation, quantity=o.quantity, town=o.town
    )


@ship.compensation
def recall(o: PlaceOrder) -> RecallParcel:
    return RecallParcel(order_id=o.order_id)
