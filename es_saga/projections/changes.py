"""What a projection may do to its tables: put, add, delete. Folded, so that a batch is few writes.

Several changes of one row become one, whatever they are; what they lead to is the same as if each
had been written by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from es_saga.core.errors import InvalidInput

Key: TypeAlias = tuple[Any, ...]
"""The values of a row's primary key, in the order of its columns."""


class Change:
    """A change of one row, which its primary key names.

    Args:
        table: may be left out where the projection has one table only.
        columns: the primary key, and what is to be changed.
    """

    __slots__ = ("columns", "table")

    def __init__(self, table: sa.Table | None = None, /, **columns: object) -> None:
        self.table = table
        self.columns: Mapping[str, Any] = columns

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Change)
            and type(self) is type(other)
            and self.table is other.table
            and self.columns == other.columns
        )

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.columns)))

    def __repr__(self) -> str:
        of = [] if self.table is None else [self.table.name]
        columns = [f"{name}={value!r}" for name, value in self.columns.items()]
        return f"{type(self).__name__}({', '.join(of + columns)})"


class Put(Change):
    """The row has these values from now on; it is made if it is not there.

    Columns that are not named stay as they are, and have their `server_default` or null in a new
    row. A row can only be made if all columns without either are named.

        Put(order_id="7", state="done")
    """

    __slots__ = ()


class Add(Change):
    """These columns grow by so much; a row, or a column, that is not there counts as 0.

    Sagas are handled side by side: a row that several of them change may only be added to.

        Add(sku="teapot", sold=1, pence=-250)
    """

    __slots__ = ()


class Delete(Change):
    """The row is gone; if it is not there, nothing happens.

    Delete(order_id="7")
    """

    __slots__ = ()


class Row:
    """What several changes of one row come to: its end, then values, then what is added."""

    __slots__ = ("added", "deleted", "kept", "put")

    def __init__(self) -> None:
        self.deleted = False
        self.kept = False
        """There is a row in the end."""
        self.put: dict[str, Any] = {}
        self.added: dict[str, Any] = {}

    def take(self, kind: type[Change], values: Mapping[str, Any]) -> None:
        """One change more. `values` without the key."""
        if kind is Delete:
            self.deleted, self.kept = True, False
            self.put, self.added = {}, {}
            return
        self.kept = True
        if kind is Put:
            self.put |= values
            for name in values.keys() & self.added.keys():
                del self.added[name]
            return
        for name, value in values.items():
            if name in self.put:
                self.put[name] = (self.put[name] or 0) + value
            else:
                self.added[name] = self.added.get(name, 0) + value


Rows: TypeAlias = dict[sa.Table, dict[Key, Row]]
"""What is to be done, by table and row."""


class Shape:
    """What has to be known of a table to fold changes of it.

    Raises:
        InvalidInput: the table cannot be a projection's.
    """

    __slots__ = ("_others", "key", "table")

    def __init__(self, table: sa.Table) -> None:
        self.table = table
        self.key: Final = tuple(column.name for column in table.primary_key)
        self._others = frozenset(column.name for column in table.columns) - set(self.key)
        if not self.key:
            raise _unfit(table, "has no primary key, by which its rows are found")
        for column in table.columns:
            if column.name != column.key or {":", "%"} & set(column.name):
                raise _unfit(table, f"has a column of an odd name, {column.name}")
            if column.default is not None or column.onupdate is not None:
                raise _unfit(table, f"has a default in Python for {column.name}: name it each time")
            if column.computed is not None or column.foreign_keys:
                raise _unfit(table, f"has {column.name} depend on something else")

    def split(self, change: Change) -> tuple[Key, dict[str, Any]]:
        """A change's key and its other columns.

        Raises:
            InvalidInput: it names columns that are not there, or not the whole key.
        """
        values = dict(change.columns)
        try:
            key = tuple([values.pop(name) for name in self.key])
        except KeyError as error:
            raise InvalidInput(
                f"{change!r} does not say which row of {self.table.name} it means.",
                hint=f"Name the whole primary key: {', '.join(self.key)}.",
            ) from error
        unknown = values.keys() - self._others
        if unknown:
            raise InvalidInput(f"Table {self.table.name} has no column {min(unknown)!r}.")
        if values and type(change) is Delete:
            raise InvalidInput(f"{change!r} names more than the row.")
        return key, values


def fold(changes: Iterable[Change], shapes: Mapping[sa.Table, Shape]) -> Rows:
    """All changes, one for each row.

    Raises:
        InvalidInput: a change is of no table of the projection, or does not fit it.
    """
    only = next(iter(shapes)) if len(shapes) == 1 else None
    rows: Rows = {table: {} for table in shapes}
    for change in changes:
        table = change.table if change.table is not None else only
        if table is None or table not in shapes:
            names = ", ".join(table.name for table in shapes)
            raise InvalidInput(f"{change!r} is of no table of the projection: {names}.")
        key, values = shapes[table].split(change)
        of_table = rows[table]
        row = of_table.get(key)
        if row is None:
            row = of_table[key] = Row()
        row.take(type(change), values)
    return rows


def _unfit(table: sa.Table, why: str) -> InvalidInput:
    return InvalidInput(f"Table {table.name} cannot be a projection's: it {why}.")
