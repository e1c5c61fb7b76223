"""Things that are set aside before they are sold: seats of a show, pence of an account."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import event

from domain.totals import count
from es_saga import SyncTx


class Allotment:
    """A table: how many of each thing are available, reserved and consumed.

    Their sum never changes: what is held, confirmed or cancelled only moves from one to another.

    Args:
        name: of the table; one word.
        opening: what is available in a new database.
    """

    def __init__(self, name: str, opening: Mapping[str, int]) -> None:
        self.tables = sa.MetaData()
        columns = ("available", "reserved", "consumed")
        self.table = sa.Table(
            name,
            self.tables,
            sa.Column("thing", sa.Text, primary_key=True),
            *(
                sa.Column(column, sa.BigInteger, sa.CheckConstraint(f"{column} >= 0"))
                for column in columns
            ),
        )
        where = "WHERE thing = :thing"
        self._hold = (
            f"UPDATE {name} SET available = available - :n, reserved = reserved + :n"
            f" {where} AND available >= :n"
        )
        self._confirm = (
            f"UPDATE {name} SET reserved = reserved - :n, consumed = consumed + :n {where}"
        )
        self._cancel = (
            f"UPDATE {name} SET reserved = reserved - :n, available = available + :n {where}"
        )

        @event.listens_for(self.table, "after_create")
        def open_table(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
            rows = [
                {"thing": thing, "available": n, "reserved": 0, "consumed": 0}
                for thing, n in opening.items()
            ]
            connection.execute(sa.insert(self.table), rows)

    def hold(self, tx: SyncTx, thing: str, n: int) -> bool:
        """Set `n` aside; False where there are not so many."""
        return bool(tx.execute(self._hold, {"thing": thing, "n": n}))

    def confirm(self, tx: SyncTx, thing: str, n: int) -> None:
        """Hand over what was set aside."""
        tx.execute(self._confirm, {"thing": thing, "n": n})

    def cancel(self, tx: SyncTx, thing: str, n: int) -> None:
        """Put back what was set aside."""
        tx.execute(self._cancel, {"thing": thing, "n": n})

    def everything(self) -> sa.Select[int]:
        """A query for available, reserved and consumed together, which is always the same."""
        columns = self.table.c
        return sa.select(sa.func.sum(columns.available + columns.reserved + columns.consumed))

    def totals(self, engine: sa.Engine) -> dict[str, int]:
        """What is available, reserved and consumed."""
        columns = self.table.c
        return count(
            engine,
            available=sa.select(sa.func.sum(columns.available)),
            reserved=sa.select(sa.func.sum(columns.reserved)),
            consumed=sa.select(sa.func.sum(columns.consumed)),
        )
