"""The log's SQL, as each driver is quickest with it.

Written by hand and given to the driver as it stands: for these few statements SQLAlchemy's
compilation would cost more than the database does.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

import sqlalchemy as sa

from es_saga.core.messages import PARTS

if TYPE_CHECKING:
    import sqlite3

    import psycopg

MAX_IDS: Final = 500
"""Ids asked for in one statement."""

WAL_PAGES: Final = 4_000
"""Pages of 4 KiB that SQLite's write-ahead log may have before it is folded into the database.

Four times SQLite's own choice: a page that changes often is folded in once; 15 % less CPU a write.
"""


Row = tuple[int, int, str, int, str, bytes, float]
"""One row of `es_events`: part, position, saga, version, topic, JSON, seconds since the epoch."""


class History(NamedTuple):
    """What of a row is needed to fold a saga."""

    originator_id: str
    originator_version: int
    topic: str
    state: bytes


Mark = tuple[str, int, int]
"""A reader's name, a part, and how far it has come in it."""


class Standing(NamedTuple):
    """Where a reader stands in one part."""

    part: int
    position: int
    """Of the last event that it has taken in."""
    head: int
    """Of the last event there is."""


class Span(NamedTuple):
    """Events of one part: those after a position, up to another one."""

    part: int
    after: int
    upto: int


class Stored(NamedTuple):
    """One event as it stands in the log."""

    part: int
    position: int
    originator_id: str
    originator_version: int
    topic: str
    state: bytes


Move = tuple[str, Span]
"""A view's name, and what it takes in."""


class Statements(Protocol):
    """What the log asks of a database. Every call is inside the caller's transaction."""

    def prepare(self, connection: sa.Connection) -> None:
        """Make a new connection fit for a writer; the one call outside a transaction."""
        ...

    def insert(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        """Write rows; the driver's IntegrityError when a key is taken."""
        ...

    def heads(self, connection: sa.Connection, parts: Collection[int]) -> dict[int, int]:
        """The last position of each part; 0 where there is none."""
        ...

    def versions(self, connection: sa.Connection, ids: Collection[str]) -> dict[str, int]:
        """The last version of each saga; 0 where there is none."""
        ...

    def histories(self, connection: sa.Connection, ids: Collection[str]) -> Iterable[History]:
        """All events of up to MAX_IDS sagas, by saga and version."""
        ...

    def mark(self, connection: sa.Connection, marks: Sequence[Mark]) -> None:
        """Move readers forward; one that is further already stays."""
        ...

    def enrol(self, connection: sa.Connection, names: Collection[str]) -> None:
        """Make sure that each view has a checkpoint in every part, which `move` can move."""
        ...

    def standings(self, connection: sa.Connection, name: str) -> list[Standing]:
        """Where a reader stands in every part: all of it as it was at one moment."""
        ...

    def page(self, connection: sa.Connection, spans: Sequence[Span]) -> list[Stored]:
        """The events of these spans, each part's in order."""
        ...

    def move(self, connection: sa.Connection, moves: Sequence[Move]) -> bool:
        """Move views over spans; False where one does not stand at the beginning of its span.

        Then the transaction must be rolled back. Others that move the same views wait meanwhile.
        """
        ...


class SqliteStatements:
    """SQLite through the standard library's driver."""

    def __init__(self, table: str = "es_events") -> None:
        self._insert = f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?)"
        self._head = f"SELECT max(position) FROM {table} WHERE part = ?"
        self._versions = (
            f"SELECT value, (SELECT max(originator_version) FROM {table}"
            " WHERE originator_id = value) FROM json_each(?)"
        )
        self._histories = (
            f"SELECT originator_id, originator_version, topic, state FROM {table}"
            " WHERE originator_id IN (SELECT value FROM json_each(?))"
            " ORDER BY originator_id, originator_version"
        )
        self._mark = _MARK + " VALUES (?, ?, ?)" + _FORWARD
        self._enrol = _MARK + " VALUES (?, ?, 0) ON CONFLICT DO NOTHING"
        self._positions = "SELECT part, position FROM es_tracking WHERE name = ?"
        self._page = (
            f"SELECT part, position, originator_id, originator_version, topic, state FROM {table}"
            " WHERE part = ? AND position > ? AND position <= ? ORDER BY position"
        )
        self._move = (
            "UPDATE es_tracking SET position = ? WHERE name = ? AND part = ? AND position = ?"
        )

    def prepare(self, connection: sa.Connection) -> None:
        _sqlite(connection).execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}").close()

    def insert(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        _sqlite(connection).executemany(self._insert, rows).close()

    def heads(self, connection: sa.Connection, parts: Collection[int]) -> dict[int, int]:
        driver = _sqlite(connection)
        return {part: driver.execute(self._head, (part,)).fetchone()[0] or 0 for part in parts}

    def versions(self, connection: sa.Connection, ids: Collection[str]) -> dict[str, int]:
        rows = _sqlite(connection).execute(self._versions, (json.dumps(list(ids)),))
        return {saga_id: version or 0 for saga_id, version in rows}

    def histories(self, connection: sa.Connection, ids: Collection[str]) -> Iterable[History]:
        rows = _sqlite(connection).execute(self._histories, (json.dumps(list(ids)),))
        return [History(*row) for row in rows]

    def mark(self, connection: sa.Connection, marks: Sequence[Mark]) -> None:
        _sqlite(connection).executemany(self._mark, marks).close()

    def enrol(self, connection: sa.Connection, names: Collection[str]) -> None:
        rows = [(name, part) for name in names for part in range(PARTS)]
        _sqlite(connection).executemany(self._enrol, rows).close()

    def standings(self, connection: sa.Connection, name: str) -> list[Standing]:
        driver = _sqlite(connection)
        positions = dict(driver.execute(self._positions, (name,)).fetchall())
        return [
            Standing(part, positions.get(part, 0), head)
            for part, head in self.heads(connection, range(PARTS)).items()
        ]

    def page(self, connection: sa.Connection, spans: Sequence[Span]) -> list[Stored]:
        driver = _sqlite(connection)
        return [Stored(*row) for span in spans for row in driver.execute(self._page, span)]

    def move(self, connection: sa.Connection, moves: Sequence[Move]) -> bool:
        rows = [(upto, name, part, after) for name, (part, after, upto) in moves]
        cursor = _sqlite(connection).executemany(self._move, rows)
        done = cursor.rowcount == len(rows)
        cursor.close()
        return done


class PostgresStatements:
    """PostgreSQL through psycopg 3: binary both ways, and COPY for every insert.

    COPY was measured against unnest and pipelined INSERTs: level with them at two rows, twice as
    quick at fifty, five times at a thousand.
    """

    _TYPES = ("int4", "int8", "text", "int4", "text", "bytea", "float8")

    def __init__(self, table: str = "es_events") -> None:
        self._copy = f"COPY {table} FROM STDIN (FORMAT BINARY)".encode()
        self._heads = (
            f"SELECT p, (SELECT max(position) FROM {table} WHERE part = p)"
            " FROM unnest(%s::int[]) AS p"
        ).encode()
        self._versions = (
            f"SELECT i, (SELECT max(originator_version) FROM {table} WHERE originator_id = i)"
            " FROM unnest(%s::text[]) AS i"
        ).encode()
        self._histories = (
            f"SELECT originator_id, originator_version, topic, state FROM {table}"
            " WHERE originator_id = ANY(%s::text[]) ORDER BY originator_id, originator_version"
        ).encode()
        # Sorted, so that two writers that mark the same readers do not wait for each other.
        self._mark = (
            f"{_MARK} SELECT * FROM unnest(%s::text[], %s::int[], %s::bigint[]) AS m (n, p, x)"
            f" ORDER BY n, p{_FORWARD}"
        ).encode()
        self._enrol = (
            f"{_MARK} SELECT n, p, 0 FROM unnest(%s::text[]) AS n, generate_series(0, {PARTS - 1})"
            " AS p ORDER BY n, p ON CONFLICT DO NOTHING"
        ).encode()
        self._standings = (
            "SELECT p,"
            " coalesce((SELECT position FROM es_tracking WHERE name = %s AND part = p), 0),"
            f" coalesce((SELECT max(position) FROM {table} WHERE part = p), 0)"
            f" FROM generate_series(0, {PARTS - 1}) AS p ORDER BY p"
        ).encode()
        # The limit keeps the planner from joining by reading the whole log.
        self._page = (
            "SELECT p, position, originator_id, originator_version, topic, state"
            " FROM unnest(%s::int[], %s::bigint[], %s::bigint[]) AS s (p, a, u) CROSS JOIN LATERAL"
            f" (SELECT position, originator_id, originator_version, topic, state FROM {table}"
            " WHERE part = p AND position > a AND position <= u ORDER BY position LIMIT u - a) AS e"
            " ORDER BY p, position"
        ).encode()
        # Locked in one order, so that nobody waits for somebody who waits for him.
        self._move = (
            b"WITH m AS MATERIALIZED (SELECT * FROM"
            b" unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[]) AS m (n, p, a, u)),"
            b" locked AS MATERIALIZED (SELECT name, part FROM es_tracking JOIN m"
            b" ON name = n AND part = p ORDER BY name, part FOR UPDATE OF es_tracking)"
            b" UPDATE es_tracking AS t SET position = u FROM m JOIN locked AS l"
            b" ON l.name = n AND l.part = p"
            b" WHERE t.name = n AND t.part = p AND t.position = a"
        )

    def prepare(self, connection: sa.Connection) -> None:
        pass

    def insert(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        with (
            _psycopg(connection).cursor(binary=True) as cursor,
            cursor.copy(self._copy) as copy,
        ):
            copy.set_types(self._TYPES)
            for row in rows:
                copy.write_row(row)

    def heads(self, connection: sa.Connection, parts: Collection[int]) -> dict[int, int]:
        with _psycopg(connection).cursor(binary=True) as cursor:
            cursor.execute(self._heads, (list(parts),))
            return {part: head or 0 for part, head in cursor}

    def versions(self, connection: sa.Connection, ids: Collection[str]) -> dict[str, int]:
        with _psycopg(connection).cursor(binary=True) as cursor:
            cursor.execute(self._versions, (list(ids),))
            return {saga_id: version or 0 for saga_id, version in cursor}

    def histories(self, connection: sa.Connection, ids: Collection[str]) -> Iterable[History]:
        with _psycopg(connection).cursor(binary=True) as cursor:
            cursor.execute(self._histories, (list(ids),))
            return [History(*row) for row in cursor]

    def mark(self, connection: sa.Connection, marks: Sequence[Mark]) -> None:
        names, parts, positions = (list(column) for column in zip(*marks, strict=True))
        with _psycopg(connection).cursor(binary=True) as cursor:
            cursor.execute(self._mark, (names, parts, positions))

    def enrol(self, connection: sa.Connection, names: Collection[str]) -> None:
        with _psycopg(connection).cursor(binary=True) as cursor:
            cursor.execute(self._enrol, (list(names),))

    def standings(self, connection: sa.Connection, name: str) -> list[Standing]:
        with _psycopg(connection).cursor(binary=True) as cursor:
            cursor.execute(self._standings, (name,))
            return [Standing(*row) for row in cursor]

    def page(self, connection: sa.Connection, spans: Sequence[Span]) -> list[Stored]:
        columns = [list(column) for column in zip(*spans, strict=True)]
        with _psycopg(connection).cursor(binary=True) as cursor:
            cursor.execute(self._page, columns)
            return [Stored(*row) for row in cursor]

    def move(self, connection: sa.Connection, moves: Sequence[Move]) -> bool:
        names = [name for name, _ in moves]
        parts, afters, uptos = (list(column) for column in zip(*(s for _, s in moves), strict=True))
        with _psycopg(connection).cursor(binary=True) as cursor:
            cursor.execute(self._move, (names, parts, afters, uptos))
            return cursor.rowcount == len(moves)


def statements_for(engine: sa.Engine, table: str = "es_events") -> Statements:
    """The statements in the engine's dialect, over this table of events."""
    if engine.dialect.name == "postgresql":
        return PostgresStatements(table)
    return SqliteStatements(table)


_MARK = "INSERT INTO es_tracking (name, part, position)"
_FORWARD = (
    " ON CONFLICT (name, part) DO UPDATE SET position = excluded.position"
    " WHERE es_tracking.position < excluded.position"
)


def _sqlite(connection: sa.Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.driver_connection)


def _psycopg(connection: sa.Connection) -> psycopg.Connection[Any]:
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)
