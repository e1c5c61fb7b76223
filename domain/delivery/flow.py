"""The flow as it is watched: what is checked after what, and what takes it back."""

from __future__ import annotations

from datetime import timedelta

from domain.delivery.events import (
    ApprovalWithdrawn,
    Delivered,
    DeliveryCancelled,
    DeliveryImpossible,
    DeliveryPlanned,
    NobodyHome,
    OrderApproved,
    OrderDropped,
    OrderPlaced,
    OrderUnaffordable,
)
from es_saga import Choreography

SOON, TODAY = timedelta(minutes=5), timedelta(hours=12)

delivery = Choreography("delivery", OrderPlaced)

delivery.expects(DeliveryPlanned, after=OrderPlaced, within=SOON, unless=DeliveryImpossible)
delivery.expects(OrderApproved, after=DeliveryPlanned, within=SOON, unless=OrderUnaffordable)
delivery.expects(Delivered, after=OrderApproved, within=TODAY, unless=NobodyHome)

delivery.undoes(ApprovalWithdrawn, OrderApproved, after=NobodyHome, within=SOON)
delivery.undoes(
    DeliveryCancelled, DeliveryPlanned, after=(OrderUnaffordable, ApprovalWithdrawn), within=SOON
)
delivery.undoes(
    OrderDropped, OrderPlaced, after=(DeliveryImpossible, DeliveryCancelled), within=SOON
)
