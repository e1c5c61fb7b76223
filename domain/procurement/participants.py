"""The budget, of which every penny is available, reserved or consumed; and the supplier."""

from __future__ import annotations

import sqlalchemy as sa

from domain.allotment import Allotment
from domain.procurement.contracts import Earmark, OverBudget, Pay, PlaceOrder, Release
from domain.totals import counting
from es_saga import Participant, SyncTx

PURSE = "purse"

money = Allotment("money", {PURSE: 50_000_000})
supplier_tables = sa.MetaData()

deliveries = sa.Table(
    "deliveries",
    supplier_tables,
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("approved_by", sa.Text),
)

budget = Participant("budget", tables=money.tables)
supplier = Participant("supplier", tables=supplier_tables)


@budget.handles(Earmark)
def earmark(cmd: Earmark, tx: SyncTx) -> OverBudget | None:
    return None if money.hold(tx, PURSE, cmd.pence) else OverBudget()


@budget.handles(Release)
def release(cmd: Release, tx: SyncTx) -> None:
    money.cancel(tx, PURSE, cmd.pence)


@budget.handles(Pay)
def pay(cmd: Pay, tx: SyncTx) -> None:
    money.confirm(tx, PURSE, cmd.pence)


@supplier.handles(PlaceOrder)
def deliver(cmd: PlaceOrder, tx: SyncTx) -> None:
    tx.execute(sa.insert(deliveries).values(cmd.model_dump()))


totals = {
    "budget": money.totals,
    "supplier": counting(
        delivered=sa.select(sa.func.count()).select_from(deliveries),
        approved=sa.select(sa.func.count(deliveries.c.approved_by)),
    ),
}
"""What counts the holdings of each."""
