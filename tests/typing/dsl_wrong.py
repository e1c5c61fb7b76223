"""Wrong uses of the saga language: both type checkers must object to each marked line."""

from __future__ import annotations

from datetime import timedelta

from es_saga import START, Command, Message, Retry, Saga, of


class PlaceOrder(Message):
    sku: str


class StockReserved(Message):
    reservation: str


class CardCharged(Message):
    receipt: str


class ReserveStock(Command[StockReserved]):
    to = "stock"
    sku: str


class ReleaseStock(Command[None]):
    to = "stock"


class ShipParcel(Command[None]):
    to = "shipping"


order = Saga("order", PlaceOrder)


@order.step
def reserve(o: PlaceOrder) -> ReserveStock:
    return ReserveStock(sku=o.sku)


@reserve.compensation  # error: another step's reply
def another_reply(o: PlaceOrder, paid: CardCharged) -> ReleaseStock:
    raise NotImplementedError


@reserve.compensation  # error: another step's reply, or none
def another_reply_or_none(o: PlaceOrder, paid: CardCharged | None) -> ReleaseStock:
    raise NotImplementedError


@reserve.compensation  # error: another saga's input
def another_input(o: StockReserved, stock: StockReserved | None) -> ReleaseStock:
    raise NotImplementedError


@reserve.compensation  # error: no command
def no_command(o: PlaceOrder, stock: StockReserved | None) -> None:
    raise NotImplementedError


@reserve.compensation(retry=Retry(attempts=9))  # error: another step's reply, with options
def another_reply_with_options(o: PlaceOrder, paid: CardCharged) -> ReleaseStock:
    raise NotImplementedError


@order.step  # error: another saga's input
def of_another_saga(o: StockReserved) -> ShipParcel:
    raise NotImplementedError


@order.step  # error: no command
def makes_a_string(o: PlaceOrder) -> str:
    raise NotImplementedError


@order.check  # error: no command
def makes_nothing(o: PlaceOrder) -> None:
    raise NotImplementedError


@order.pivot  # error: a coroutine is no command
async def waits(o: PlaceOrder) -> ShipParcel:
    raise NotImplementedError


@order.step
def wrong_reference(
    o: PlaceOrder,
    paid: CardCharged = of(reserve),  # error: that step replies something else
) -> ShipParcel:
    raise NotImplementedError


@order.check(on_unknown="stuck")  # error: a check has nothing to undo
def undoable_check(o: PlaceOrder) -> ShipParcel:
    raise NotImplementedError


@order.step(timeout=30)  # error: a time without its unit
def without_unit(o: PlaceOrder) -> ShipParcel:
    raise NotImplementedError


@order.step(on_unknown="ignore")  # error: no such answer to an unknown outcome
def ignores(o: PlaceOrder) -> ShipParcel:
    raise NotImplementedError


@order.step(after=3)  # error: no step, name or START
def after_three(o: PlaceOrder) -> ShipParcel:
    raise NotImplementedError


@order.step(each=lambda o: o.sku)  # error: how long the list can be is not said
def unbounded(o: PlaceOrder, letter: str) -> ReserveStock:
    raise NotImplementedError


@order.step(each=lambda o: [o.sku], most=2)
def listed(o: PlaceOrder, sku: str) -> ReserveStock:
    raise NotImplementedError


@listed.compensation  # error: it is given the item before the reply
def without_item(o: PlaceOrder, done: StockReserved | None) -> ShipParcel:
    raise NotImplementedError


reserve(PlaceOrder)  # error: the class, not an input
reserve(PlaceOrder(sku="tea"), 3)  # error: one argument too many
Saga("order", int)  # error: the input is no message
order.step(START, timedelta(1))  # error: options are given by name
