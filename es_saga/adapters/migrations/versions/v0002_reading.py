"""The audit trail becomes a chain; sensitive fields are known; views tell how they are doing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    rebuild_audit(chained=True)
    op.add_column(
        "es_definitions", sa.Column("sensitive", sa.Text, nullable=False, server_default="{}")
    )
    op.create_table(
        "es_keys",
        sa.Column("saga_id", ID, nullable=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("changed", sa.Double, nullable=False),
        sa.Column("actor", sa.Text),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("saga_id", name="pk_es_keys"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "es_projections",
        sa.Column("name", ID, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("part", sa.Integer),
        sa.Column("position", sa.BigInteger),
        sa.Column("updated", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_es_projections"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("es_projections")
    op.drop_table("es_keys")
    op.drop_column("es_definitions", "sensitive")
    rebuild_audit(chained=False)


def rebuild_audit(*, chained: bool) -> None:
    """The trail is a view: made empty, it is filled from the log by the next process that runs."""
    op.drop_table("es_audit")
    op.execute("DELETE FROM es_tracking WHERE name = 'audit'")
    links = [sa.Column("trace", sa.Text), sa.Column("hash", sa.Text, nullable=False)]
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
        *(links if chained else ()),
        sa.PrimaryKeyConstraint("saga_id", "version", name="pk_es_audit"),
        sqlite_with_rowid=False,
    )
