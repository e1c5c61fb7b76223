"""What the services of order fulfilment tell each other.

OrderCreated ─► PaymentCompleted ─► StockReserved ─► ShipmentCreated
     │               │                   │                 │ or else
     │               │ or else           │ or else         ▼
     │               │                   │         ShipmentRefused ─► StockReleased
     │               │                   ▼                                 │
     │               │           StockInsufficient ─► PaymentRefunded ◄────┘
     │               ▼                                     │
     │        PaymentDeclined ─► OrderCancelled ◄──────────┘
"""

from __future__ import annotations

from pydantic import Field

from es_saga.participant import Event

MOST = 10**9
"""Pence or pieces of one order."""


class OfOrder(Event):
    """Something that happened to an order."""

    about = "order_id"
    order_id: str


class Onward(OfOrder):
    """It carries the order along: nobody has to ask for it."""

    card: str = Field(examples=["visa", "prepaid"])
    pence: int = Field(ge=0, le=MOST)
    sku: str
    quantity: int = Field(ge=1, le=MOST, examples=[1, 600, 1_001])
    town: str = Field(examples=["York", "Atlantis"])


class OrderCreated(Onward):
    """A customer has ordered."""

    by = "orders"


class OrderCancelled(OfOrder):
    """The order will not be delivered."""

    by = "orders"


class PaymentCompleted(Onward):
    """The card was charged."""

    by = "payments"


class PaymentDeclined(OfOrder):
    """The card was not charged, and will not be."""

    by = "payments"


class PaymentRefunded(OfOrder):
    """The customer has the money back."""

    by = "payments"


class StockReserved(Onward):
    """The goods were set aside."""

    by = "stock"


class StockInsufficient(OfOrder):
    """There is not enough of it."""

    by = "stock"


class StockReleased(OfOrder):
    """The goods are on the shelf again."""

    by = "stock"


class ShipmentCreated(OfOrder):
    """A parcel is on its way."""

    by = "carrier"


class ShipmentRefused(OfOrder):
    """No parcel goes there."""

    by = "carrier"
