"""Right uses of events in sagas and choreographies: both type checkers have nothing to say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import assert_type

from es_saga import App, Choreography, Command, Message, Saga
from es_saga.participant import Event

MINUTE = timedelta(minutes=1)


class OrderPlaced(Event):
    by = "orders"
    about = "order_id"
    order_id: str


class OrderDropped(OrderPlaced):
    by = "orders"


class CardCharged(OrderPlaced):
    by = "payments"


class CardDeclined(OrderPlaced):
    by = "payments"


class Parcel(Message):
    order_id: str


class Ship(Command[None]):
    to = "shipping"
    order_id: str


parcel = Saga("parcel", Parcel)


@parcel.starts_on(OrderPlaced)
def begin(event: OrderPlaced) -> Parcel:
    return Parcel(order_id=event.order_id)


@parcel.starts_on(CardCharged, header="correlationid")
def begin_when_charged(event: OrderPlaced) -> Parcel:  # takes more than it must
    return Parcel(order_id=event.order_id)


assert_type(begin, Callable[[OrderPlaced], Parcel])
charged = parcel.wait(CardCharged, timeout=MINUTE, key="order_id")


@parcel.pivot
def ship(p: Parcel, payment: CardCharged) -> Ship:
    return Ship(order_id=payment.order_id)


itself = Saga("itself", OrderPlaced)
itself.starts_on(OrderPlaced, key="order_id")
itself.wait(CardCharged, timeout=MINUTE, header="sagaid")

flow = Choreography("flow", OrderPlaced, key="order_id", version=2)
flow.expects(CardCharged, after=OrderPlaced, within=MINUTE, unless=CardDeclined)
flow.undoes(OrderDropped, OrderPlaced, after=[CardDeclined], within=MINUTE)
assert_type(flow, Choreography[OrderPlaced])

app = App("shop", sagas=[parcel, itself, flow])
