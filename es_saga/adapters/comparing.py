"""Two tables that should be the same, row by row in the order of their key, whatever their size."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa

from es_saga.database import READ_ONLY

MAX_DRIFTS: Final = 10
"""Rows that are shown; more are counted."""

BUFFERED_ROWS: Final = 1_000

Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """A row that is not what the log says."""

    table: str
    key: Mapping[str, Any]
    kind: Literal["differs", "missing", "too many"]
    columns: Mapping[str, tuple[Any, Any]]
    """Those that differ: what is there, and what should be."""

    @property
    def row(self) -> str:
        """Its key, in words."""
        return ", ".join(f"{name}={value}" for name, value in self.key.items())

    @property
    def what(self) -> str:
        """What is wrong with it, in words."""
        found = (
            f"{name} is {is_!r}, should be {should!r}"
            for name, (is_, should) in self.columns.items()
        )
        return "; ".join(found) or self.kind


@dataclass(slots=True)
class Differences:
    """What a comparison finds."""

    rows: int = 0
    drifted: int = 0
    drifts: list[Drift] = field(default_factory=list[Drift])

    def note(self, drift: Drift) -> None:
        """One more."""
        self.drifted += 1
        if len(self.drifts) < MAX_DRIFTS:
            self.drifts.append(drift)


def differences(
    frozen: sa.Connection, engine: sa.Engine, tables: Sequence[tuple[sa.Table, sa.Table]]
) -> Differences:
    """Compare tables in use, as a connection sees them, with the same tables made anew."""
    found = Differences()
    with _reading(engine) as anew:
        for live, shadow in tables:
            other = _other_columns(frozen, live)
            if other:
                found.note(Drift(live.name, {}, "differs", other))
            else:
                _compare(found, live, _rows(frozen, live), _rows(anew, shadow))
    return found


def _other_columns(connection: sa.Connection, table: sa.Table) -> dict[str, tuple[str, str]]:
    """Columns that only the table in use has, or only the code."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(table.name, schema=table.schema):
        return {}
    there = {column["name"] for column in inspector.get_columns(table.name, schema=table.schema)}
    wanted = {column.name for column in table.columns}
    return {
        name: ("present" if name in there else "absent", "present" if name in wanted else "absent")
        for name in sorted(there ^ wanted)
    }


def _compare(found: Differences, table: sa.Table, live: Iterator[Row], anew: Iterator[Row]) -> None:
    """Both in the order of the key, which comes first."""
    names = [column.name for column in _columns(table)]
    width = len(table.primary_key)
    ours, theirs = next(live, None), next(anew, None)
    while ours is not None or theirs is not None:
        found.rows += 1
        if theirs is None or (ours is not None and ours[:width] < theirs[:width]):
            assert ours is not None
            key = dict(zip(names, ours[:width], strict=False))
            found.note(Drift(table.name, key, "too many", {}))
            ours = next(live, None)
            continue
        key = dict(zip(names, theirs[:width], strict=False))
        if ours is None or theirs[:width] < ours[:width]:
            found.note(Drift(table.name, key, "missing", {}))
            theirs = next(anew, None)
            continue
        if ours != theirs:
            pairs = zip(names, zip(ours, theirs, strict=True), strict=True)
            columns = {name: pair for name, pair in pairs if pair[0] != pair[1]}
            found.note(Drift(table.name, key, "differs", columns))
        ours, theirs = next(live, None), next(anew, None)


def _rows(connection: sa.Connection, table: sa.Table) -> Iterator[Row]:
    """The key first, in the order in which Python compares it."""
    if not sa.inspect(connection).has_table(table.name, schema=table.schema):
        return
    bytewise = connection.dialect.name == "postgresql"
    order = [
        column.collate("C") if bytewise and isinstance(column.type, sa.String) else column
        for column in table.primary_key
    ]
    query = sa.select(*_columns(table)).order_by(*order)
    options = {"stream_results": True, "max_row_buffer": BUFFERED_ROWS}
    with connection.execution_options(**options).execute(query) as result:
        for row in result:
            yield tuple(row)


def _columns(table: sa.Table) -> list[sa.Column[Any]]:
    keys = list(table.primary_key)
    return keys + [column for column in table.columns if not column.primary_key]


@contextmanager
def _reading(engine: sa.Engine) -> Generator[sa.Connection, None, None]:
    with engine.execution_options(**{READ_ONLY: True}).connect() as connection:
        yield connection
