"""A purchase on credit: approve the credit, then pay the shop.

Paying is the pivot: the shop may refuse the money, and then the credit is free again.
"""

from __future__ import annotations

from domain.credit.contracts import ApproveCredit, BuyOnCredit, FreeCredit, PayShop
from domain.pace import PATIENCE
from es_saga import Saga

purchase = Saga("purchase", BuyOnCredit)


@purchase.step(timeout=PATIENCE)
def approve(p: BuyOnCredit) -> ApproveCredit:
    """Set the credit aside."""
    return ApproveCredit(purchase_id=p.purchase_id, customer=p.customer, pence=p.pence)


@approve.compensation
def free(p: BuyOnCredit) -> FreeCredit:
    return FreeCredit(purchase_id=p.purchase_id)


@purchase.pivot(timeout=PATIENCE)
def pay(p: BuyOnCredit) -> PayShop:
    """Pay the shop."""
    return PayShop(purchase_id=p.purchase_id, shop=p.shop, pence=p.pence)
