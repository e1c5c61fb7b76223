"""A flow of events between three services, for the tests."""

from __future__ import annotations

from datetime import timedelta

from es_saga.core.choreography import Choreography
from es_saga.core.messages import Event

MINUTE = timedelta(minutes=1)


class OrderEvent(Event):
    by = "orders"
    about = "order_id"
    order_id: str


class OrderCreated(OrderEvent):
    pence: int


class OrderCancelled(OrderEvent):
    pass


class PaymentEvent(Event):
    by = "payments"
    about = "order_id"
    order_id: str


class PaymentCompleted(PaymentEvent):
    pass


class PaymentDeclined(PaymentEvent):
    pass


class PaymentRefunded(PaymentEvent):
    pass


class StockReserved(OrderEvent):
    by = "stock"


class StockInsufficient(OrderEvent):
    by = "stock"


def fulfilment() -> Choreography[OrderCreated]:
    """The flow, with nothing wrong with it."""
    flow = Choreography("fulfilment", OrderCreated)
    flow.expects(PaymentCompleted, after=OrderCreated, within=MINUTE, unless=PaymentDeclined)
    flow.expects(StockReserved, after=PaymentCompleted, within=MINUTE, unless=StockInsufficient)
    flow.undoes(PaymentRefunded, PaymentCompleted, after=StockInsufficient, within=MINUTE)
    flow.undoes(
        OrderCancelled, OrderCreated, after=(PaymentRefunded, PaymentDeclined), within=MINUTE
    )
    return flow
