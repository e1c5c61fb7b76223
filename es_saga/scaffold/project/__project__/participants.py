"""The services. Each handler runs in a transaction of its service's own database.

A handler may count on its command coming once: what comes again is answered from memory, and an
undo that overtakes its step makes the step harmless. What a refusal has written is rolled back.
"""

from __future__ import annotations

import sqlalchemy as sa
from es_saga import Participant, Tx
from sqlalchemy import event

from __project__.messages import (
    CardDeclined,
    ChargeCard,
    OutOfStock,
    ReleaseStock,
    ReserveStock,
    SendParcel,
    StockReserved,
)

# ── stock ────────────────────────────────────────────────────────────────────────────────────────

OPENING_STOCK = {"lamp": 1_000, "unicorn": 0}
"""Pieces on the shelf in a new database."""

stock_tables = sa.MetaData()
shelf = sa.Table(
    "shelf",
    stock_tables,
    sa.Column("sku", sa.Text, primary_key=True),
    sa.Column("pieces", sa.BigInteger, sa.CheckConstraint("pieces >= 0"), nullable=False),
)
reservations = sa.Table(
    "reservations",
    stock_tables,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("sku", sa.Text, nullable=False),
)
stock = Participant("stock", tables=stock_tables)


@stock.handles(ReserveStock)
async def reserve(cmd: ReserveStock, tx: Tx) -> StockReserved | OutOfStock:
    taken = await tx.execute(
        "UPDATE shelf SET pieces = pieces - 1 WHERE sku = :sku AND pieces > 0", {"sku": cmd.sku}
    )
    if not taken:
        return OutOfStock(sku=cmd.sku)
    await tx.execute(
        "INSERT INTO reservations (order_id, sku) VALUES (:order_id, :sku)",
        {"order_id": cmd.order_id, "sku": cmd.sku},
    )
    return StockReserved(reservation=f"for {cmd.order_id}")


@stock.handles(ReleaseStock)
async def release(cmd: ReleaseStock, tx: Tx) -> None:
    order = {"order_id": cmd.order_id}
    await tx.execute(
        "UPDATE shelf SET pieces = pieces + 1"
        " WHERE sku = (SELECT sku FROM reservations WHERE order_id = :order_id)",
        order,
    )
    await tx.execute("DELETE FROM reservations WHERE order_id = :order_id", order)


@event.listens_for(shelf, "after_create")
def _fill_the_shelf(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
    rows = [{"sku": sku, "pieces": pieces} for sku, pieces in OPENING_STOCK.items()]
    connection.execute(sa.insert(shelf), rows)


# ── payments ─────────────────────────────────────────────────────────────────────────────────────

OPENING_BALANCES = {"visa": 10**12, "prepaid": 0}
"""Pence behind each card in a new database."""

payment_tables = sa.MetaData()
cards = sa.Table(
    "cards",
    payment_tables,
    sa.Column("card", sa.Text, primary_key=True),
    sa.Column("pence", sa.BigInteger, sa.CheckConstraint("pence >= 0"), nullable=False),
)
charges = sa.Table(
    "charges",
    payment_tables,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("pence", sa.BigInteger, nullable=False),
)
payments = Participant("payments", tables=payment_tables)


@payments.handles(ChargeCard)
async def charge(cmd: ChargeCard, tx: Tx) -> CardDeclined | None:
    taken = await tx.execute(
        "UPDATE cards SET pence = pence - :pence WHERE card = :card AND pence >= :pence",
        {"card": cmd.card, "pence": cmd.pence},
    )
    if not taken:
        return CardDeclined(card=cmd.card)
    await tx.execute(
        "INSERT INTO charges (order_id, pence) VALUES (:order_id, :pence)",
        {"order_id": cmd.order_id, "pence": cmd.pence},
    )
    return None


@event.listens_for(cards, "after_create")
def _open_the_accounts(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
    rows = [{"card": card, "pence": pence} for card, pence in OPENING_BALANCES.items()]
    connection.execute(sa.insert(cards), rows)


# ── shipping ─────────────────────────────────────────────────────────────────────────────────────

shipping_tables = sa.MetaData()
parcels = sa.Table(
    "parcels",
    shipping_tables,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("reservation", sa.Text, nullable=False),
)
shipping = Participant("shipping", tables=shipping_tables)


@shipping.handles(SendParcel)
async def send(cmd: SendParcel, tx: Tx) -> None:
    await tx.execute(
        "INSERT INTO parcels (order_id, reservation) VALUES (:order_id, :reservation)",
        {"order_id": cmd.order_id, "reservation": cmd.reservation},
    )
