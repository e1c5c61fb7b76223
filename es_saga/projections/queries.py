"""Questions to the read models: what people and dashboards ask about sagas.

Reads only, on the database of the log; every list is paged by key and bounded.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from es_saga.core.errors import InvalidInput, NotFound, Unavailable
from es_saga.core.messages import check_id
from es_saga.database import READ_ONLY
from es_saga.projections.audit import AUDIT
from es_saga.projections.status import STATUS

MAX_PAGE = 1_000
"""Rows in one answer."""

POLL_SECONDS = 0.05
"""How often `wait` looks, at first; then less and less often, down to once a second."""

STATUSES = (
    "running",
    "waiting",
    "compensating",
    "stuck",
    "completed",
    "compensated",
    "compensated-with-exceptions",
)


_EVENTS = sa.table(
    "es_events",
    sa.column("originator_id", sa.Text),
    sa.column("originator_version", sa.Integer),
    sa.column("state", sa.LargeBinary),
)
_SAME_EVENT = sa.and_(
    _EVENTS.c.originator_id == AUDIT.c.saga_id, _EVENTS.c.originator_version == AUDIT.c.version
)


@dataclass(frozen=True, slots=True)
class SagaRow:
    """One saga as the status view has it. Times in seconds since the epoch."""

    saga_id: str
    type: str
    definition: int
    status: str
    business_id: str | None
    current: tuple[str, ...]
    steps: dict[str, Any]
    version: int
    reason: str | None
    reason_step: str | None
    payload: dict[str, Any]
    created: float
    updated: float
    closed: float | None
    next_due: float | None
    deadline: float | None
    exceptions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One event as the audit trail has it."""

    saga_id: str
    version: int
    kind: str
    step: str | None
    at: float
    cause: str | None
    actor: str | None
    payload: dict[str, Any]


class Queries:
    """The read side of one log."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine.execution_options(**{READ_ONLY: True})

    def status(self, saga_id: str) -> SagaRow:
        """One saga.

        Raises:
            NotFound: there is no such saga.
            Unavailable: the database is out of reach.
        """
        check_id(saga_id)
        rows = self._rows(sa.select(STATUS).where(STATUS.c.saga_id == saga_id))
        if not rows:
            raise NotFound(f"There is no saga {saga_id!r}.", hint="`es-saga list` shows them.")
        return _saga(rows[0])

    def sagas(
        self,
        *,
        status: str | None = None,
        saga_type: str | None = None,
        business_id: str | None = None,
        since: float | None = None,
        before: tuple[float, str] | None = None,
        limit: int = 50,
    ) -> list[SagaRow]:
        """Sagas, the most recently changed first.

        Args:
            status: one of STATUSES.
            since: only those that changed after this time.
            before: the `updated` and `saga_id` of the last row of the page before.
            limit: at most MAX_PAGE.

        Raises:
            InvalidInput: an unknown status, or a limit out of range.
        """
        if status is not None and status not in STATUSES:
            raise InvalidInput(
                f"{status[:80]!r} is no status.", hint=f"One of: {', '.join(STATUSES)}."
            )
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"A page has 1 to {MAX_PAGE} rows, not {limit}.")
        query = sa.select(STATUS).order_by(STATUS.c.updated.desc(), STATUS.c.saga_id.desc())
        for column, value in (
            (STATUS.c.status, status),
            (STATUS.c.type, saga_type),
            (STATUS.c.business_id, business_id),
        ):
            if value is not None:
                query = query.where(column == value)
        if since is not None:
            query = query.where(STATUS.c.updated >= since)
        if before is not None:
            query = query.where(
                sa.tuple_(STATUS.c.updated, STATUS.c.saga_id) < sa.tuple_(*map(sa.literal, before))
            )
        return [_saga(row) for row in self._rows(query.limit(limit))]

    def counts(self) -> dict[str, int]:
        """Sagas by status."""
        query = sa.select(STATUS.c.status, sa.func.count().label("n")).group_by(STATUS.c.status)
        return {row["status"]: row["n"] for row in self._rows(query)}

    def history(self, saga_id: str, *, after: int = 0, limit: int = MAX_PAGE) -> list[AuditRow]:
        """A saga's audit trail, oldest first, from the event after number `after`.

        Raises:
            NotFound: there is no such saga.
            InvalidInput: a limit out of range.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"A page has 1 to {MAX_PAGE} rows, not {limit}.")
        query = (
            sa.select(AUDIT, _EVENTS.c.state.label("payload"))
            .join(_EVENTS, _SAME_EVENT)
            .where(AUDIT.c.saga_id == check_id(saga_id), AUDIT.c.version > after)
            .order_by(AUDIT.c.version)
            .limit(limit)
        )
        rows = [_audit(row) for row in self._rows(query)]
        if not rows and after == 0:
            raise NotFound(f"There is no saga {saga_id!r}.", hint="`es-saga list` shows them.")
        return rows

    async def wait(self, saga_id: str, timeout: float) -> SagaRow:
        """The saga once it is closed or stuck, or as it is after `timeout` seconds.

        Raises:
            NotFound: there is no such saga.
        """
        end = time.monotonic() + timeout
        pause = POLL_SECONDS
        while True:
            row = await asyncio.to_thread(self.status, saga_id)
            left = end - time.monotonic()
            if row.closed is not None or row.status == "stuck" or left <= 0:
                return row
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, 1.0)

    def _rows(self, query: sa.Executable) -> Sequence[sa.RowMapping]:
        try:
            with self._engine.connect() as connection:
                return connection.execute(query).mappings().all()
        except OperationalError as error:
            raise Unavailable(
                "The database of the log is out of reach, or has no such tables.",
                hint="Check the URL, then `es-saga migrate status`.",
            ) from error


def _saga(row: sa.RowMapping) -> SagaRow:
    return SagaRow(
        saga_id=row["saga_id"],
        type=row["type"],
        definition=row["definition"],
        status=row["status"],
        business_id=row["business_id"],
        current=tuple(filter(None, row["current"].split(","))),
        steps=json.loads(row["steps"]),
        version=row["version"],
        reason=row["reason"],
        reason_step=row["reason_step"],
        payload=json.loads(row["payload"]),
        created=row["created"],
        updated=row["updated"],
        closed=row["closed"],
        next_due=row["next_due"],
        deadline=row["deadline"],
        exceptions=json.loads(row["exceptions"] or "[]"),
    )


def _audit(row: sa.RowMapping) -> AuditRow:
    return AuditRow(
        saga_id=row["saga_id"],
        version=row["version"],
        kind=row["kind"],
        step=row["step"],
        at=row["at"],
        cause=row["cause"],
        actor=row["actor"],
        payload=json.loads(row["payload"]),
    )
