"""The audit trail: one row an event, never changed.

It says what happened, when, and because of what; the event itself stands in `es_events`, under the
same saga and version, and is not written twice. The rows of a saga are a chain, each with a hash
over its event and the hash before (`es_saga.projections.chain`), and triggers of the database, made
by the migrations, refuse to change or delete them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Final

import sqlalchemy as sa

from es_saga.database import ID_TYPE
from es_saga.engine.ports import Recorded
from es_saga.projections.chain import GENESIS, link
from es_saga.projections.tips import Tips
from es_saga.projections.view import Batch

_metadata = sa.MetaData()

AUDIT = sa.Table(
    "es_audit",
    _metadata,
    sa.Column("saga_id", ID_TYPE, nullable=False),
    sa.Column(
        "version",
        sa.Integer,
        nullable=False,
        autoincrement=False,
        comment="number of the event in its saga",
    ),
    sa.Column("part", sa.Integer, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False, comment="where it stands in the part"),
    sa.Column("kind", sa.Text, nullable=False, comment="name of the event"),
    sa.Column("step", sa.Text),
    sa.Column("at", sa.Double, nullable=False, comment="seconds since the epoch"),
    sa.Column("cause", sa.Text, comment="id of the message that led to it; null: a timer"),
    sa.Column("actor", sa.Text, comment="who intervened, if somebody did"),
    sa.Column("trace", sa.Text, comment="W3C traceparent of the saga's start"),
    sa.Column("hash", sa.Text, nullable=False, comment="of this event and of the hash before"),
    sa.PrimaryKeyConstraint("saga_id", "version", name="pk_es_audit"),
    sqlite_with_rowid=False,
)
"""Who did what to which saga, when, and because of which message."""

_COLUMNS = "saga_id, version, part, position, kind, step, at, cause, actor, trace, hash"
_TYPES = ("text", "int4", "int4", "int8", "text", "text", "float8", "text", "text", "text", "text")

Row = tuple[Any, ...]
"""One row as the drivers take it."""

Link = tuple[str | None, str]
"""What an event's row has from the saga: its trace, and the hash."""

_NO_LINK: Final[Link] = (None, GENESIS)


class AuditView:
    """Keeps `es_audit` in step with the log."""

    name = "audit"
    metadata = _metadata

    def __init__(self, table: str = "es_audit") -> None:
        self._tips = Tips(table)
        marks = ", ".join("?" * len(_TYPES))
        self._insert = f"INSERT INTO {table} ({_COLUMNS}) VALUES ({marks}) ON CONFLICT DO NOTHING"
        self._copy = f"COPY {table} ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"

    def beside(self, suffix: str) -> AuditView:
        """See `Rebuildable.beside`."""
        other = AuditView(f"es_audit{suffix}")
        other.name = f"{self.name}{suffix}"
        return other

    def apply(self, connection: sa.Connection, batch: Batch) -> None:
        """Add a row for each event; on SQLite one that is there already stays as it is."""
        self.write(connection, self.rows(batch.events, self._links(connection, batch)))

    def rows(self, events: Sequence[Recorded], links: Iterable[Link] | None = None) -> list[Row]:
        """What `write` is given; without links the rows are no chain."""
        rows: list[Row] = []
        for recorded, (trace, hash) in zip(events, links or repeat(_NO_LINK), strict=False):
            event = recorded.event
            # Not `getattr`: a pydantic model takes a microsecond to say that it has no such field.
            fields = event.__dict__
            rows.append(
                (
                    recorded.saga_id,
                    recorded.version,
                    recorded.part,
                    recorded.position,
                    type(event).__name__,
                    fields.get("step"),
                    event.at,
                    event.cause,
                    fields.get("actor"),
                    trace,
                    hash,
                )
            )
        return rows

    def _links(self, connection: sa.Connection, batch: Batch) -> list[Link]:
        """The trace and the hash of each event."""
        states, tips = batch.states, self._tips.before(connection, batch.events)
        links: list[Link] = []
        for _, _, saga_id, version, event, payload, topic in batch.events:
            stored = type(event).__name__ if topic is None else topic
            hash = tips[saga_id] = link(tips[saga_id], saga_id, version, stored, payload)
            links.append((states[saga_id].origin.trace, hash))
        self._tips.keep(connection, _after(batch, tips))
        return links

    def forget(self, saga_ids: Iterable[str]) -> None:
        """See `Remembering.forget`."""
        self._tips.forget(saga_ids)

    def write(self, connection: sa.Connection, rows: list[Row]) -> None:
        """Nothing but the statement."""
        driver: Any = connection.connection.driver_connection
        if connection.dialect.name == "sqlite":
            driver.executemany(self._insert, rows).close()
            return
        with driver.cursor(binary=True) as cursor, cursor.copy(self._copy) as copy:
            copy.set_types(_TYPES)
            for row in rows:
                copy.write_row(row)


def _after(batch: Batch, tips: Mapping[str, str]) -> dict[str, tuple[int, str]]:
    """Where the chains of sagas end that will go on."""
    return {
        saga_id: (state.version, tips[saga_id])
        for saga_id, state in batch.states.items()
        if state.closed is None
    }
