"""What a database error means to the log."""

from __future__ import annotations

import sqlite3
from enum import Enum, auto

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from es_saga.core.errors import Unavailable

RETRY_AFTER_SECONDS = 1.0
"""When we suggest to try again after an outage."""

_UNIQUE = frozenset({sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE})
_UNIQUE_VIOLATION = "23505"
_TRANSACTION_ROLLBACK = "40"
"""Class of SQLSTATEs for deadlocks and failed serialisation: the same again may succeed."""

_KEYS = "es_keys"
"""Who begins a saga makes its key, before its events collide with those of somebody else."""


class Trouble(Enum):
    """Kinds of database errors, by what to do about them."""

    COLLISION = auto()
    """Somebody else wrote at the same time: read again, try again."""
    OUTAGE = auto()
    """The database is out of reach, or cannot at the moment."""
    FAULT = auto()
    """Our own mistake: it will be the same next time."""


def trouble(error: Exception, table: str = "es_events") -> Trouble:
    """What kind of trouble an error is; `table` is the one whose rows may be contested."""
    if isinstance(error, PoolTimeout):
        return Trouble.OUTAGE
    cause = _driver_error(error)
    if isinstance(cause, sqlite3.Error):
        return _sqlite_trouble(cause, table)
    state = getattr(cause, "sqlstate", None) or ""
    kinds = {base.__name__ for base in type(cause).__mro__}
    if state == _UNIQUE_VIOLATION:
        taken = getattr(getattr(cause, "diag", None), "table_name", None)
        contested = taken in (table, _KEYS)
        return Trouble.COLLISION if contested else Trouble.FAULT
    if state.startswith(_TRANSACTION_ROLLBACK):
        return Trouble.COLLISION
    # By name, so that SQLite's users need no psycopg. A server that has become a replica reports
    # an InternalError.
    if kinds & {"OperationalError", "InterfaceError", "InternalError"}:
        return Trouble.OUTAGE
    return Trouble.FAULT


def _sqlite_trouble(error: sqlite3.Error, table: str) -> Trouble:
    code = getattr(error, "sqlite_errorcode", None)
    if code in _UNIQUE and any(f" {name}." in str(error) for name in (table, _KEYS)):
        return Trouble.COLLISION
    if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
        return Trouble.OUTAGE
    return Trouble.FAULT


def taken_position(error: Exception, table: str = "es_events") -> bool:
    """Whether it was the position that was taken, not the version of an originator."""
    cause = _driver_error(error)
    constraint = getattr(getattr(cause, "diag", None), "constraint_name", None)
    return constraint == f"pk_{table}" or f" {table}.position" in str(cause)


def unavailable(error: Exception) -> Unavailable:
    """The outage, for those who wait."""
    cause = " ".join(str(_driver_error(error)).split())
    return Unavailable(
        f"The database is out of reach: {cause}".strip(),
        retry_after=RETRY_AFTER_SECONDS,
        hint="Is it running, and are the URL and the credentials right?",
    )


def _driver_error(error: Exception) -> BaseException:
    """The driver's own error, also where SQLAlchemy has wrapped it."""
    return error.orig or error if isinstance(error, DBAPIError) else error
