"""Leases by PostgreSQL advisory locks: held by a session, gone the moment its process is.

Every process holds a member lock besides, so that each can count the others and take its fair
share. Efficiency only: the keys of the log refuse a second writer whatever the locks say.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
import zlib
from collections.abc import Iterable
from math import ceil

import sqlalchemy as sa
import structlog

from es_saga.adapters.trouble import unavailable
from es_saga.core.errors import ConflictError
from es_saga.core.messages import PARTS

GRACE_SECONDS = 10.0
"""While the database is away, parts are kept for so long: nobody else can take them meanwhile,
unless it is us who are cut off. What was sent to them waits in this process, or is refused."""

_FIRST_MEMBER = 1_000
"""Lock numbers below are parts, from here on members."""

_KNOWN_AS = "es_saga "
"""How the name begins under which the database server lists us."""

_KEEPALIVE = (
    ("tcp_keepalives_idle", 4),
    ("tcp_keepalives_interval", 2),
    ("tcp_keepalives_count", 3),
)
"""Seconds and counts after which the server notices that our whole machine is gone: 10 s."""

_log = structlog.get_logger("es_saga.leases")


class PostgresLeases:
    """The parts of one app, shared fairly by the processes that run it.

    Takes one connection of the engine's pool, for as long as it lasts.
    """

    def __init__(
        self, engine: sa.Engine, app: str, *, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._app = app
        self._space = _number(f"es_saga/{app}")
        self._grace = grace_seconds
        self._turn = threading.Lock()
        """A call that was cancelled goes on in its thread; the next one waits for it."""
        self._connection: sa.Connection | None = None
        self._locked: set[int] = set()
        self._lost: frozenset[int] = frozenset()
        """What was ours when the connection broke."""
        self._seen = time.monotonic()

    async def alone(self) -> None:
        """Make sure that no app of another name runs on this log, once the log is there.

        One that has a new name is let in as soon as its processes of the old name have ended.

        Raises:
            ConflictError: another one does; it is named.
            Unavailable: the database is away.
        """
        other = await asyncio.to_thread(self._other_app)
        if other is not None:
            raise ConflictError(
                f"Another app runs on this log: {other}.",
                hint="Two apps have two databases. If that is this app's old name, stop it first.",
            )

    async def held(self) -> frozenset[int]:
        """Take up to a fair share of what is free; what is beyond it is not ours any more.

        A part beyond the share stays locked until it is released, so that nobody takes it while
        its last batch is on its way. After a broken connection, what nobody else has taken in the
        meantime is ours again. When the database stays away for `grace_seconds`, nothing is.

        Raises:
            Unavailable: the database is away, and has not been for long: keep what you have.
        """
        return await asyncio.to_thread(self._held)

    async def release(self, parts: Iterable[int]) -> None:
        """Unlock parts."""
        await asyncio.to_thread(self._release, tuple(parts))

    async def close(self) -> None:
        """Give everything back."""
        await asyncio.to_thread(self._close)

    # ── in a thread ──────────────────────────────────────────────────────────────────────────────

    def _other_app(self) -> str | None:
        with self._turn:
            try:
                self._connection = self._connection or self._connect()
                found = self._connection.exec_driver_sql(
                    "SELECT coalesce(a.application_name, '')"
                    " FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
                    " WHERE l.locktype = 'advisory' AND l.classid::bigint = %s"
                    " AND l.objid::bigint <> %s AND l.objsubid = 2 AND l.database ="
                    " (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1",
                    (self._log(self._connection), _number(self._app)),
                ).scalar()
            except Exception as error:
                self._disconnect()
                raise unavailable(error) from error
        return None if found is None else str(found).removeprefix(_KNOWN_AS) or "unknown"

    def _log(self, connection: sa.Connection) -> int:
        """The lock that all who run on this log hold, each app by its own number."""
        table = connection.exec_driver_sql("SELECT to_regclass('es_events')::oid::bigint").scalar()
        return _number(f"es_saga log/{table}")

    def _held(self) -> frozenset[int]:
        with self._turn:
            if self._connection is not None:
                try:
                    return self._share(self._connection)
                except Exception as error:  # the driver's own errors may come as they are
                    _log.warning("leases_lost", error=type(error).__name__)
                    self._disconnect()
            try:
                return self._regain()
            except Exception as error:
                self._disconnect()
                if time.monotonic() - self._seen < self._grace:
                    raise unavailable(error) from error
                _log.warning("leases_given_up", error=type(error).__name__)
                self._lost = frozenset()
                return frozenset()

    def _share(self, connection: sa.Connection) -> frozenset[int]:
        share = ceil(PARTS / max(1, self._members(connection)))
        for part in range(PARTS):
            if len(self._locked) >= share:
                break
            self._try(connection, part)
        self._seen = time.monotonic()
        return frozenset(sorted(self._locked)[:share])

    def _regain(self) -> frozenset[int]:
        """Connect. What was lost comes first: the others may be on their way back for theirs."""
        self._connection = connection = self._connect()
        if not self._lost:
            return self._share(connection)
        for part in sorted(self._lost):
            self._try(connection, part)
        self._lost = frozenset()
        self._seen = time.monotonic()
        return frozenset(self._locked)

    def _connect(self) -> sa.Connection:
        connection = self._engine.connect()
        try:
            for name, value in _KEEPALIVE:
                connection.exec_driver_sql(f"SET {name} = {value}")
            member = _FIRST_MEMBER + int.from_bytes(os.urandom(3))
            connection.exec_driver_sql(
                "SELECT pg_advisory_lock(%s::int, %s::int)", (self._space, member)
            )
            connection.exec_driver_sql(
                "SELECT set_config('application_name', %s, false),"
                " pg_advisory_lock_shared(%s::int, %s::int)",
                (f"{_KNOWN_AS}{self._app}", self._log(connection), _number(self._app)),
            )
        except BaseException:
            _drop(connection)
            raise
        return connection

    def _members(self, connection: sa.Connection) -> int:
        count = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND classid::bigint = %s AND objid::bigint >= %s AND objsubid = 2 AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())",
            (self._space, _FIRST_MEMBER),
        ).scalar_one()
        return int(count)

    def _try(self, connection: sa.Connection, part: int) -> None:
        if part in self._locked:
            return
        taken = connection.exec_driver_sql(
            "SELECT pg_try_advisory_lock(%s::int, %s::int)", (self._space, part)
        ).scalar_one()
        if taken:
            self._locked.add(part)

    def _release(self, parts: tuple[int, ...]) -> None:
        with self._turn:
            self._lost = self._lost.difference(parts)
            connection = self._connection
            if connection is None:
                return
            try:
                for part in self._locked.intersection(parts):
                    connection.exec_driver_sql(
                        "SELECT pg_advisory_unlock(%s::int, %s::int)", (self._space, part)
                    )
                self._locked.difference_update(parts)
            except Exception:  # whatever it is, without the connection nothing is locked
                self._locked.difference_update(parts)
                self._disconnect()

    def _close(self) -> None:
        with self._turn:
            if self._connection is not None:
                with contextlib.suppress(Exception):  # then the session's end unlocks them
                    self._connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
            self._disconnect()
            self._lost = frozenset()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._lost = self._lost.union(self._locked)
        self._locked = set()
        if connection is not None:
            _drop(connection)


def _number(name: str) -> int:
    """Of a lock."""
    return zlib.crc32(name.encode()) & 0x7FFFFFFF


def _drop(connection: sa.Connection) -> None:
    """Close the session itself, and with it every lock; not only give it back to the pool."""
    with contextlib.suppress(Exception):  # it may be broken, which is why it goes
        connection.invalidate()
    with contextlib.suppress(Exception):
        connection.close()
