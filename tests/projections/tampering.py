"""Whoever tampers with a log can do so: what protects the trail can be taken away."""

from __future__ import annotations

import sqlalchemy as sa


def unprotect(engine: sa.Engine) -> None:
    """Let rows of the trail be changed and deleted."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            for verb in ("update", "delete"):
                connection.exec_driver_sql(f"DROP TRIGGER es_audit_no_{verb}")
        else:
            connection.exec_driver_sql("DROP TRIGGER es_audit_append_only ON es_audit")
