"""How we open a database: one function, used by the log, the read models and the participants.

SQLite and PostgreSQL (psycopg 3) are what every statement of ours is written and tested for.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import StaticPool

from es_saga.core.errors import InvalidInput

SQLITE_BUSY_SECONDS = 10.0
"""How long a SQLite writer waits for another one before it gets `database is locked`."""

SQLITE_TURN_MS = 1
"""How often one that waits looks whether it is its turn."""

CONNECT_TIMEOUT_SECONDS = 5
"""How long we wait for PostgreSQL to accept a connection."""

_KEEPALIVE = {
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""Seconds, a count, and milliseconds: a server whose machine vanishes is noticed after 15 s."""

READ_ONLY = "es_read_only"
"""Execution option: on SQLite the transaction begins deferred and takes no write lock."""

ID_TYPE: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Ids are compared byte by byte: a language's collation makes the index several times slower."""

_SQLITE_HEAD = b"SQLite format 3\0"
_POSTGRES_SCHEMES = ("postgres", "postgresql", "postgresql+psycopg")


def is_sqlite(file: Path) -> bool:
    """Whether a file is a SQLite database, or is empty and may become one.

    >>> is_sqlite(Path(__file__))
    False

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        return opened.read(len(_SQLITE_HEAD)) in (b"", _SQLITE_HEAD)


def normalise(url: str | sa.URL) -> sa.URL:
    """The URL with the driver that we use; a bare path to a file is not guessed at.

    >>> normalise("postgres://me@db/shop").drivername
    'postgresql+psycopg'

    Raises:
        InvalidInput: it is no URL, or names another kind of database.
    """
    try:
        parsed = sa.make_url(url)
    except ArgumentError as error:
        raise InvalidInput(
            "That is not a database URL.", hint="Write sqlite:///file.db or postgresql://host/name."
        ) from error
    if parsed.drivername in _POSTGRES_SCHEMES:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return parsed.set(drivername="sqlite")
    raise InvalidInput(
        f"A database of the kind {parsed.drivername!r} is not supported.",
        hint="Use sqlite:///file.db or postgresql://host/name.",
    )


def make_engine(url: str | sa.URL, *, pool_size: int = 5) -> sa.Engine:
    """An engine on SQLite or PostgreSQL; nothing is connected yet.

    SQLite: write-ahead log, `synchronous=FULL` (a commit survives a power cut), foreign keys, and
    every transaction takes the write lock at its beginning, so that two writers queue up instead of
    failing at their first write. A reader says `execution_options(es_read_only=True)`. An
    in-memory database has one connection, shared by all threads: for tests.

    PostgreSQL: `postgres://` and `postgresql://` mean psycopg 3.

    Errors and logs show statements without their parameters: those are people's data.

    Raises:
        InvalidInput: the URL is not one of these, or the driver is not installed.
    """
    parsed = normalise(url)
    if parsed.drivername == "sqlite":
        return _sqlite_engine(parsed, pool_size)
    try:
        return sa.create_engine(
            parsed,
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=0,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS, **_KEEPALIVE},
        )
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "PostgreSQL needs psycopg 3.", hint="Install es-saga[postgres]."
        ) from error


def take_turn(connection: sa.Connection, name: str) -> None:
    """Wait until no other transaction has taken this turn; ours ends with the transaction.

    Nothing to do on SQLite: whoever may write there is alone.
    """
    if connection.dialect.name == "postgresql":
        key = sa.func.hashtextextended(f"es_saga/{name}", 0)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def create_missing(connection: sa.Connection, *tables: sa.MetaData) -> None:
    """Create the tables that are not there; processes that do it at the same time queue up."""
    take_turn(connection, "tables")
    for metadata in tables:
        metadata.create_all(connection)


def _sqlite_engine(url: sa.URL, pool_size: int) -> sa.Engine:
    settings: dict[str, Any] = {
        "hide_parameters": True,
        "connect_args": {"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False},
    }
    if url.database in (None, "", ":memory:"):
        engine = sa.create_engine(url, poolclass=StaticPool, **settings)
    else:
        engine = sa.create_engine(url, pool_size=pool_size, max_overflow=0, **settings)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not begin transactions by itself: it would begin deferred ones.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: sa.Connection) -> None:
    options: Any = connection.get_execution_options()
    if options.get(READ_ONLY):
        connection.exec_driver_sql("BEGIN")
        return
    driver = cast(sqlite3.Connection, connection.connection.driver_connection)
    end = time.monotonic() + SQLITE_BUSY_SECONDS
    # Left to itself, SQLite would sleep up to 100 ms while the lock is free and taken by others.
    driver.execute(f"PRAGMA busy_timeout={SQLITE_TURN_MS}").close()
    try:
        while time.monotonic() < end:
            try:
                driver.execute("BEGIN IMMEDIATE").close()
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # its error is SQLAlchemy's own
    finally:
        driver.execute(f"PRAGMA busy_timeout={int(1_000 * SQLITE_BUSY_SECONDS)}").close()
