"""The flow as it is watched: what follows what, within which time, and what takes it back."""

from __future__ import annotations

from datetime import timedelta

from domain.fulfilment.events import (
    OrderCancelled,
    OrderCreated,
    PaymentCompleted,
    PaymentDeclined,
    PaymentRefunded,
    ShipmentCreated,
    ShipmentRefused,
    StockInsufficient,
    StockReleased,
    StockReserved,
)
from es_saga import Choreography

SOON = timedelta(minutes=5)
"""After this somebody should look."""

fulfilment = Choreography("fulfilment", OrderCreated)

fulfilment.expects(PaymentCompleted, after=OrderCreated, within=SOON, unless=PaymentDeclined)
fulfilment.expects(StockReserved, after=PaymentCompleted, within=SOON, unless=StockInsufficient)
fulfilment.expects(ShipmentCreated, after=StockReserved, within=SOON, unless=ShipmentRefused)

fulfilment.undoes(StockReleased, StockReserved, after=ShipmentRefused, within=SOON)
fulfilment.undoes(
    PaymentRefunded, PaymentCompleted, after=(StockInsufficient, StockReleased), within=SOON
)
fulfilment.undoes(
    OrderCancelled, OrderCreated, after=(PaymentDeclined, PaymentRefunded), within=SOON
)
