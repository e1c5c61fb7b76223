"""The order book. A cancelled order stays in it, marked: that much of a sale is never undone."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import event

from domain.orders.contracts import CancelOrder, CreateOrder, OrderCreated, OrderRejected
from domain.totals import count
from es_saga import Participant, Tx

BARRED = ("mallory",)
"""Customers we no longer sell to, in a new book."""

tables = sa.MetaData()

orders_table = sa.Table(
    "orders",
    tables,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("sku", sa.Text, nullable=False),
    sa.Column("quantity", sa.BigInteger, nullable=False),
    sa.Column("pence", sa.BigInteger, nullable=False),
    sa.Column("status", sa.Text, sa.CheckConstraint("status IN ('placed', 'cancelled')")),
)

barred = sa.Table("barred", tables, sa.Column("customer", sa.Text, primary_key=True))

orders = Participant("orders", tables=tables)

IS_BARRED = "SELECT 1 FROM barred WHERE customer = :customer"
ENTER = """
INSERT INTO orders (order_id, customer, sku, quantity, pence, status)
VALUES (:order_id, :customer, :sku, :quantity, :pence, 'placed')
ON CONFLICT (order_id) DO NOTHING
"""
CANCEL = "UPDATE orders SET status = 'cancelled' WHERE order_id = :order_id"


@orders.handles(CreateOrder)
async def create(cmd: CreateOrder, tx: Tx) -> OrderCreated | OrderRejected:
    if await tx.scalar(IS_BARRED, {"customer": cmd.customer}):
        return OrderRejected(reason="we do not sell to this customer")
    if not await tx.execute(ENTER, cmd.model_dump()):
        return OrderRejected(reason="there is an order of this number")
    return OrderCreated(order_id=cmd.order_id)


@orders.handles(CancelOrder)
async def cancel(cmd: CancelOrder, tx: Tx) -> None:
    await tx.execute(CANCEL, {"order_id": cmd.order_id})


@event.listens_for(barred, "after_create")
def _bar(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
    connection.execute(sa.insert(barred), [{"customer": customer} for customer in BARRED])


def totals(engine: sa.Engine) -> dict[str, int]:
    """How many orders stand, and how many were cancelled."""
    number = sa.select(sa.func.count()).select_from(orders_table)
    return count(
        engine,
        placed=number.where(orders_table.c.status == "placed"),
        cancelled=number.where(orders_table.c.status == "cancelled"),
    )
