"""Deleting what is old, a page at a time: one transaction would hold up everybody else."""

from __future__ import annotations

import sqlalchemy as sa

PURGE_ROWS = 1_000
"""Most rows one transaction deletes."""

MOST_ROWS = 100 * PURGE_ROWS
"""Most rows one call deletes, by default."""


def forget(engine: sa.Engine, table: sa.Table, older_than: float, *, limit: int) -> int:
    """Delete up to `limit` rows whose `at` is before `older_than`; how many that were."""
    key = sa.tuple_(*table.primary_key.columns)
    oldest = sa.select(*table.primary_key.columns).where(table.c.at < older_than)
    deleted = 0
    while deleted < limit:
        page = oldest.limit(min(PURGE_ROWS, limit - deleted))
        with engine.begin() as connection:
            count = connection.execute(sa.delete(table).where(key.in_(page))).rowcount
        deleted += count
        if count == 0:
            break
    return deleted
