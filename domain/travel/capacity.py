"""Places that are taken one at a time: the seats of a flight, the rooms of a hotel."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import event

from domain.totals import count
from es_saga import Tx


class Capacity:
    """Two tables: how many places are free and taken, and who has one.

    Args:
        name: of the tables; one word.
        opening: free places in a new database.
    """

    def __init__(self, name: str, opening: Mapping[str, int]) -> None:
        self.tables = sa.MetaData()
        self.places = sa.Table(
            name,
            self.tables,
            sa.Column("place", sa.Text, primary_key=True),
            sa.Column("free", sa.BigInteger, sa.CheckConstraint("free >= 0"), nullable=False),
            sa.Column("taken", sa.BigInteger, sa.CheckConstraint("taken >= 0"), nullable=False),
        )
        self.bookings = sa.Table(
            f"{name}_bookings",
            self.tables,
            sa.Column("booking", sa.Text, primary_key=True),
            sa.Column("place", sa.Text, nullable=False),
        )
        self._name = name
        self._take = (
            f"UPDATE {name} SET free = free - 1, taken = taken + 1"
            " WHERE place = :place AND free > 0"
        )
        self._free = f"UPDATE {name} SET free = free + 1, taken = taken - 1 WHERE place = :place"
        self._note = f"INSERT INTO {name}_bookings (booking, place) VALUES (:booking, :place)"
        self._find = f"SELECT place FROM {name}_bookings WHERE booking = :booking"
        self._forget = f"DELETE FROM {name}_bookings WHERE booking = :booking"

        @event.listens_for(self.places, "after_create")
        def open_places(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
            rows = [{"place": place, "free": n, "taken": 0} for place, n in opening.items()]
            connection.execute(sa.insert(self.places), rows)

    async def take(self, tx: Tx, place: str, trip_id: str) -> str | None:
        """Take a place; the booking, or None where none is free."""
        if not await tx.execute(self._take, {"place": place}):
            return None
        booking = f"{self._name} {trip_id}"
        await tx.execute(self._note, {"booking": booking, "place": place})
        return booking

    async def free(self, tx: Tx, trip_id: str) -> None:
        """Give back the place that was taken for this trip."""
        booking = f"{self._name} {trip_id}"
        place = await tx.scalar(self._find, {"booking": booking})
        assert place is not None, "only what was taken is given back"
        await tx.execute(self._free, {"place": place})
        await tx.execute(self._forget, {"booking": booking})

    def totals(self, engine: sa.Engine) -> dict[str, int]:
        """Free places, taken ones, and bookings.

        The sum of the first two never changes; the last two are the same.
        """
        return count(
            engine,
            free=sa.select(sa.func.sum(self.places.c.free)),
            taken=sa.select(sa.func.sum(self.places.c.taken)),
            bookings=sa.select(sa.func.count()).select_from(self.bookings),
        )
