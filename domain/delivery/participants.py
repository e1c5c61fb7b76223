"""The two services. Each checks what the other one says, and has the last word on its own."""

from __future__ import annotations

import sqlalchemy as sa

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
from es_saga import Participant, SyncTx

NOWHERE, AWAY = "Atlantis", "Castle Rock"
"""An address that no van goes to, and one where nobody ever opens."""

MAX_GRAMS, PENCE_A_KILO, MOST_PENCE = 30_000, 100, 2_000
"""What a van takes, what that costs, and what a customer pays for a delivery at most."""

order_tables, delivery_tables = sa.MetaData(), sa.MetaData()

wanted = sa.Table(
    "wanted",
    order_tables,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("owed_pence", sa.Integer, nullable=False),
)
planned = sa.Table(
    "planned",
    delivery_tables,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("grams", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
)

orders = Participant(
    "orders",
    tables=order_tables,
    publishes=[OrderPlaced, OrderApproved, OrderUnaffordable, ApprovalWithdrawn, OrderDropped],
)
deliveries = Participant(
    "deliveries",
    tables=delivery_tables,
    publishes=[DeliveryPlanned, DeliveryImpossible, DeliveryCancelled, Delivered, NobodyHome],
)


# ── orders ───────────────────────────────────────────────────────────────────────────────────────


def place(connection: sa.Connection, order: OrderPlaced) -> None:
    """A customer orders, in a transaction of the shop's own."""
    assert orders.outbox is not None, "it publishes"
    row = {"order_id": order.order_id, "status": "placed", "owed_pence": 0}
    connection.execute(sa.insert(wanted), row)
    orders.outbox.add(connection, order)


@orders.on(DeliveryPlanned)
def approve(event: DeliveryPlanned, tx: SyncTx) -> None:
    if event.pence > MOST_PENCE:
        _set_order(tx, event.order_id, "unaffordable", 0)
        tx.publish(OrderUnaffordable(order_id=event.order_id))
        return
    _set_order(tx, event.order_id, "approved", event.pence)
    tx.publish(OrderApproved(order_id=event.order_id))


@orders.on(Delivered)
def close(event: Delivered, tx: SyncTx) -> None:
    own = wanted.c.order_id == event.order_id
    tx.connection.execute(sa.update(wanted).where(own).values(status="delivered"))


@orders.on(NobodyHome)
def withdraw(event: NobodyHome, tx: SyncTx) -> None:
    _set_order(tx, event.order_id, "withdrawn", 0)
    tx.publish(ApprovalWithdrawn(order_id=event.order_id))


@orders.on(DeliveryImpossible)
def drop_impossible(event: DeliveryImpossible, tx: SyncTx) -> None:
    _drop(tx, event.order_id)


@orders.on(DeliveryCancelled)
def drop_cancelled(event: DeliveryCancelled, tx: SyncTx) -> None:
    _drop(tx, event.order_id)


def _drop(tx: SyncTx, order_id: str) -> None:
    _set_order(tx, order_id, "dropped", 0)
    tx.publish(OrderDropped(order_id=order_id))


def _set_order(tx: SyncTx, order_id: str, status: str, owed_pence: int) -> None:
    own = wanted.c.order_id == order_id
    values = {"status": status, "owed_pence": owed_pence}
    tx.connection.execute(sa.update(wanted).where(own).values(values))


# ── deliveries ───────────────────────────────────────────────────────────────────────────────────


@deliveries.on(OrderPlaced)
def plan(event: OrderPlaced, tx: SyncTx) -> None:
    if event.address == NOWHERE or event.grams > MAX_GRAMS:
        why = "too heavy" if event.grams > MAX_GRAMS else "no van goes there"
        tx.publish(DeliveryImpossible(order_id=event.order_id, why=why))
        return
    row = {"order_id": event.order_id, "address": event.address, "grams": event.grams}
    tx.connection.execute(sa.insert(planned), row | {"status": "planned"})
    pence = event.grams * PENCE_A_KILO // 1_000
    tx.publish(DeliveryPlanned(order_id=event.order_id, pence=pence))


@deliveries.on(OrderApproved)
def deliver(event: OrderApproved, tx: SyncTx) -> None:
    own = planned.c.order_id == event.order_id
    address = tx.connection.scalars(sa.select(planned.c.address).where(own)).one()
    if address == AWAY:
        tx.publish(NobodyHome(order_id=event.order_id))
        return
    tx.connection.execute(sa.update(planned).where(own).values(status="delivered"))
    tx.publish(Delivered(order_id=event.order_id))


@deliveries.on(OrderUnaffordable)
def cancel_unaffordable(event: OrderUnaffordable, tx: SyncTx) -> None:
    _cancel(tx, event.order_id)


@deliveries.on(ApprovalWithdrawn)
def cancel_withdrawn(event: ApprovalWithdrawn, tx: SyncTx) -> None:
    _cancel(tx, event.order_id)


def _cancel(tx: SyncTx, order_id: str) -> None:
    own = planned.c.order_id == order_id
    tx.connection.execute(sa.update(planned).where(own).values(status="cancelled"))
    tx.publish(DeliveryCancelled(order_id=order_id))
