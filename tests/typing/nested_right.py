"""A saga that runs another: both type checkers must have nothing to say."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from es_saga import START, ChildSaga, Command, Message, Retry, Saga, of
from es_saga.core.nested import BeginSaga, command_of, nested_command
from es_saga.testing import given


class PlaceOrder(Message):
    sku: str
    gift: bool = False


class BookShipping(Message):
    sku: str


class Charge(Command[None]):
    to = "bank"
    shipment: str


class Stocked(Message):
    shelf: str


class Stock(Command[Stocked]):
    to = "stock"


shipping = Saga("shipping", BookShipping)
order = Saga("order", PlaceOrder)


@order.check
def stock(o: PlaceOrder) -> Stock:
    return Stock()


@order.saga(shipping)
def ship(o: PlaceOrder, found: Stocked) -> BookShipping:
    return BookShipping(sku=o.sku + found.shelf)


@order.saga(
    shipping,
    after=START,
    when=lambda o: o.gift,
    timeout=timedelta(hours=1),
    retry=Retry(attempts=3),
)
def gift(o: PlaceOrder) -> BookShipping:
    return BookShipping(sku=o.sku)


@order.pivot(after=(ship, gift))
def charge(
    o: PlaceOrder, shipped: ChildSaga = of(ship), other: ChildSaga | None = of(gift)
) -> Charge:
    return Charge(shipment=shipped.saga_id)


assert_type(ship(PlaceOrder(sku="tea"), Stocked(shelf="a")), BeginSaga[BookShipping])
assert_type(of(ship), ChildSaga)
given(shipping, BookShipping(sku="tea"), child=True).held().parent_undoes().compensated()
given(shipping, BookShipping(sku="tea"), child=True).parent_closes().completed()
booking = BookShipping(sku="tea")
asked = given(shipping, booking, child=True).expect(command_of("begin", shipping))
asked.reply(ChildSaga(saga_id="order-1--ship"))
nested_command("begin", "shipping", BookShipping)(input=booking, version=1, undoable=True)
command_of("undo", shipping)(input=booking, version=1)
command_of("close", shipping)(input=booking, version=1)
