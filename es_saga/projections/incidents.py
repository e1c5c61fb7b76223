"""What goes wrong, grouped by cause: a hundred sagas that failed alike are one incident."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from es_saga.core.messages import as_written
from es_saga.projections.listing import AnyRow, AnySelect
from es_saga.projections.status import STATUS

MAX_FAILURES: Final = 5_000
"""Failing sagas that are grouped, the most recently changed first."""

MAX_INCIDENTS: Final = 200
"""Groups in one answer."""

EXAMPLES: Final = 5
"""Ids of sagas that stand for a group, the latest."""

_FAILING: Final = ("compensating", "stuck", "compensated", "compensated-with-exceptions")

_VARYING: Final = re.compile(
    r"""'[^']*' | "[^"]*"                      # something quoted
      | \b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b
      | \b[0-9a-fA-F]*\d[0-9a-fA-F]{7,}\b
      | \b\d+(?:\.\d+)?\b""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Incident:
    """Sagas that failed at the same step for the same cause."""

    type: str
    step: str | None
    """As it was written: whichever item of a list it was, or on whichever way."""
    cause: str
    """The reason without what differs from saga to saga: numbers, ids, what is quoted."""
    reason: str
    """The latest one in full."""
    count: int
    open: int
    """Of them not closed."""
    stuck: int
    """Of them waiting for a human."""
    first: float
    """When the first of them last changed; seconds since the epoch."""
    last: float
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Incidents:
    """All groups, those that changed last first."""

    rows: tuple[Incident, ...]
    looked_back_to: float | None
    """There were too many failures to look further back. None: everything was looked at."""


def cause_of(reason: str) -> str:
    """A reason without what differs from saga to saga.

    >>> cause_of("no parcel 'p-17' after 3 tries")
    'no parcel … after … tries'
    """
    return _VARYING.sub("…", reason)


def grouped(connection: sa.Connection, since: float, *, saga_type: str | None) -> Incidents:
    """Failures of sagas that changed since then, grouped."""
    lanes = [_lane(status, since, saga_type) for status in _FAILING]
    every = sa.union_all(*(sa.select(lane.subquery()) for lane in lanes)).subquery()
    query = sa.select(every).order_by(every.c.updated.desc()).limit(MAX_FAILURES + 1)
    rows = connection.execute(query).all()
    looked = rows[MAX_FAILURES - 1].updated if len(rows) > MAX_FAILURES else None
    return Incidents(tuple(_groups(rows[:MAX_FAILURES])), looked)


def _lane(status: str, since: float, saga_type: str | None) -> AnySelect:
    columns = (
        STATUS.c.type,
        STATUS.c.reason_step,
        STATUS.c.reason,
        STATUS.c.status,
        STATUS.c.closed,
        STATUS.c.updated,
        STATUS.c.saga_id,
    )
    query: AnySelect = (
        sa.select(*columns)
        .where(
            STATUS.c.status == status,
            STATUS.c.updated >= since,
            STATUS.c.reason.is_not(None),
        )
        .order_by(STATUS.c.updated.desc(), STATUS.c.saga_id.desc())
        .limit(MAX_FAILURES + 1)
    )
    return query if saga_type is None else query.where(STATUS.c.type == saga_type)


def _groups(rows: Iterable[AnyRow]) -> list[Incident]:
    """Groups of rows, which come the latest first."""
    groups: dict[tuple[str, str | None, str], list[AnyRow]] = {}
    for row in rows:
        step = row.reason_step and as_written(row.reason_step)
        key = (row.type, step, cause_of(row.reason))
        groups.setdefault(key, []).append(row)
    return [
        Incident(
            type=saga_type,
            step=step,
            cause=cause,
            reason=alike[0].reason,
            count=len(alike),
            open=sum(row.closed is None for row in alike),
            stuck=sum(row.status == "stuck" for row in alike),
            first=alike[-1].updated,
            last=alike[0].updated,
            examples=tuple(row.saga_id for row in alike[:EXAMPLES]),
        )
        for (saga_type, step, cause), alike in list(groups.items())[:MAX_INCIDENTS]
    ]
