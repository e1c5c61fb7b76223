"""The warehouse, of which every piece is available, reserved or consumed; and what shops owe."""

from __future__ import annotations

import sqlalchemy as sa

from domain.allotment import Allotment
from domain.totals import counting
from domain.wholesale.contracts import (
    CreditRefused,
    Invoice,
    OutOfStock,
    ReleaseLine,
    Reserved,
    ReserveLine,
    ShipLine,
)
from es_saga import Participant, SyncTx

PRICES = {"cup": 300, "pan": 1_500, "unicorn": 99_999}
"""Pence for a piece."""

CREDIT = 100_000
"""Pence that an order may cost."""

shelves = Allotment("shelves", {"cup": 1_000_000, "pan": 1_000_000, "unicorn": 0})
account_tables = sa.MetaData()

owed = sa.Table(
    "owed",
    account_tables,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("shop", sa.Text, nullable=False),
    sa.Column("pence", sa.BigInteger, nullable=False),
)

warehouse = Participant("warehouse", tables=shelves.tables)
accounts = Participant("accounts", tables=account_tables)


@warehouse.handles(ReserveLine)
def reserve(cmd: ReserveLine, tx: SyncTx) -> Reserved | OutOfStock:
    if not shelves.hold(tx, cmd.sku, cmd.pieces):
        return OutOfStock(sku=cmd.sku)
    return Reserved(pence=cmd.pieces * PRICES[cmd.sku])


@warehouse.handles(ReleaseLine)
def release(cmd: ReleaseLine, tx: SyncTx) -> None:
    shelves.cancel(tx, cmd.sku, cmd.pieces)


@warehouse.handles(ShipLine)
def ship(cmd: ShipLine, tx: SyncTx) -> None:
    shelves.confirm(tx, cmd.sku, cmd.pieces)


@accounts.handles(Invoice)
def write(cmd: Invoice, tx: SyncTx) -> CreditRefused | None:
    if cmd.pence > CREDIT:
        return CreditRefused(pence=cmd.pence)
    tx.execute(sa.insert(owed).values(cmd.model_dump()))
    return None


totals = {
    "warehouse": shelves.totals,
    "accounts": counting(pence=sa.select(sa.func.sum(owed.c.pence))),
}
"""What counts the holdings of each."""
