"""A journal of what sagas read and write on records that they share, for the finder of anomalies.

    accesses = Accesses(tables)
    accesses.read(tx, "plot oak")
    accesses.write(tx, "plot oak")

A row each, committed with the effect, in the order of commits. Declare what others could be misled
by; a simulated world then objects to every anomaly that it comes upon (law L70).
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from es_saga.participant.tx import Transaction, work_of

ACCESSES: Final = "es_accesses"

_NOTE = f"""
INSERT INTO {ACCESSES} (saga, kind, record) VALUES (:saga, :kind, :record)
"""


class Accesses:
    """The journal of one participant; its table is added to `tables`."""

    def __init__(self, tables: sa.MetaData) -> None:
        number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
        sa.Table(
            ACCESSES,
            tables,
            sa.Column("number", number, primary_key=True, autoincrement=True),
            sa.Column("saga", sa.Text, nullable=False),
            sa.Column("kind", sa.Text, nullable=False),
            sa.Column("record", sa.Text, nullable=False),
        )

    def read(self, tx: Transaction, record: str) -> None:
        """The saga has read the record, and goes by what it saw."""
        self._note(tx, "read", record)

    def write(self, tx: Transaction, record: str) -> None:
        """The saga has changed the record; in the handler of an undo: it has changed it back."""
        self._note(tx, "undo" if tx.command.undoes else "write", record)

    def add(self, tx: Transaction, record: str) -> None:
        """The saga has changed the record, or changed it back, by an update that commutes."""
        self._note(tx, "add", record)

    def _note(self, tx: Transaction, kind: str, record: str) -> None:
        row = {"saga": tx.command.saga_id or "", "kind": kind, "record": record}
        work_of(tx).changed(_NOTE, row)
