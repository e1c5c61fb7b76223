"""What the two services tell each other.

    orders                              deliveries

    OrderPlaced ───────────────────────► DeliveryPlanned ─┐   or DeliveryImpossible
    OrderApproved ◄───────────────────────────────────────┘
       │ or OrderUnaffordable
       └───────────────────────────────► Delivered            or NobodyHome

and back, from wherever it was refused:

    ApprovalWithdrawn ◄───────────────── NobodyHome
    OrderUnaffordable, ApprovalWithdrawn ──► DeliveryCancelled ──► OrderDropped
    DeliveryImpossible ──────────────────────────────────────────► OrderDropped
"""

from __future__ import annotations

from pydantic import Field

from es_saga.participant import Event


class OfOrder(Event):
    """Something that happened to an order, or to its delivery."""

    about = "order_id"
    order_id: str


class OrderPlaced(OfOrder):
    """A customer wants something brought."""

    by = "orders"
    address: str = Field(examples=["Elm Street 1", "Atlantis", "Castle Rock"])
    grams: int = Field(ge=1, le=10**6, examples=[750, 25_000, 30_001])


class OrderApproved(OfOrder):
    """The customer can pay what the delivery costs."""

    by = "orders"


class OrderUnaffordable(OfOrder):
    """The delivery costs more than the customer would pay."""

    by = "orders"


class ApprovalWithdrawn(OfOrder):
    """The customer owes nothing any more."""

    by = "orders"


class OrderDropped(OfOrder):
    """Nothing will be brought."""

    by = "orders"


class DeliveryPlanned(OfOrder):
    """A van has room for it, at a price."""

    by = "deliveries"
    pence: int = Field(ge=0, le=10**6)


class DeliveryImpossible(OfOrder):
    """No van goes there, or it is too heavy."""

    by = "deliveries"
    why: str


class DeliveryCancelled(OfOrder):
    """The room in the van is free again."""

    by = "deliveries"


class Delivered(OfOrder):
    """The customer has it."""

    by = "deliveries"


class NobodyHome(OfOrder):
    """The van came back with it."""

    by = "deliveries"
