"""Version file: operations on a record are kept, and applied in their logical order (L68).

    seats = VersionFile("seat_changes", tables, operation=Change, start=0, apply=changed)
    now = seats.record(tx, cmd.flight, cmd.position, Change(by=cmd.by))

Messages may arrive in any order and more than once: a cancellation before what it cancels, the
third change before the second. The value is always the fold of what is there, in order of position.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import sqlalchemy as sa

from es_saga.core.errors import InvalidInput, Terminal
from es_saga.core.messages import Message
from es_saga.participant.tx import Transaction, work_of

MAX_OPERATIONS: Final = 10_000
"""Operations that are kept of one record."""

S = TypeVar("S")
Op = TypeVar("Op", bound=Message)


class VersionFile(Generic[S, Op]):
    """The operations on the records of one kind; its table is added to `tables`.

    Args:
        name: of the table.
        operation: what an operation is.
        start: the value of a record that nothing was done to.
        apply: the value after one more operation; pure.
    """

    def __init__(
        self,
        name: str,
        tables: sa.MetaData,
        *,
        operation: type[Op],
        start: S,
        apply: Callable[[S, Op], S],
    ) -> None:
        self._operation, self._start, self._apply = operation, start, apply
        self._table = sa.Table(
            name,
            tables,
            sa.Column("record", sa.Text, primary_key=True),
            sa.Column("position", sa.BigInteger, primary_key=True),
            sa.Column("operation", sa.Text, nullable=False),
        )

    def record(self, tx: Transaction, record: str, position: int, operation: Op) -> S:
        """Keep an operation; the value of the record with it. The same one again changes nothing.

        Raises:
            Terminal: another operation has this position.
            InvalidInput: the record has too many.
        """
        kept = self._kept(tx, record)
        there = kept.get(position)
        if there is not None and there != operation:
            raise Terminal(f"Position {position} of {record} is another operation's.")
        if there is None:
            if len(kept) >= MAX_OPERATIONS:
                raise InvalidInput(f"{record} has {MAX_OPERATIONS} operations; more are not kept.")
            row = {"record": record, "position": position, "operation": operation.model_dump_json()}
            work_of(tx).changed(sa.insert(self._table), row)
            kept[position] = operation
        return self._folded(kept)

    def withdraw(self, tx: Transaction, record: str, position: int) -> S:
        """In an undo: forget an operation; the value of the record without it."""
        columns = self._table.c
        gone = sa.delete(self._table).where(columns.record == record, columns.position == position)
        work_of(tx).changed(gone, None)
        return self.value(tx, record)

    def value(self, tx: Transaction, record: str) -> S:
        """The value of the record by all that has arrived."""
        return self._folded(self._kept(tx, record))

    def _kept(self, tx: Transaction, record: str) -> dict[int, Op]:
        columns = self._table.c
        query = sa.select(columns.position, columns.operation).where(columns.record == record)
        return {
            position: self._operation.model_validate_json(operation)
            for position, operation in work_of(tx).run(query, None, reading=True)
        }

    def _folded(self, kept: dict[int, Op]) -> S:
        value = self._start
        for position in sorted(kept):
            value = self._apply(value, kept[position])
        return value
