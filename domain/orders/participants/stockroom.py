"""The stock: what is on the shelf, and what lies aside for an order."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import event

from domain.orders.contracts import (
    OnShelf,
    OutOfStock,
    ReleaseStock,
    ReserveStock,
    StockLevel,
    StockReserved,
)
from domain.totals import count
from es_saga import Participant, Tx

OPENING_STOCK = {"teapot": 10**9, "kettle": 10**9, "vase": 1, "unicorn": 0}
"""Pieces on the shelf in a new database."""

tables = sa.MetaData()

stock_table = sa.Table(
    "stock",
    tables,
    sa.Column("sku", sa.Text, primary_key=True),
    sa.Column("on_hand", sa.BigInteger, sa.CheckConstraint("on_hand >= 0"), nullable=False),
    sa.Column("reserved", sa.BigInteger, sa.CheckConstraint("reserved >= 0"), nullable=False),
)

reservations = sa.Table(
    "reservations",
    tables,
    sa.Column("reservation", sa.Text, primary_key=True),
    sa.Column("sku", sa.Text, nullable=False),
    sa.Column("quantity", sa.BigInteger, nullable=False),
)

stock = Participant("stock", tables=tables)

LAY_ASIDE = """
UPDATE stock SET on_hand = on_hand - :quantity, reserved = reserved + :quantity
WHERE sku = :sku AND on_hand >= :quantity
"""
PUT_BACK = """
UPDATE stock SET on_hand = on_hand + :quantity, reserved = reserved - :quantity WHERE sku = :sku
"""
NOTE = """
INSERT INTO reservations (reservation, sku, quantity) VALUES (:reservation, :sku, :quantity)
"""
FIND = "SELECT sku, quantity FROM reservations WHERE reservation = :reservation"
LOOK = "SELECT on_hand, reserved FROM stock WHERE sku = :sku"
FORGET = "DELETE FROM reservations WHERE reservation = :reservation"


def reservation_of(order_id: str) -> str:
    """The name of an order's reservation; an order has one."""
    return f"for {order_id}"


@stock.handles(ReserveStock)
async def reserve(cmd: ReserveStock, tx: Tx) -> StockReserved | OutOfStock:
    goods = {"sku": cmd.sku, "quantity": cmd.quantity}
    if not await tx.execute(LAY_ASIDE, goods):
        return OutOfStock(sku=cmd.sku)
    reservation = reservation_of(cmd.order_id)
    await tx.execute(NOTE, {"reservation": reservation, **goods})
    return StockReserved(reservation=reservation)


@stock.handles(ReleaseStock)
async def release(cmd: ReleaseStock, tx: Tx) -> None:
    reservation = reservation_of(cmd.order_id)
    held = await tx.first(FIND, {"reservation": reservation})
    assert held is not None, "only what was reserved is released"
    sku, quantity = held
    await tx.execute(PUT_BACK, {"sku": sku, "quantity": quantity})
    await tx.execute(FORGET, {"reservation": reservation})


@stock.answers(StockLevel)
async def look(query: StockLevel, tx: Tx) -> OnShelf:
    found = await tx.first(LOOK, {"sku": query.sku})
    return OnShelf(
        sku=query.sku, on_hand=found[0] if found else 0, reserved=found[1] if found else 0
    )


@event.listens_for(stock_table, "after_create")
def _fill_shelves(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
    rows = [{"sku": sku, "on_hand": n, "reserved": 0} for sku, n in OPENING_STOCK.items()]
    connection.execute(sa.insert(stock_table), rows)


def totals(engine: sa.Engine) -> dict[str, int]:
    """Pieces on the shelf, pieces laid aside, and pieces that a reservation accounts for.

    The sum of the first two never changes; the last two are the same.
    """
    return count(
        engine,
        on_hand=sa.select(sa.func.sum(stock_table.c.on_hand)),
        reserved=sa.select(sa.func.sum(stock_table.c.reserved)),
        noted=sa.select(sa.func.sum(reservations.c.quantity)),
    )
