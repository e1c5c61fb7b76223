"""Wrong uses of sagas that run others: both type checkers must object to each marked line."""

from __future__ import annotations

from es_saga import ChildSaga, Command, Message, Saga, of


class PlaceOrder(Message):
    sku: str


class BookShipping(Message):
    sku: str


class Charge(Command[None]):
    to = "bank"


shipping = Saga("shipping", BookShipping)
order = Saga("order", PlaceOrder)


@order.saga(shipping)
def right(o: PlaceOrder) -> BookShipping:
    return BookShipping(sku=o.sku)


@order.saga(shipping)  # error: not the input of the child
def another_input(o: PlaceOrder) -> PlaceOrder:
    return o


@order.saga(shipping)  # error: a command is no input
def a_command(o: PlaceOrder) -> Charge:
    return Charge()


@order.saga(shipping)  # error: not the input of this saga
def of_another(o: BookShipping) -> BookShipping:
    return o


@order.saga(BookShipping)  # error: no saga
def no_saga(o: PlaceOrder) -> BookShipping:
    return BookShipping(sku=o.sku)


@order.saga(shipping, on_unknown="stuck")  # error: a child can always be asked again
def unknown(o: PlaceOrder) -> BookShipping:
    return BookShipping(sku=o.sku)


@order.pivot
def charge(
    o: PlaceOrder,
    shipped: Charge = of(right),  # error: that step replies something else
) -> Charge:
    return Charge()


shipped: ChildSaga = right(PlaceOrder(sku="tea"))  # error: it makes the command
