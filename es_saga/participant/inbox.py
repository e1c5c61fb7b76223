"""The inbox: which messages a consumer has handled, so that it acts on each once.

A row commits with what the consumer did about the message, in a transaction of its own database.
Any SQLAlchemy session or connection will do:

    inbox = Inbox("shipping")

    with Session(engine) as session:
        if inbox.first_time(session, event.id):
            session.add(Parcel(order_id=...))
        session.commit()

The pattern is also called the idempotent consumer. A participant's commands need none: they have
the fence, see `es_saga.participant.fence`.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, overload

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from es_saga.participant.forgetting import MOST_ROWS, forget
from es_saga.participant.sessions import is_async_connection, is_async_session

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

metadata = sa.MetaData()
"""The inbox's table, for `create_all` or for the consumer's own migrations."""

es_inbox = sa.Table(
    "es_inbox",
    metadata,
    sa.Column("consumer", sa.Text, primary_key=True),
    sa.Column("message_id", sa.Text, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index("es_inbox_at", "at", postgresql_using="brin"),
    sqlite_with_rowid=False,
)


class Inbox:
    """What one consumer has handled; several may share a database."""

    def __init__(self, consumer: str) -> None:
        self.consumer = consumer

    @overload
    def first_time(self, session: Session | sa.Connection, message_id: str) -> bool: ...
    @overload
    def first_time(
        self, session: AsyncSession | AsyncConnection, message_id: str
    ) -> Coroutine[Any, Any, bool]: ...
    def first_time(
        self, session: Session | sa.Connection | AsyncSession | AsyncConnection, message_id: str
    ) -> bool | Coroutine[Any, Any, bool]:
        """Whether the message was never handled before; from the commit on it has been.

        To be called before acting on it, in the same transaction. While another transaction handles
        the same message, this waits for its end. An asynchronous session must be awaited.
        """
        if isinstance(session, sa.Connection) or is_async_connection(session):
            dialect = session.dialect
        else:
            dialect = session.get_bind().dialect
        note = _note(dialect.name)
        values = {"consumer": self.consumer, "message_id": message_id, "at": time.time()}
        if is_async_session(session) or is_async_connection(session):
            return _first_time(session, note, values)
        return session.execute(note, values).first() is not None


async def _first_time(
    session: AsyncSession | AsyncConnection, note: sa.Executable, values: Mapping[str, object]
) -> bool:
    return (await session.execute(note, values)).first() is not None


@cache  # to build it takes longer than to run it
def _note(dialect: str) -> sa.Executable:
    """It returns a row where it writes one: not every driver counts what it inserts."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(es_inbox).on_conflict_do_nothing().returning(sa.literal(1))


def purge(engine: sa.Engine, older_than: float, *, limit: int = MOST_ROWS) -> int:
    """Forget up to `limit` messages handled before `older_than`, seconds since the epoch.

    Only what is older than any copy that could still arrive may be forgotten: the age that the
    broker keeps events, and the longest time that a relay may be down. Returns how many rows were
    deleted; fewer than `limit` means that none is left.
    """
    return forget(engine, es_inbox, older_than, limit=limit)
