"""The log, its readers' positions, the definitions seen, and the read models of every saga."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    create_log()
    create_status()
    create_audit()


def downgrade() -> None:
    for table in ("es_audit", "es_status", "es_definitions", "es_tracking", "es_events"):
        op.drop_table(table)


def create_log() -> None:
    op.create_table(
        "es_events",
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("originator_id", ID, nullable=False),
        sa.Column("originator_version", sa.Integer, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("recorded_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("part", "position", name="pk_es_events"),
        sa.UniqueConstraint("originator_id", "originator_version", name="uq_es_events_version"),
    )
    op.create_table(
        "es_tracking",
        sa.Column("name", ID, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", "part", name="pk_es_tracking"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "es_definitions",
        sa.Column("type", ID, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("shape", sa.Text, nullable=False),
        sa.Column("first_seen", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("type", "version", name="pk_es_definitions"),
        sqlite_with_rowid=False,
    )


def create_status() -> None:
    op.create_table(
        "es_status",
        sa.Column("saga_id", ID, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("definition", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("business_id", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("current", sa.Text, nullable=False),
        sa.Column("steps", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("reason_step", sa.Text),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("updated", sa.Double, nullable=False),
        sa.Column("closed", sa.Double),
        sa.Column("next_due", sa.Double),
        sa.Column("deadline", sa.Double),
        sa.Column("exceptions", sa.Text),
        sa.PrimaryKeyConstraint("saga_id", name="pk_es_status"),
    )
    unclosed = sa.text("closed IS NULL")
    op.create_index(
        "ix_es_status_open",
        "es_status",
        ["part"],
        postgresql_where=unclosed,
        sqlite_where=unclosed,
    )
    op.create_index("ix_es_status_status", "es_status", ["status", "updated"])
    op.create_index("ix_es_status_business", "es_status", ["type", "business_id"])


def create_audit() -> None:
    op.create_table(
        "es_audit",
        sa.Column("saga_id", ID, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("step", sa.Text),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("cause", sa.Text),
        sa.Column("actor", sa.Text),
        sa.PrimaryKeyConstraint("saga_id", "version", name="pk_es_audit"),
        sqlite_with_rowid=False,
    )
