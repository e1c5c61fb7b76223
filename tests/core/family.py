"""An order that runs its shipping as a saga: for tests of parents and of children."""

from __future__ import annotations

from es_saga import ChildSaga, Refusal, Saga
from es_saga.core.events import Parent
from es_saga.core.inputs import FromParent, Start
from es_saga.core.messages import Command, Message
from es_saga.core.nested import Order, command_of


class PlaceOrder(Message):
    sku: str
    gift: bool = False


class Ship(Message):
    sku: str


class Reserve(Command[None]):
    to = "stock"
    sku: str


class Release(Command[None]):
    to = "stock"
    sku: str


class BookParcel(Command[None]):
    to = "carrier"
    sku: str


class CancelParcel(Command[None]):
    to = "carrier"
    sku: str


class Charge(Command[None]):
    to = "bank"
    shipment: str


class Thank(Command[None]):
    to = "post"
    sku: str


class No(Refusal):
    pass


shipping = Saga("shipping", Ship)


@shipping.step
def parcel(s: Ship) -> BookParcel:
    return BookParcel(sku=s.sku)


@parcel.compensation
def cancel_parcel(s: Ship) -> CancelParcel:
    return CancelParcel(sku=s.sku)


order = Saga("order", PlaceOrder)


@order.step
def reserve(o: PlaceOrder) -> Reserve:
    return Reserve(sku=o.sku)


@reserve.compensation
def release(o: PlaceOrder) -> Release:
    return Release(sku=o.sku)


@order.saga(shipping)
def ship(o: PlaceOrder) -> Ship:
    """Have it sent."""
    return Ship(sku=o.sku)


@order.pivot
def charge(o: PlaceOrder, shipment: ChildSaga) -> Charge:
    return Charge(shipment=shipment.saga_id)


ORDERS: tuple[Order, ...] = ("begin", "undo", "close")
BeginShip, UndoShip, CloseShip = (command_of(one, shipping) for one in ORDERS)
SHIPPED = ChildSaga(saga_id="order-1--ship")
TEA = PlaceOrder(sku="tea")
BY = Parent(command_id="order-1/ship/do", undoable=True)


def begun(*, undoable: bool = True) -> Start:
    parent = Parent(command_id="order-1/ship/do", undoable=undoable)
    return Start("order-1--ship", {"sku": "tea"}, message_id="m-1", parent=parent)


def ask(order: Order, name: str = "m-2") -> FromParent:
    begin = Start("order-1--ship", {"sku": "tea"}, message_id=name, parent=BY)
    return FromParent(begin, order, f"order-1/ship/{order}")
