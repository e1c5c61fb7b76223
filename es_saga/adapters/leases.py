"""Leases by PostgreSQL advisory locks: held by a session, gone the moment its process is.

Every process holds a member lock besides, so that each can count the others and take its fair
share. Efficiency only: the keys of the log refuse a second writer whatever the locks say.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import zlib
from collections.abc import Iterable
from math import ceil

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from es_saga.core.messages import PARTS

_FIRST_MEMBER = 1_000
"""Lock numbers below are parts, from here on members."""

_KEEPALIVE = (
    ("tcp_keepalives_idle", 4),
    ("tcp_keepalives_interval", 2),
    ("tcp_keepalives_count", 3),
)
"""Seconds and counts after which the server notices that our whole machine is gone: 10 s."""

_log = structlog.get_logger("es_saga.leases")


class PostgresLeases:
    """The parts of one app, shared fairly by the processes that run it."""

    def __init__(self, engine: sa.Engine, app: str) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._space = zlib.crc32(f"es_saga/{app}".encode()) & 0x7FFFFFFF
        self._connection: sa.Connection | None = None
        self._locked: set[int] = set()

    async def held(self) -> frozenset[int]:
        """Take up to a fair share of what is free; what is beyond it is not ours any more.

        A part beyond the share stays locked until it is released, so that nobody takes it while
        its last batch is on its way. When the connection is lost, nothing is held.
        """
        return await asyncio.to_thread(self._held)

    async def release(self, parts: Iterable[int]) -> None:
        """Unlock parts."""
        await asyncio.to_thread(self._release, tuple(parts))

    async def close(self) -> None:
        """Give everything back."""
        await asyncio.to_thread(self._disconnect)

    def _held(self) -> frozenset[int]:
        try:
            connection = self._connect()
            share = ceil(PARTS / max(1, self._members(connection)))
            for part in range(PARTS):
                if len(self._locked) >= share:
                    break
                self._try(connection, part)
            return frozenset(sorted(self._locked)[:share])
        except SQLAlchemyError as error:
            _log.warning("leases_lost", error=type(error).__name__)
            self._disconnect()
            return frozenset()

    def _connect(self) -> sa.Connection:
        if self._connection is None:
            connection = self._engine.connect()
            for name, value in _KEEPALIVE:
                connection.exec_driver_sql(f"SET {name} = {value}")
            member = _FIRST_MEMBER + int.from_bytes(os.urandom(3))
            connection.exec_driver_sql(
                "SELECT pg_advisory_lock(%s::int, %s::int)", (self._space, member)
            )
            self._connection, self._locked = connection, set()
        return self._connection

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
        connection = self._connection
        if connection is None:
            return
        try:
            for part in self._locked.intersection(parts):
                connection.exec_driver_sql(
                    "SELECT pg_advisory_unlock(%s::int, %s::int)", (self._space, part)
                )
            self._locked.difference_update(parts)
        except SQLAlchemyError:
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection, self._locked = self._connection, None, set()
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.invalidate()  # closes the session, and with it every lock
                connection.close()
