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
    protect_audit()
    list_status()
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
    unlist_status()
    rebuild_audit(chained=False)
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION es_append_only()")


def protect_audit() -> None:
    """Rows of the trail are neither changed nor deleted, whoever asks."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION es_append_only() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END$$"
        )
        op.execute(
            "CREATE TRIGGER es_audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON es_audit"
            " FOR EACH STATEMENT EXECUTE FUNCTION es_append_only()"
        )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER es_audit_no_{verb.lower()} BEFORE {verb} ON es_audit"
            " BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
        )


def list_status() -> None:
    """Lists in order of the last change, by every filter; and what the status did not tell.

    The view takes in the whole log once more, with the next process that runs.
    """
    op.execute("DELETE FROM es_tracking WHERE name = 'status'")
    op.add_column(
        "es_status", sa.Column("backward", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column(
        "es_status", sa.Column("progressed", sa.Double, nullable=False, server_default="0")
    )
    op.drop_index("ix_es_status_status", "es_status")
    op.drop_index("ix_es_status_business", "es_status")
    if op.get_context().dialect.name == "postgresql":
        op.alter_column("es_status", "business_id", type_=sa.Text(collation="C"))
    op.create_index("ix_es_status_status", "es_status", ["status", "updated", "saga_id"])
    op.create_index("ix_es_status_type", "es_status", ["type", "status", "updated", "saga_id"])
    keyed = sa.text("business_id IS NOT NULL")
    op.create_index(
        "ix_es_status_business",
        "es_status",
        ["business_id"],
        postgresql_where=keyed,
        sqlite_where=keyed,
    )


def unlist_status() -> None:
    for name in ("ix_es_status_business", "ix_es_status_type", "ix_es_status_status"):
        op.drop_index(name, "es_status")
    op.drop_column("es_status", "progressed")
    op.drop_column("es_status", "backward")
    if op.get_context().dialect.name == "postgresql":
        op.alter_column("es_status", "business_id", type_=sa.Text())
    op.create_index("ix_es_status_status", "es_status", ["status", "updated"])
    op.create_index("ix_es_status_business", "es_status", ["type", "business_id"])


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
