"""The tables of the log.

`es_events` is the truth, `es_tracking` says how far each reader has come in it, `es_definitions`
remembers which saga definitions have run. The read models' tables stand with their views. The
migrations in `es_saga.adapters.migrations` create them all; a test holds the two together.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from es_saga.database import ID_TYPE

SCHEMA_REVISION: Final = "0002"
"""The migration that this release needs."""

REVISION_TABLE: Final = "es_schema"
"""Where the applied migration is noted; not alembic's default, which may be a user's own."""

METADATA: Final = sa.MetaData()


def events_table(name: str, metadata: sa.MetaData) -> sa.Table:
    """A log of events: in order of part and position, and findable by originator and version.

    On SQLite it has row ids: new events of all parts go to one end of the file, and only the small
    keys into sixteen places of their index; kept in the order of the key it took 10 % more CPU.
    """
    return sa.Table(
        name,
        metadata,
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("originator_id", ID_TYPE, nullable=False),
        sa.Column("originator_version", sa.Integer, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("recorded_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("part", "position", name=f"pk_{name}"),
        sa.UniqueConstraint("originator_id", "originator_version", name=f"uq_{name}_version"),
    )


EVENTS: Final = events_table("es_events", METADATA)

TRACKING: Final = sa.Table(
    "es_tracking",
    METADATA,
    sa.Column("name", ID_TYPE, nullable=False),
    sa.Column("part", sa.Integer, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("name", "part", name="pk_es_tracking"),
    sqlite_with_rowid=False,
)

DEFINITIONS: Final = sa.Table(
    "es_definitions",
    METADATA,
    sa.Column("type", ID_TYPE, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("shape", sa.Text, nullable=False),
    sa.Column("first_seen", sa.Double, nullable=False),
    sa.Column("sensitive", sa.Text, nullable=False, server_default="{}"),
    sa.PrimaryKeyConstraint("type", "version", name="pk_es_definitions"),
    sqlite_with_rowid=False,
)

KEYS: Final = sa.Table(
    "es_keys",
    METADATA,
    sa.Column("saga_id", ID_TYPE, nullable=False),
    sa.Column("key", sa.LargeBinary, comment="null: shredded"),
    sa.Column("changed", sa.Double, nullable=False),
    sa.Column("actor", sa.Text, comment="who shredded it"),
    sa.Column("reason", sa.Text),
    sa.PrimaryKeyConstraint("saga_id", name="pk_es_keys"),
    sqlite_with_rowid=False,
)
"""With what a saga's sensitive fields are encrypted."""

PROJECTIONS: Final = sa.Table(
    "es_projections",
    METADATA,
    sa.Column("name", ID_TYPE, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False, comment="in a row"),
    sa.Column("error", sa.Text, comment="null: it is well"),
    sa.Column("part", sa.Integer, comment="where it stands still"),
    sa.Column("position", sa.BigInteger, comment="of the event that it cannot take in"),
    sa.Column("updated", sa.Double, nullable=False),
    sa.PrimaryKeyConstraint("name", name="pk_es_projections"),
    sqlite_with_rowid=False,
)
"""How the views that follow behind are doing."""
