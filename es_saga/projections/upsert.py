"""Writes the rows of a batch: one statement for all that change the same columns.

As text, made once for each set of columns: SQLAlchemy compiles a dialect's upsert anew each time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from es_saga.core.errors import InvalidInput, NotFound
from es_saga.projections.changes import Key, Row, Rows

MAX_STATEMENTS: Final = 500
"""Statements that are kept; a projection that has more of them makes them again."""


class _Columns(NamedTuple):
    """Which columns a statement sets, and which it adds to."""

    put: tuple[str, ...]
    added: tuple[str, ...]


class Upserts:
    """The statements of a projection's tables.

    Args:
        actual: the table to write to, by the one that changes name.
    """

    def __init__(self, actual: Mapping[sa.Table, sa.Table]) -> None:
        self._actual = actual
        self._known: dict[tuple[str, sa.Table, _Columns | None], sa.TextClause] = {}

    def write(self, connection: sa.Connection, rows: Rows) -> None:
        """Carry the changes out.

        Raises:
            NotFound: a row that is not there cannot be made of the few columns that were named.
            InvalidInput: a column that has a default is added to.
        """
        for table, of_table in rows.items():
            if of_table:
                self._write(connection, self._actual[table], of_table)

    def _write(self, connection: sa.Connection, table: sa.Table, rows: Mapping[Key, Row]) -> None:
        gone = [key for key, row in rows.items() if row.deleted]
        if gone:
            connection.execute(self._statement(connection, table, None), _parameters(gone))
        alike: defaultdict[_Columns, list[Key]] = defaultdict(list)
        for key, row in rows.items():
            if row.kept:
                columns = _Columns(tuple(row.put), tuple(row.added))
                alike[columns].append((*key, *row.put.values(), *row.added.values()))
        for columns, values in alike.items():
            statement = self._statement(connection, table, columns)
            done = connection.execute(statement, _parameters(values))
            if not _makes(table, columns) and done.rowcount != len(values):
                _refuse(connection, table, columns, values)

    def _statement(
        self, connection: sa.Connection, table: sa.Table, columns: _Columns | None
    ) -> sa.TextClause:
        """The statement that changes these columns; None: that deletes rows."""
        which = (connection.dialect.name, table, columns)
        found = self._known.get(which)
        if found is None:
            if len(self._known) >= MAX_STATEMENTS:
                self._known.clear()
            found = self._known[which] = _text(connection.dialect, table, columns)
        return found


def _text(dialect: sa.Dialect, table: sa.Table, columns: _Columns | None) -> sa.TextClause:
    preparer = dialect.identifier_preparer
    name = preparer.format_table(table)
    keys = [column.name for column in table.primary_key]
    put, added = columns or ((), ())
    named = (*keys, *put, *added)
    quoted = {column: preparer.quote(column) for column in named}
    marks = {column: f":p{number}" for number, column in enumerate(named)}
    row = " AND ".join(f"{quoted[key]} = {marks[key]}" for key in keys)
    if columns is None:
        text = f"DELETE FROM {name} WHERE {row}"
    elif _makes(table, columns):
        for column in added:
            _check_zero(table.columns[column])
        own = {column: f"{name}.{quoted[column]}" for column in named}
        new = {column: f"excluded.{quoted[column]}" for column in named}
        changes = _changes(columns, quoted, own, new)
        text = (
            f"INSERT INTO {name} ({', '.join(quoted.values())})"
            f" VALUES ({', '.join(marks.values())})"
            f" ON CONFLICT ({', '.join(quoted[key] for key in keys)})"
            f" DO {f'UPDATE SET {changes}' if changes else 'NOTHING'}"
        )
    else:
        # Even if nothing is to be changed, the row has to be there.
        changes = (
            _changes(columns, quoted, quoted, marks) or f"{quoted[keys[0]]} = {marks[keys[0]]}"
        )
        text = f"UPDATE {name} SET {changes} WHERE {row}"
    bound = [sa.bindparam(marks[column][1:], type_=table.columns[column].type) for column in named]
    return sa.text(text).bindparams(*bound)


def _changes(
    columns: _Columns, quoted: Mapping[str, str], old: Mapping[str, str], new: Mapping[str, str]
) -> str:
    """What follows SET."""
    put = [f"{quoted[column]} = {new[column]}" for column in columns.put]
    added = [
        f"{quoted[column]} = coalesce({old[column]}, 0) + {new[column]}" for column in columns.added
    ]
    return ", ".join(put + added)


def _makes(table: sa.Table, columns: _Columns) -> bool:
    """Whether a row can be made of these columns: every other one may be null or has a default."""
    return not _lacking(table, columns)


def _lacking(table: sa.Table, columns: _Columns) -> list[str]:
    return [
        column.name
        for column in table.columns
        if not (column.nullable or column.primary_key or column.server_default is not None)
        and column.name not in columns.put
        and column.name not in columns.added
    ]


def _check_zero(column: sa.Column[Any]) -> None:
    """What is added to a new row must be the same as what is added to one that was just put."""
    default = column.server_default
    if default is None or (
        isinstance(default, sa.DefaultClause) and str(default.arg).strip("'\"() ") in ("0", "0.0")
    ):
        return
    raise InvalidInput(
        f"{column.table.name}.{column.name} begins with a default other than 0, and is added to.",
        hint="Put its first value, or drop the default.",
    )


def _parameters(values: Sequence[Key]) -> list[dict[str, Any]]:
    names = [f"p{number}" for number in range(len(values[0]))]
    return [dict(zip(names, row, strict=True)) for row in values]


def _refuse(
    connection: sa.Connection, table: sa.Table, columns: _Columns, rows: Sequence[Key]
) -> None:
    """Say which row it was that is not there."""
    keys = list(table.primary_key)
    for row in rows:
        where = [column == value for column, value in zip(keys, row, strict=False)]
        if connection.execute(sa.select(sa.literal(1)).where(*where)).first() is None:
            which = ", ".join(
                f"{column.name}={value!r}" for column, value in zip(keys, row, strict=False)
            )
            raise NotFound(
                f"Table {table.name} has no row {which}, and none can be made without "
                f"{', '.join(_lacking(table, columns))}.",
                hint="Put the whole row first, most likely at SagaStarted.",
            )
    raise AssertionError("one of the rows is not there")
