"""The audit trail: one row an event, never changed.

It says what happened, when, and because of what; the event itself stands in `es_events`, under the
same saga and version, and is not written twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from es_saga.database import ID_TYPE
from es_saga.engine.ports import Recorded
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


class AuditView:
    """Keeps `es_audit` in step with the log."""

    name = "audit"
    metadata = _metadata

    def __init__(self, table: str = "es_audit") -> None:
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
        self.write(connection, self.rows(batch.events))

    def rows(self, events: Sequence[Recorded]) -> list[Row]:
        """What `write` is given."""
        rows: list[Row] = []
        for part, position, saga_id, version, event, _ in events:
            kind, fields = type(event).__name__, event.__dict__
            # Not `getattr`: a pydantic model takes a microsecond to say that it has no such field.
            step, actor = fields.get("step"), fields.get("actor")
            trace = fields.get("trace")
            rows.append(
                (
                    saga_id,
                    version,
                    part,
                    position,
                    kind,
                    step,
                    event.at,
                    event.cause,
                    actor,
                    trace,
                    "",
                )
            )
        return rows

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
