"""The services of order fulfilment. Each hears of others, acts in its own database, and tells."""

from __future__ import annotations

import sqlalchemy as sa

from domain.fulfilment.events import (
    OrderCancelled,
    OrderCreated,
    PaymentCompleted,
    PaymentDeclined,
    PaymentRefunded,
    ShipmentCreated,
    ShipmentRefused,
    StockInsufficient,
    StockReleased,
    StockReserved,
)
from domain.totals import counting
from es_saga import Participant, SyncTx

SHELF = 1_000
"""Pieces of each thing that the warehouse has."""

NO_CREDIT, NOWHERE = "prepaid", "Atlantis"
"""A card that is declined, and a town that no parcel goes to."""

order_tables, payment_tables, stock_tables, parcel_tables = (sa.MetaData() for _ in range(4))

placed = sa.Table(
    "placed",
    order_tables,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
)
charges = sa.Table(
    "charges",
    payment_tables,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("pence", sa.Integer, nullable=False),
)
reservations = sa.Table(
    "reservations",
    stock_tables,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("sku", sa.Text, nullable=False),
    sa.Column("quantity", sa.Integer, nullable=False),
)
parcels = sa.Table(
    "parcels",
    parcel_tables,
    # Not unique: it is the inbox that keeps a second parcel from being sent.
    sa.Column("order_id", sa.Text, nullable=False),
    sa.Column("town", sa.Text, nullable=False),
)

orders = Participant("orders", tables=order_tables, publishes=[OrderCreated, OrderCancelled])
payments = Participant(
    "payments",
    tables=payment_tables,
    publishes=[PaymentCompleted, PaymentDeclined, PaymentRefunded],
)
stock = Participant(
    "stock", tables=stock_tables, publishes=[StockReserved, StockInsufficient, StockReleased]
)
carrier = Participant("carrier", tables=parcel_tables, publishes=[ShipmentCreated, ShipmentRefused])


# ── orders ───────────────────────────────────────────────────────────────────────────────────────


def place(connection: sa.Connection, order: OrderCreated) -> None:
    """A customer orders: what a web page does, in its own transaction."""
    assert orders.outbox is not None, "it publishes"
    row = {"order_id": order.order_id, "status": "open"}
    connection.execute(sa.insert(placed), row)
    orders.outbox.add(connection, order)


@orders.on(ShipmentCreated)
def close_order(event: ShipmentCreated, tx: SyncTx) -> None:
    _set(tx, event.order_id, "shipped")


@orders.on(PaymentDeclined)
def drop_unpaid(event: PaymentDeclined, tx: SyncTx) -> None:
    _cancel(tx, event.order_id)


@orders.on(PaymentRefunded)
def drop_refunded(event: PaymentRefunded, tx: SyncTx) -> None:
    _cancel(tx, event.order_id)


def _cancel(tx: SyncTx, order_id: str) -> None:
    _set(tx, order_id, "cancelled")
    tx.publish(OrderCancelled(order_id=order_id))


def _set(tx: SyncTx, order_id: str, status: str) -> None:
    own = placed.c.order_id == order_id
    tx.connection.execute(sa.update(placed).where(own).values(status=status))


# ── payments ─────────────────────────────────────────────────────────────────────────────────────


@payments.on(OrderCreated)
def charge(event: OrderCreated, tx: SyncTx) -> None:
    if event.card == NO_CREDIT:
        tx.publish(PaymentDeclined(order_id=event.order_id))
        return
    row = {"order_id": event.order_id, "pence": event.pence}
    tx.connection.execute(sa.insert(charges), row)
    tx.publish(PaymentCompleted.model_validate(event.model_dump()))


@payments.on(StockInsufficient)
def refund_unavailable(event: StockInsufficient, tx: SyncTx) -> None:
    _refund(tx, event.order_id)


@payments.on(StockReleased)
def refund_undeliverable(event: StockReleased, tx: SyncTx) -> None:
    _refund(tx, event.order_id)


def _refund(tx: SyncTx, order_id: str) -> None:
    tx.connection.execute(sa.delete(charges).where(charges.c.order_id == order_id))
    tx.publish(PaymentRefunded(order_id=order_id))


# ── stock ────────────────────────────────────────────────────────────────────────────────────────


@stock.on(PaymentCompleted)
def reserve(event: PaymentCompleted, tx: SyncTx) -> None:
    taken = sa.select(sa.func.coalesce(sa.func.sum(reservations.c.quantity), 0))
    taken = taken.where(reservations.c.sku == event.sku)
    if tx.connection.scalars(taken).one() + event.quantity > SHELF:
        tx.publish(StockInsufficient(order_id=event.order_id))
        return
    row = {"order_id": event.order_id, "sku": event.sku, "quantity": event.quantity}
    tx.connection.execute(sa.insert(reservations), row)
    tx.publish(StockReserved.model_validate(event.model_dump()))


@stock.on(ShipmentRefused)
def release(event: ShipmentRefused, tx: SyncTx) -> None:
    own = reservations.c.order_id == event.order_id
    tx.connection.execute(sa.delete(reservations).where(own))
    tx.publish(StockReleased(order_id=event.order_id))


# ── carrier ──────────────────────────────────────────────────────────────────────────────────────


@carrier.on(StockReserved)
def ship(event: StockReserved, tx: SyncTx) -> None:
    if event.town == NOWHERE:
        tx.publish(ShipmentRefused(order_id=event.order_id))
        return
    tx.connection.execute(sa.insert(parcels), {"order_id": event.order_id, "town": event.town})
    tx.publish(ShipmentCreated(order_id=event.order_id))


# ── counting ─────────────────────────────────────────────────────────────────────────────────────


_placed = sa.select(sa.func.count()).select_from(placed)

totals = {
    "orders": counting(
        **{way: _placed.where(placed.c.status == way) for way in ("open", "shipped", "cancelled")}
    ),
    "payments": counting(pence=sa.select(sa.func.sum(charges.c.pence))),
    "stock": counting(pieces=sa.select(sa.func.sum(reservations.c.quantity))),
    "carrier": counting(parcels=sa.select(sa.func.count()).select_from(parcels)),
}
"""What counts the holdings of each."""
