"""What an outbox still holds: read in order, deleted once it is published."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from es_saga.database import READ_ONLY
from es_saga.participant.outbox import COLUMNS, Row, es_outbox


class Published(NamedTuple):
    """What became of some rows."""

    positions: list[int]
    """The broker has them."""
    faults: dict[int, str]
    """They can never be published, and why."""


class Backlog:
    """The rows of a service's outbox that are not published yet, over one connection.

    On PostgreSQL one relay at a time has its turn, and the others stand by. It loses the turn with
    its connection, perhaps while it still publishes; so do relays on SQLite, which take no turns.
    No harm is done: each publishes an aggregate's rows in order, each when the broker has the one
    before, so the first copies are in order whoever sent them, and the others are dropped by id.
    """

    def __init__(self, engine: sa.Engine, service: str) -> None:
        self._engine = engine
        self._service = service
        self._connection: sa.Connection | None = None

    def take_turn(self) -> bool:
        """Whether it is ours to publish."""
        if self._connection is not None:
            return True
        connection = self._engine.connect()
        try:
            if connection.dialect.name == "postgresql" and not self._granted(connection):
                connection.close()
                return False
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        self._connection = connection
        return True

    def oldest(self, limit: int, *, before: float | None = None) -> list[Row]:
        """Up to `limit` rows in order; only those added `before`, in seconds since the epoch."""
        query = sa.select(*COLUMNS).where(*self._ours)
        if before is not None:
            query = query.where(sa.or_(es_outbox.c.at.is_(None), es_outbox.c.at < before))
        connection = self._held().execution_options(**{READ_ONLY: True})
        with connection.begin():
            found = connection.execute(query.order_by(es_outbox.c.position).limit(limit)).all()
        connection.execution_options(**{READ_ONLY: False})
        return [Row(*row) for row in found]

    def remaining(self, positions: Collection[int]) -> set[int]:
        """Those of the rows that are still there."""
        connection = self._held()
        with connection.begin():
            query = sa.select(es_outbox.c.position).where(es_outbox.c.position.in_(positions))
            return set(connection.execute(query).scalars())

    def settle(self, published: Published) -> None:
        """Delete what is published; what cannot be stays, with its fault, and is not read again."""
        connection = self._held()
        with connection.begin():
            where = es_outbox.c.position.in_(published.positions)
            connection.execute(sa.delete(es_outbox).where(where))
            for position, fault in published.faults.items():
                row = es_outbox.c.position == position
                connection.execute(sa.update(es_outbox).where(row).values(fault=fault))

    def let_go(self) -> None:
        """Give the turn back, and the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.invalidate()  # its lock goes with it
                connection.close()

    def _held(self) -> sa.Connection:
        assert self._connection is not None, "whoever reads or deletes has its turn"
        return self._connection

    @property
    def _ours(self) -> tuple[sa.ColumnElement[bool], ...]:
        return es_outbox.c.service == self._service, es_outbox.c.fault.is_(None)

    def _granted(self, connection: sa.Connection) -> bool:
        key = sa.func.hashtextextended(f"es_saga/outbox/{self._service}", 0)
        with connection.begin():
            return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key))))
