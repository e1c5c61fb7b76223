"""The audit trail as it is read: every event of a saga with its payload, sensitive values hidden.

What is read is checked: each event against the chain that was made when it was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from es_saga.core.errors import InvalidInput
from es_saga.core.messages import Direction
from es_saga.core.sensitive import SensitiveFields
from es_saga.projections.audit import AUDIT
from es_saga.projections.definitions import DEFINITIONS
from es_saga.projections.listing import MAX_PAGE
from es_saga.projections.status import STATUS

EVENTS: Final = sa.table(
    "es_events",
    sa.column("part", sa.Integer),
    sa.column("position", sa.BigInteger),
    sa.column("originator_id", sa.Text),
    sa.column("originator_version", sa.Integer),
    sa.column("topic", sa.Text),
    sa.column("state", sa.LargeBinary),
)
SAME_EVENT: Final = sa.and_(
    EVENTS.c.originator_id == AUDIT.c.saga_id, EVENTS.c.originator_version == AUDIT.c.version
)
_SETTLING: Final = ("OperatorSkipped", "OperatorResolved")


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One event as the audit trail has it."""

    saga_id: str
    version: int
    kind: str
    step: str | None
    at: float
    """Seconds since the epoch."""
    cause: str | None
    actor: str | None
    payload: dict[str, Any]
    trace: str | None = None
    """W3C traceparent of the saga's start."""
    hash: str = ""
    """Of this event and of everything before it, see `es_saga.projections.chain`."""


def rows(connection: sa.Connection, saga_id: str, after: int, limit: int) -> list[AuditRow]:
    """The trail of one saga from the event after number `after`.

    Raises:
        InvalidInput: a limit out of range.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"A page has 1 to {MAX_PAGE} rows, not {limit}.")
    query = (
        sa.select(AUDIT, EVENTS.c.state.label("payload"))
        .join(EVENTS, SAME_EVENT)
        .where(AUDIT.c.saga_id == saga_id, AUDIT.c.version > after)
        .order_by(AUDIT.c.version)
        .limit(limit)
    )
    found = connection.execute(query).mappings().all()
    hidden = _hidden(connection, saga_id) if found else SensitiveFields({})
    return [_row(row, hidden) for row in found]


def settled_by(connection: sa.Connection, saga_id: str) -> Mapping[str, str]:
    """Of each step whose undo somebody settled by hand: who did."""
    query = (
        sa.select(AUDIT.c.kind, AUDIT.c.step, AUDIT.c.actor, EVENTS.c.state)
        .join(EVENTS, SAME_EVENT)
        .where(AUDIT.c.saga_id == saga_id, AUDIT.c.kind.in_(_SETTLING))
        .order_by(AUDIT.c.version)
    )
    return {
        step: actor
        for kind, step, actor, state in connection.execute(query)
        if kind == "OperatorSkipped" or json.loads(state).get("direction") == Direction.UNDO
    }


def _hidden(connection: sa.Connection, saga_id: str) -> SensitiveFields:
    same = sa.and_(
        DEFINITIONS.c.type == STATUS.c.type, DEFINITIONS.c.version == STATUS.c.definition
    )
    query = sa.select(DEFINITIONS.c.sensitive).join(STATUS, same)
    found = connection.execute(query.where(STATUS.c.saga_id == saga_id)).scalar()
    return SensitiveFields(json.loads(found or "{}"))


def _row(row: sa.RowMapping, hidden: SensitiveFields) -> AuditRow:
    return AuditRow(
        saga_id=row["saga_id"],
        version=row["version"],
        kind=row["kind"],
        step=row["step"],
        at=row["at"],
        cause=row["cause"],
        actor=row["actor"],
        payload=hidden.changed(row["kind"], json.loads(row["payload"])),
        trace=row["trace"],
        hash=row["hash"],
    )
