"""What a database error means: somebody was quicker, the database is gone, or a plain mistake."""

from __future__ import annotations

from enum import Enum

from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from es_saga.participant.fence import FenceTaken


class Trouble(Enum):
    COLLISION = "another transaction was in the way: roll back and run again at once"
    OUTAGE = "the database is out of reach: run again later"
    MISTAKE = "the statement or its data are wrong: it would fail again"


class Unreachable(Exception):
    """The database was out of reach a moment ago. No connection is tried so soon after."""


_SQLITE_COLLISIONS = ("SQLITE_BUSY", "SQLITE_LOCKED")
_SQLITE_OUTAGES = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")

_POSTGRES_COLLISIONS = ("40", "55P03")
"""Classes and codes of SQLSTATE: transaction rollback (deadlock, serialization), lock timeout."""
_POSTGRES_OUTAGES = ("08", "53", "57P", "58")
"""Connection, resources, operator's intervention, system error."""


def trouble_of(error: BaseException) -> Trouble:
    """The kind of a failure of the database; MISTAKE for anything that is not one."""
    if isinstance(error, FenceTaken):
        return Trouble.COLLISION
    if isinstance(error, (Unreachable, DisconnectionError, PoolTimeoutError)):
        return Trouble.OUTAGE
    if not isinstance(error, DBAPIError):
        return Trouble.MISTAKE
    if error.connection_invalidated:
        return Trouble.OUTAGE
    code = getattr(error.orig, "sqlite_errorname", None)
    if isinstance(code, str):
        return _by_prefix(code, _SQLITE_COLLISIONS, _SQLITE_OUTAGES)
    code = getattr(error.orig, "sqlstate", None)
    if isinstance(code, str):
        return _by_prefix(code, _POSTGRES_COLLISIONS, _POSTGRES_OUTAGES)
    # psycopg gives no code when the server did not answer at all.
    return Trouble.OUTAGE if type(error.orig).__name__ == "OperationalError" else Trouble.MISTAKE


def _by_prefix(code: str, collisions: tuple[str, ...], outages: tuple[str, ...]) -> Trouble:
    if code.startswith(collisions):
        return Trouble.COLLISION
    return Trouble.OUTAGE if code.startswith(outages) else Trouble.MISTAKE
