"""A small shop, right as it stands, and the mistakes that people make in one."""

from __future__ import annotations

from datetime import timedelta

from es_saga import (
    START,
    Command,
    Message,
    OnFailedUndo,
    Participant,
    Refusal,
    Saga,
    SyncTx,
)


class PlaceOrder(Message):
    order_id: str
    sku: str
    pence: int


class StockReserved(Message):
    reservation: str


class ReserveStock(Command[StockReserved]):
    to = "stock"
    order_id: str
    sku: str


class ReleaseStock(Command[None]):
    to = "stock"
    reservation: str


class ChargeCard(Command[None]):
    to = "card"
    order_id: str
    pence: int


class RefundCard(Command[None]):
    to = "card"
    order_id: str


class ShipParcel(Command[None]):
    to = "carrier"
    order_id: str


class NoSuchAddress(Refusal):
    town: str


class SoldOut(Refusal):
    sku: str


carrier = Participant("carrier")


@carrier.handles(ShipParcel)
def on_ship(cmd: ShipParcel, tx: SyncTx) -> NoSuchAddress | None:
    return NoSuchAddress(town="Atlantis")


def right(version: int = 1) -> Saga[PlaceOrder]:
    """Reserve, then charge: each has its own undo, which bears an unknown answer."""
    saga = Saga("right", PlaceOrder, version=version)

    @saga.step
    def reserve(o: PlaceOrder) -> ReserveStock:
        return ReserveStock(order_id=o.order_id, sku=o.sku)

    @reserve.compensation
    def release(o: PlaceOrder, stock: StockReserved | None) -> ReleaseStock:
        return ReleaseStock(reservation=stock.reservation if stock else o.order_id)

    @saga.step
    def charge(o: PlaceOrder) -> ChargeCard:
        return ChargeCard(order_id=o.order_id, pence=o.pence)

    @charge.compensation
    def refund(o: PlaceOrder) -> RefundCard:
        return RefundCard(order_id=o.order_id)

    return saga


def newer() -> Saga[PlaceOrder]:
    """The next version of the right one: it ships, too."""
    saga = right(version=2)

    @saga.pivot
    def ship(o: PlaceOrder) -> ShipParcel:
        return ShipParcel(order_id=o.order_id)

    return saga


def reporting() -> Saga[PlaceOrder]:
    """The right one; if it cannot be undone it closes, and says so."""
    saga = right()
    saga.on_failed_undo = OnFailedUndo.REPORT
    return saga


def undos_swapped() -> Saga[PlaceOrder]:
    """Copied from another saga with its steps the other way round."""
    saga = Saga("undos_swapped", PlaceOrder)

    @saga.step
    def reserve(o: PlaceOrder) -> ReserveStock:
        return ReserveStock(order_id=o.order_id, sku=o.sku)

    @reserve.compensation
    def refund(o: PlaceOrder) -> RefundCard:
        return RefundCard(order_id=o.order_id)

    @saga.step
    def charge(o: PlaceOrder) -> ChargeCard:
        return ChargeCard(order_id=o.order_id, pence=o.pence)

    @charge.compensation
    def release(o: PlaceOrder) -> ReleaseStock:
        return ReleaseStock(reservation=o.order_id)

    return saga


def undo_needs_what_it_may_not_have() -> Saga[PlaceOrder]:
    """The answer is None when it never came; nobody tried that."""
    saga = Saga("undo_needs_what_it_may_not_have", PlaceOrder)

    @saga.step
    def reserve(o: PlaceOrder) -> ReserveStock:
        return ReserveStock(order_id=o.order_id, sku=o.sku)

    @reserve.compensation
    def release(o: PlaceOrder, stock: StockReserved | None) -> ReleaseStock:
        return ReleaseStock(reservation=stock.reservation)  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]  # the mistake

    return saga


def refusable_after_the_pivot() -> Saga[PlaceOrder]:
    """First the money, then the question whether there is such an address."""
    saga = Saga("refusable_after_the_pivot", PlaceOrder)

    @saga.pivot
    def charge(o: PlaceOrder) -> ChargeCard:
        return ChargeCard(order_id=o.order_id, pence=o.pence)

    @saga.step
    def ship(o: PlaceOrder) -> ShipParcel:
        return ShipParcel(order_id=o.order_id)

    return saga


def with_deadline() -> Saga[PlaceOrder]:
    """The right one, with a pivot, in a hurry."""
    saga = Saga("with_deadline", PlaceOrder, deadline=timedelta(seconds=10))

    @saga.step
    def reserve(o: PlaceOrder) -> ReserveStock:
        return ReserveStock(order_id=o.order_id, sku=o.sku)

    @reserve.compensation
    def release(o: PlaceOrder) -> ReleaseStock:
        return ReleaseStock(reservation=o.order_id)

    @saga.pivot
    def charge(o: PlaceOrder) -> ChargeCard:
        return ChargeCard(order_id=o.order_id, pence=o.pence)

    return saga


def beside() -> Saga[PlaceOrder]:
    """Reserve and charge at one time; neither waits for the other, and nothing comes after them."""
    saga = Saga("beside", PlaceOrder)

    @saga.step(after=START)
    def reserve(o: PlaceOrder) -> ReserveStock:
        return ReserveStock(order_id=o.order_id, sku=o.sku)

    @reserve.compensation
    def release(o: PlaceOrder) -> ReleaseStock:
        return ReleaseStock(reservation=o.order_id)

    @saga.step(after=START)
    def charge(o: PlaceOrder) -> ChargeCard:
        return ChargeCard(order_id=o.order_id, pence=o.pence)

    @charge.compensation
    def refund(o: PlaceOrder) -> RefundCard:
        return RefundCard(order_id=o.order_id)

    return saga


def side_by_side(steps: int) -> Saga[PlaceOrder]:
    """The same step several times, beside itself, and then the pivot."""
    saga = Saga("side_by_side", PlaceOrder)
    names: list[str] = []

    def reserve(o: PlaceOrder) -> ReserveStock:
        return ReserveStock(order_id=o.order_id, sku=o.sku)

    def release(o: PlaceOrder, stock: StockReserved | None) -> ReleaseStock:
        return ReleaseStock(reservation=stock.reservation if stock else o.order_id)

    for number in range(steps):
        reserve.__name__ = f"reserve_{number}"
        step = saga.step(after=START)(reserve)
        step.compensation(release)
        names.append(step.name)

    @saga.pivot(after=names)
    def charge(o: PlaceOrder) -> ChargeCard:
        return ChargeCard(order_id=o.order_id, pence=o.pence)

    return saga
