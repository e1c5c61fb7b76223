"""Wrong uses of events: both type checkers must object to each marked line."""

from __future__ import annotations

from datetime import timedelta

from es_saga import Choreography, Message, Saga
from es_saga.participant import Event

MINUTE = timedelta(minutes=1)


class OrderPlaced(Event):
    by = "orders"
    about = "order_id"
    order_id: str


class CardCharged(OrderPlaced):
    by = "payments"


class Parcel(Message):
    order_id: str


parcel = Saga("parcel", Parcel)
parcel.starts_on(Parcel)  # error: no event
parcel.starts_on(OrderPlaced, header="traceparent")  # error: names no saga
parcel.wait(OrderPlaced, timeout=MINUTE, header="id")  # error: names no saga


@parcel.starts_on(OrderPlaced)  # error: another event
def another_event(event: CardCharged) -> Parcel:
    raise NotImplementedError


@parcel.starts_on(OrderPlaced)  # error: not the saga's input
def another_input(event: OrderPlaced) -> CardCharged:
    raise NotImplementedError


Choreography("flow", Parcel)  # error: no event
flow = Choreography("flow", OrderPlaced)
flow.expects(Parcel, after=OrderPlaced, within=MINUTE)  # error: no event
flow.expects(CardCharged, within=MINUTE)  # error: after what?
flow.expects(CardCharged, after=OrderPlaced)  # error: within which time?
flow.undoes(CardCharged, after=OrderPlaced, within=MINUTE)  # error: of what?
