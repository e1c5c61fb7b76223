"""Shipping: where we deliver, and the parcels on their way. A recalled one stays on record."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import event

from domain.orders.contracts import AddressUnknown, ParcelShipped, RecallParcel, ShipParcel
from domain.totals import count
from es_saga import Participant, Tx

TOWNS = ("Bath", "Leeds", "York")
"""Where the carrier goes, in a new database."""

tables = sa.MetaData()

towns = sa.Table("towns", tables, sa.Column("town", sa.Text, primary_key=True))

parcels = sa.Table(
    "parcels",
    tables,
    sa.Column("parcel", sa.Text, primary_key=True),
    sa.Column("reservation", sa.Text, nullable=False),
    sa.Column("quantity", sa.BigInteger, nullable=False),
    sa.Column("town", sa.Text, nullable=False),
    sa.Column("status", sa.Text, sa.CheckConstraint("status IN ('posted', 'recalled')")),
)

shipping = Participant("shipping", tables=tables)

SERVED = "SELECT 1 FROM towns WHERE town = :town"
POST = """
INSERT INTO parcels (parcel, reservation, quantity, town, status)
VALUES (:parcel, :reservation, :quantity, :town, 'posted')
"""
RECALL = "UPDATE parcels SET status = 'recalled' WHERE parcel = :parcel"


@shipping.handles(ShipParcel)
async def ship(cmd: ShipParcel, tx: Tx) -> ParcelShipped | AddressUnknown:
    if not await tx.scalar(SERVED, {"town": cmd.town}):
        return AddressUnknown(town=cmd.town)
    parcel = f"parcel {cmd.order_id}"
    await tx.execute(
        POST,
        {
            "parcel": parcel,
            "reservation": cmd.reservation,
            "quantity": cmd.quantity,
            "town": cmd.town,
        },
    )
    return ParcelShipped(parcel=parcel)


@shipping.handles(RecallParcel)
async def recall(cmd: RecallParcel, tx: Tx) -> None:
    await tx.execute(RECALL, {"parcel": f"parcel {cmd.order_id}"})


@event.listens_for(towns, "after_create")
def _draw_map(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
    connection.execute(sa.insert(towns), [{"town": town} for town in TOWNS])


def totals(engine: sa.Engine) -> dict[str, int]:
    """Pieces on their way to customers, and pieces that were called back."""
    pieces = sa.select(sa.func.sum(parcels.c.quantity))
    return count(
        engine,
        posted=pieces.where(parcels.c.status == "posted"),
        recalled=pieces.where(parcels.c.status == "recalled"),
    )
