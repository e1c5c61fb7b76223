"""Right uses of the saga language: both type checkers must have nothing to say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import assert_type

from es_saga import START, Command, Message, OnFailedUndo, Retry, Saga, gather, of


class PlaceOrder(Message):
    order_id: str
    sku: str
    pence: int
    gifts: tuple[str, ...] = ()


class StockReserved(Message):
    reservation: str


class CardCharged(Message):
    receipt: str


class ReserveStock(Command[StockReserved]):
    to = "stock"
    order_id: str


class ReleaseStock(Command[None]):
    to = "stock"
    reservation: str | None


class ChargeCard(Command[CardCharged]):
    to = "payments"
    pence: int


class RefundCard(Command[None]):
    to = "payments"
    receipt: str | None
    reservation: str


class CheckAddress(Command[None]):
    to = "shipping"


class ShipParcel(Command[None]):
    to = "shipping"
    reservation: str


order = Saga("order", PlaceOrder, deadline=timedelta(hours=1), on_failed_undo=OnFailedUndo.REPORT)
assert_type(order, Saga[PlaceOrder])


@order.check(after=START)
def look(o: PlaceOrder) -> CheckAddress:
    return CheckAddress()


@order.step(after=START, timeout=timedelta(minutes=1), retry=Retry(attempts=5))
def reserve(o: PlaceOrder) -> ReserveStock:
    return ReserveStock(order_id=o.order_id)


@reserve.compensation
def release(o: PlaceOrder, stock: StockReserved | None) -> ReleaseStock:
    return ReleaseStock(reservation=stock.reservation if stock else None)


@order.step(after=(look, reserve))
def charge(o: PlaceOrder, stock: StockReserved) -> ChargeCard:
    return ChargeCard(pence=o.pence + len(stock.reservation))


@charge.compensation(timeout=timedelta(minutes=5), retry=Retry(attempts=None))
def refund(o: PlaceOrder, paid: CardCharged | None, stock: StockReserved) -> RefundCard:
    return RefundCard(receipt=paid.receipt if paid else None, reservation=stock.reservation)


@order.step(on_unknown="stuck")
def charge_again(o: PlaceOrder) -> ChargeCard:
    return ChargeCard(pence=o.pence)


@charge_again.compensation
def refund_again(
    o: PlaceOrder, paid: CardCharged, stock: StockReserved = of(reserve)
) -> RefundCard:
    return RefundCard(receipt=paid.receipt, reservation=stock.reservation)


@order.step(after=["charge_again", reserve])
def notify(o: PlaceOrder) -> CheckAddress:
    return CheckAddress()


@notify.compensation
def take_back(o: PlaceOrder) -> ReleaseStock:
    return ReleaseStock(reservation=None)


@order.step
def notify_again(o: PlaceOrder) -> CheckAddress:
    return CheckAddress()


@notify_again.compensation
def take_back_again(o: PlaceOrder, nothing: None, stock: StockReserved) -> ReleaseStock:
    return ReleaseStock(reservation=stock.reservation)


@order.pivot
def ship(o: PlaceOrder, stock: StockReserved, first: CardCharged = of(charge)) -> ShipParcel:
    return ShipParcel(reservation=stock.reservation + first.receipt)


@order.step(each=lambda o: o.gifts, most=5, at_once=2)
def wrap(o: PlaceOrder, gift: str, stock: StockReserved = of(reserve)) -> ReserveStock:
    return ReserveStock(order_id=gift)


def costs(o: PlaceOrder, wrapped: list[StockReserved]) -> list[int]:
    return [len(one.reservation) for one in wrapped]


@order.check(each=costs, most=5, after=gather(wrap))
def weigh(o: PlaceOrder, cost: int, wrapped: list[StockReserved] = of(wrap)) -> CheckAddress:
    return CheckAddress()


@wrap.compensation
def unwrap(o: PlaceOrder, gift: str, done: StockReserved | None) -> ReleaseStock:
    return ReleaseStock(reservation=gift)


@wrap.compensation(retry=Retry(attempts=3))
def unwrap_again(o: PlaceOrder, gift: str) -> ReleaseStock:
    return ReleaseStock(reservation=gift)


an_order = PlaceOrder(order_id="o-1", sku="tea", pence=450)
reserved = StockReserved(reservation="r-1")
charged = CardCharged(receipt="c-1")
assert_type(reserve(an_order), ReserveStock)
assert_type(release(an_order, reserved), ReleaseStock)
assert_type(release(an_order, None), ReleaseStock)
assert_type(refund(an_order, charged, reserved), RefundCard)
assert_type(refund(an_order, None, stock=reserved), RefundCard)
assert_type(refund_again(an_order, charged), RefundCard)
assert_type(ship(an_order, reserved), ShipParcel)
assert_type(ship(an_order, reserved, first=charged), ShipParcel)
assert_type(of(reserve), StockReserved)
assert_type(of(look), None)
assert_type(of(wrap), list[StockReserved])
assert_type(unwrap(an_order, "cup", None), ReleaseStock)
assert_type(take_back, Callable[[PlaceOrder], ReleaseStock])
