"""Which saga definitions the log knows, and how many sagas still run on each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from es_saga.projections.status import STATUS

MAX_DEFINITIONS: Final = 1_000
"""Definitions in one answer, the latest versions first."""

DEFINITIONS: Final = sa.table(
    "es_definitions",
    sa.column("type", sa.Text),
    sa.column("version", sa.Integer),
    sa.column("fingerprint", sa.Text),
    sa.column("shape", sa.Text),
    sa.column("sensitive", sa.Text),
    sa.column("first_seen", sa.Double),
)


@dataclass(frozen=True, slots=True)
class DefinitionRow:
    """One version of a saga type, as the log knows it without its code."""

    type: str
    version: int
    fingerprint: str
    shape: Mapping[str, Any]
    """Steps with kinds, edges and commands, see `Definition.shape`."""
    sensitive: Mapping[str, Any]
    """Where sensitive fields stand, see `es_saga.core.sensitive.SensitiveFields`."""
    first_seen: float
    """Seconds since the epoch."""
    open: int
    """Sagas on it that are not closed."""


def known(
    connection: sa.Connection, saga_type: str | None = None, version: int | None = None
) -> list[DefinitionRow]:
    """The definitions of the log, of one type or one version if given; open sagas counted."""
    running = (
        sa.select(STATUS.c.type, STATUS.c.definition, sa.func.count().label("open"))
        .where(STATUS.c.closed.is_(None))
        .group_by(STATUS.c.type, STATUS.c.definition)
        .subquery()
    )
    on_it = sa.and_(
        running.c.type == DEFINITIONS.c.type, running.c.definition == DEFINITIONS.c.version
    )
    query = (
        sa.select(DEFINITIONS, running.c.open)
        .join(running, on_it, isouter=True)
        .order_by(DEFINITIONS.c.type, DEFINITIONS.c.version.desc())
        .limit(MAX_DEFINITIONS)
    )
    if saga_type is not None:
        query = query.where(DEFINITIONS.c.type == saga_type)
    if version is not None:
        query = query.where(DEFINITIONS.c.version == version)
    return [_definition(row) for row in connection.execute(query).mappings()]


def _definition(row: sa.RowMapping) -> DefinitionRow:
    return DefinitionRow(
        type=row["type"],
        version=row["version"],
        fingerprint=row["fingerprint"],
        shape=json.loads(row["shape"]),
        sensitive=json.loads(row["sensitive"]),
        first_seen=row["first_seen"],
        open=row["open"] or 0,
    )
