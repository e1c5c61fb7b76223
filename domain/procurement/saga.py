"""A purchase: keep the money, wait for an approval where it is dear, order, pay when it is due.

It may take weeks, and nothing runs meanwhile: what the saga waits for is in its log.
"""

from __future__ import annotations

from domain.pace import DAY, PATIENCE
from domain.procurement.contracts import (
    DEAR_PENCE,
    Approval,
    Earmark,
    Pay,
    PlaceOrder,
    Release,
    Request,
)
from es_saga import Saga

TO_APPROVE = 3 * DAY
"""After this the request has lapsed."""

TO_PAY = 3 * DAY
"""How long the supplier gives us."""

procurement = Saga("procurement", Request)


@procurement.step(timeout=PATIENCE)
def earmark(r: Request) -> Earmark:
    """Keep the money for it."""
    return Earmark(pence=r.pence)


@earmark.compensation
def release(r: Request) -> Release:
    return Release(pence=r.pence)


procurement.wait(Approval, timeout=TO_APPROVE, when=lambda r: r.pence >= DEAR_PENCE)


@procurement.pivot(timeout=PATIENCE)
def order(r: Request, approval: Approval | None) -> PlaceOrder:
    """Buy it: from here on there is somebody to be paid."""
    return PlaceOrder(
        request_id=r.request_id, item=r.item, approved_by=approval.by if approval else None
    )


procurement.sleep("due", TO_PAY)


@procurement.step(timeout=PATIENCE)
def pay(r: Request) -> Pay:
    """Spend what was kept."""
    return Pay(pence=r.pence)
