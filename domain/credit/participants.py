"""The lender, and the shops it pays."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import event

from domain.credit.contracts import (
    ApproveCredit,
    CreditApproved,
    FreeCredit,
    LimitExceeded,
    PayShop,
    ShopClosed,
    ShopPaid,
)
from domain.totals import count
from es_saga import Participant, Tx

OPENING_LIMITS = {"ada": 10**12, "spendthrift": 10}
"""Pence that each customer may owe, in a new database."""

SHOPS = ("bookshop", "bakery")
"""Shops that take our money, in a new database."""

# ── the lender ───────────────────────────────────────────────────────────────────────────────────

credit_tables = sa.MetaData()

limits = sa.Table(
    "limits",
    credit_tables,
    sa.Column("customer", sa.Text, primary_key=True),
    sa.Column("open", sa.BigInteger, sa.CheckConstraint("open >= 0"), nullable=False),
)

approvals = sa.Table(
    "approvals",
    credit_tables,
    sa.Column("approval", sa.Text, primary_key=True),
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("pence", sa.BigInteger, nullable=False),
)

credit = Participant("credit", tables=credit_tables)

SET_ASIDE = "UPDATE limits SET open = open - :pence WHERE customer = :customer AND open >= :pence"
GIVE_BACK = "UPDATE limits SET open = open + :pence WHERE customer = :customer"
NOTE = "INSERT INTO approvals (approval, customer, pence) VALUES (:approval, :customer, :pence)"
FIND = "SELECT customer, pence FROM approvals WHERE approval = :approval"
FORGET = "DELETE FROM approvals WHERE approval = :approval"


@credit.handles(ApproveCredit)
async def approve(cmd: ApproveCredit, tx: Tx) -> CreditApproved | LimitExceeded:
    asked = {"customer": cmd.customer, "pence": cmd.pence}
    if not await tx.execute(SET_ASIDE, asked):
        return LimitExceeded(customer=cmd.customer)
    approval = f"approval {cmd.purchase_id}"
    await tx.execute(NOTE, {"approval": approval, **asked})
    return CreditApproved(approval=approval)


@credit.handles(FreeCredit)
async def free(cmd: FreeCredit, tx: Tx) -> None:
    approved = tx.undoes(CreditApproved)
    assert approved is not None, "only what was approved is freed"
    held = await tx.first(FIND, {"approval": approved.approval})
    assert held is not None, "an approval stands until it is freed"
    customer, pence = held
    await tx.execute(GIVE_BACK, {"customer": customer, "pence": pence})
    await tx.execute(FORGET, {"approval": approved.approval})


@event.listens_for(limits, "after_create")
def _set_limits(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
    rows = [{"customer": customer, "open": pence} for customer, pence in OPENING_LIMITS.items()]
    connection.execute(sa.insert(limits), rows)


def credit_totals(engine: sa.Engine) -> dict[str, int]:
    """Pence that may still be lent, and pence that are. Their sum never changes."""
    return count(
        engine,
        open=sa.select(sa.func.sum(limits.c.open)),
        approved=sa.select(sa.func.sum(approvals.c.pence)),
    )


# ── the shops ────────────────────────────────────────────────────────────────────────────────────

merchant_tables = sa.MetaData()

shops = sa.Table("shops", merchant_tables, sa.Column("shop", sa.Text, primary_key=True))

shop_payments = sa.Table(
    "shop_payments",
    merchant_tables,
    sa.Column("payment", sa.Text, primary_key=True),
    sa.Column("shop", sa.Text, nullable=False),
    sa.Column("pence", sa.BigInteger, nullable=False),
)

merchant = Participant("merchant", tables=merchant_tables)

IS_OPEN = "SELECT 1 FROM shops WHERE shop = :shop"
PAY = "INSERT INTO shop_payments (payment, shop, pence) VALUES (:payment, :shop, :pence)"


@merchant.handles(PayShop)
async def pay(cmd: PayShop, tx: Tx) -> ShopPaid | ShopClosed:
    if not await tx.scalar(IS_OPEN, {"shop": cmd.shop}):
        return ShopClosed(shop=cmd.shop)
    payment = f"payment {cmd.purchase_id}"
    await tx.execute(PAY, {"payment": payment, "shop": cmd.shop, "pence": cmd.pence})
    return ShopPaid(payment=payment)


@event.listens_for(shops, "after_create")
def _open_shops(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
    connection.execute(sa.insert(shops), [{"shop": shop} for shop in SHOPS])


def merchant_totals(engine: sa.Engine) -> dict[str, int]:
    """Pence that the shops were paid."""
    return count(engine, paid=sa.select(sa.func.sum(shop_payments.c.pence)))
