"""What an order does, told in its own messages; and what holds of it whatever goes wrong."""

from __future__ import annotations

from es_saga.testing import check_saga, given

from __project__ import app, invariant, order
from __project__.messages import (
    CardDeclined,
    ChargeCard,
    OutOfStock,
    PlaceOrder,
    ReleaseStock,
    ReserveStock,
    SendParcel,
    StockReserved,
)

AN_ORDER = PlaceOrder(order_id="1", sku="lamp", card="visa", pence=1_999)


def test_an_order_is_reserved_paid_and_sent() -> None:
    reserved = given(order, AN_ORDER).expect(ReserveStock).reply(StockReserved(reservation="r-1"))
    paid = reserved.expect(ChargeCard).reply()
    paid.expect(SendParcel(order_id="1", reservation="r-1")).reply().completed()


def test_a_declined_card_gives_the_stock_back() -> None:
    reserved = given(order, AN_ORDER).expect(ReserveStock).reply(StockReserved(reservation="r-1"))
    declined = reserved.expect(ChargeCard).refuse(CardDeclined(card="visa"))
    declined.expect(ReleaseStock).reply().compensated()


def test_nothing_is_undone_where_nothing_was_done() -> None:
    given(order, AN_ORDER).expect(ReserveStock).refuse(OutOfStock(sku="lamp")).compensated()


def test_nothing_is_lost_whatever_goes_wrong() -> None:
    services = app.participants.values()
    check_saga(order, participants=services, invariant=invariant, residue=(), examples=20)
