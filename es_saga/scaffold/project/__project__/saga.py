"""An order: reserve a piece, charge the card, send the parcel.

Steps are plain functions that say what is to be asked of whom. They are called again when a history
is replayed, so they look at nothing but their arguments: no clock, no randomness, no database.
"""

from __future__ import annotations

from es_saga import Saga

from __project__.messages import (
    ChargeCard,
    PlaceOrder,
    ReleaseStock,
    ReserveStock,
    SendParcel,
    StockReserved,
)

order = Saga("order", PlaceOrder)


@order.step
def reserve(o: PlaceOrder) -> ReserveStock:
    """Before the pivot every step has a compensation."""
    return ReserveStock(order_id=o.order_id, sku=o.sku)


@reserve.compensation
def release(o: PlaceOrder) -> ReleaseStock:
    """By the order's number, for the answer to the reservation may never have come."""
    return ReleaseStock(order_id=o.order_id)


@order.pivot
def charge(o: PlaceOrder) -> ChargeCard:
    """The point of no return: before it all is undone, after it the saga only goes on."""
    return ChargeCard(order_id=o.order_id, card=o.card, pence=o.pence)


@order.step
def send(o: PlaceOrder, stock: StockReserved) -> SendParcel:
    """After the pivot: retried until done. `stock` is the reply of an earlier step."""
    return SendParcel(order_id=o.order_id, reservation=stock.reservation)
