"""The alerts that last, in the database of the log: what is still to be told, and who is idle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from es_saga.adapters.statements import statements_for
from es_saga.adapters.tables import TRACKING
from es_saga.adapters.trouble import Trouble, trouble, unavailable
from es_saga.core.messages import PARTS
from es_saga.core.state import SagaStatus
from es_saga.database import READ_ONLY, create_missing, take_turn
from es_saga.engine.alerting import Notice
from es_saga.engine.alerts import IDLE_PART, Alert, AlertKind
from es_saga.engine.condition import Complaint
from es_saga.projections.alerts import (
    IDLE,
    IDLE_METADATA,
    REPORTED,
    TABLES,
    TIMED,
    AlertsView,
)
from es_saga.projections.audit import AUDIT
from es_saga.projections.status import STATUS

MAX_IDLE: Final = 1_000
"""Idle sagas that are found at once; with more of them the next look finds more."""

T = TypeVar("T")


class SqlAlertLog:
    """See `es_saga.engine.alerting.AlertLog`."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(**{READ_ONLY: True})
        self._statements = statements_for(engine)
        self._heads: dict[int, int] = {}
        """Where the log ended when it was prepared."""
        self._new: set[str] = set()
        """Hooks that have not begun yet."""

    async def prepare(self, hooks: Sequence[str]) -> None:
        """See `AlertLog.prepare`."""
        await self._ask(lambda: self._prepare(hooks))

    async def pending(self, hook: str, parts: Collection[int], limit: int) -> Sequence[Notice]:
        """See `AlertLog.pending`."""
        if not parts:
            return ()
        return await self._ask(lambda: self._pending(hook, parts, limit))

    async def told(self, hook: str, positions: Mapping[int, int]) -> None:
        """See `AlertLog.told`."""
        await self._ask(lambda: self._told(hook, positions))

    async def watch(self, now: float, patience: float) -> int:
        """See `AlertLog.watch`."""
        return await self._ask(lambda: self._watch(now, patience))

    async def reported(self, said: Mapping[str, Sequence[Complaint]], now: float) -> int:
        """See `AlertLog.reported`."""
        return await self._ask(lambda: self._reported(said, now))

    async def _ask(self, question: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(question)
        except DBAPIError as error:
            if trouble(error) is Trouble.OUTAGE:
                raise unavailable(error) from error
            raise

    # ── in a thread: telling ─────────────────────────────────────────────────────────────────────

    def _prepare(self, hooks: Sequence[str]) -> None:
        with self._engine.begin() as connection:
            create_missing(connection, AlertsView.metadata, IDLE_METADATA)
            self._heads = self._statements.heads(connection, range(PARTS))
            for hook in hooks:
                known = sa.select(TRACKING.c.part).where(TRACKING.c.name == _name(hook))
                if connection.scalar(known.limit(1)) is None:
                    self._new.add(hook)

    def _begun(self, hook: str) -> bool:
        """Whether a hook has its place. A new one waits until the view has come to where the log
        ended, so that it is not told what was over long before somebody wanted to hear of it."""
        if hook not in self._new:
            return True
        of_view = sa.select(TRACKING.c.part, TRACKING.c.position).where(
            TRACKING.c.name == AlertsView.name
        )
        with self._engine.begin() as connection:
            reached = {row.part: row.position for row in connection.execute(of_view)}
            if any(reached.get(part, 0) < head for part, head in self._heads.items()):
                return False
            places = [(part, _before_what_is_open(connection, part)) for part in range(PARTS + 1)]
            self._statements.mark(connection, [(_name(hook), *place) for place in places])
        self._new.discard(hook)
        return True

    def _pending(self, hook: str, parts: Collection[int], limit: int) -> list[Notice]:
        if not self._begun(hook):
            return []
        both = [
            _notices(table, hook, parts, limit, opened=opened)
            for table in TABLES
            for opened in (True, False)
        ]
        every = sa.union_all(*(sa.select(one.subquery()) for one in both)).subquery()
        # What is over comes before what it makes room for.
        order = ("part", "position", "opening", "kind", "step")
        query = sa.select(every).order_by(*(every.c[name] for name in order))
        with self._reading.connect() as connection:
            rows = connection.execute(query.limit(limit)).all()
        return [
            Notice(
                row.part,
                row.position,
                Alert(
                    saga_id=row.saga_id,
                    saga_type=row.type,
                    kind=AlertKind(row.kind),
                    opened=bool(row.opening),
                    why=row.why,
                    step=row.step or None,
                    at=row.at,
                    since=row.opened_version,
                ),
            )
            for row in rows
        ]

    def _told(self, hook: str, positions: Mapping[int, int]) -> None:
        name = _name(hook)
        marks = [(name, part, position) for part, position in sorted(positions.items())]
        with self._engine.begin() as connection:
            self._statements.mark(connection, marks)

    # ── in a thread: who is idle ─────────────────────────────────────────────────────────────────

    def _watch(self, now: float, patience: float) -> int:
        with self._reading.connect() as connection:
            over = connection.execute(_over()).all()
            idle = connection.execute(_idle(now - patience)).all()
        if not over and not idle:
            return 0
        with self._engine.begin() as connection:
            take_turn(connection, "alerts/idle")
            position = _last_position(connection)
            changed = 0
            for row in over:
                changed += self._close(connection, row, position + 1 + changed)
            known = set(connection.scalars(sa.select(IDLE.c.saga_id).where(_STILL)))
            for row in idle:
                if row.saga_id not in known:
                    changed += 1
                    values = _idle_row(row, now, position + changed)
                    connection.execute(sa.insert(IDLE), values)
        return changed

    # ── in a thread: what participants tell ──────────────────────────────────────────────────────

    def _reported(self, said: Mapping[str, Sequence[Complaint]], now: float) -> int:
        told = {
            (who, one.saga_id, one.kind.value, one.step): one
            for who, complaints in said.items()
            for one in complaints
        }
        still = sa.select(REPORTED).where(
            REPORTED.c.closed.is_(None), REPORTED.c.participant.in_(said)
        )
        with self._reading.connect() as connection:
            if not told and connection.execute(still.limit(1)).first() is None:
                return 0
        with self._engine.begin() as connection:
            take_turn(connection, "alerts/idle")
            position, changed = _last_position(connection), 0
            known = {
                (row.participant, row.saga_id, row.kind, row.step): row
                for row in connection.execute(still)
            }
            for key in known.keys() - told.keys():
                changed += 1
                row = known[key]
                same = (REPORTED.c[name] == getattr(row, name) for name in _REPORTED_KEY)
                values = {"closed": now, "closed_version": row.opened_version}
                connection.execute(
                    sa.update(REPORTED)
                    .where(*same)
                    .values(closed_position=position + changed, **values)
                )
            for key in told.keys() - known.keys():
                changed += 1
                values = _reported_row(connection, key[0], told[key], now, position + changed)
                connection.execute(sa.insert(REPORTED), values)
        return changed

    @staticmethod
    def _close(connection: sa.Connection, row: sa.Row[*tuple[Any, ...]], position: int) -> int:
        same = (IDLE.c.saga_id == row.saga_id, IDLE.c.opened_version == row.opened_version)
        done = connection.execute(
            sa.update(IDLE)
            .where(_STILL, *same)
            .values(closed=row.updated, closed_version=row.version, closed_position=position)
        )
        return done.rowcount


_STILL: Final = IDLE.c.closed.is_(None)


def _name(hook: str) -> str:
    """A hook's name among those who read the log."""
    return f"alerts/{hook}"


def _before_what_is_open(connection: sa.Connection, part: int) -> int:
    """The position before the first alert of a part that is still open, or of its last one."""
    first: list[int] = []
    last = [0]
    for table in TABLES:
        positions = sa.select(
            sa.func.min(table.c.opened_position).filter(table.c.closed.is_(None)),
            sa.func.max(table.c.opened_position),
            sa.func.max(table.c.closed_position),
        )
        still, *over = connection.execute(positions.where(table.c.part == part)).one()
        first += [] if still is None else [int(still)]
        last += [int(found or 0) for found in over]
    return min(first) - 1 if first else max(last)


def _notices(
    table: sa.Table, hook: str, parts: Collection[int], limit: int, *, opened: bool
) -> sa.Select[*tuple[Any, ...]]:
    position = table.c.opened_position if opened else table.c.closed_position
    query = (
        sa.select(
            table.c.part,
            position.label("position"),
            sa.literal(int(opened)).label("opening"),
            table.c.saga_id,
            table.c.type,
            table.c.kind,
            table.c.why,
            table.c.step,
            (table.c.opened if opened else table.c.closed).label("at"),
            table.c.opened_version,
        )
        .join(TRACKING, sa.and_(TRACKING.c.part == table.c.part, position > TRACKING.c.position))
        .where(TRACKING.c.name == _name(hook), TRACKING.c.part.in_(sorted(parts)))
        .order_by(table.c.part, position)
        .limit(limit)
    )
    found: sa.Select[*tuple[Any, ...]] = query
    return found


def _over() -> sa.Select[*tuple[Any, ...]]:
    """Idle alerts whose saga has moved on since, is closed, or is stuck, which is another one."""
    moved = sa.or_(
        STATUS.c.progressed > IDLE.c.progressed,
        STATUS.c.closed.is_not(None),
        STATUS.c.status == SagaStatus.STUCK.value,
    )
    return (
        sa.select(IDLE.c.saga_id, IDLE.c.opened_version, STATUS.c.version, STATUS.c.updated)
        .join(STATUS, STATUS.c.saga_id == IDLE.c.saga_id)
        .where(_STILL, moved)
        .limit(MAX_IDLE)
    )


def _idle(since: float) -> sa.Select[*tuple[Any, ...]]:
    """Open sagas without progress since then, and without anybody who has seen to them.

    One that waits for the world outside, or for a time, has until then: its definition says what
    comes next. One that waits for nothing of its own is held by the saga that runs it: that one may
    be idle.
    """
    due = STATUS.c.next_due
    in_time = sa.and_(
        STATUS.c.status == SagaStatus.WAITING.value, sa.or_(STATUS.c.current == "", due > since)
    )
    known = sa.exists().where(IDLE.c.saga_id == STATUS.c.saga_id, _STILL)
    seen_to = sa.exists().where(
        AUDIT.c.saga_id == STATUS.c.saga_id, AUDIT.c.actor.is_not(None), AUDIT.c.at > since
    )
    return (
        sa.select(
            STATUS.c.saga_id,
            STATUS.c.type,
            STATUS.c.version,
            STATUS.c.current,
            STATUS.c.progressed,
        )
        .where(
            STATUS.c.closed.is_(None),
            STATUS.c.status != SagaStatus.STUCK.value,
            STATUS.c.progressed < since,
            STATUS.c.progressed > 0,
            ~in_time,
            ~known,
            ~seen_to,
        )
        .limit(MAX_IDLE)
    )


def _idle_row(row: sa.Row[*tuple[Any, ...]], now: float, position: int) -> dict[str, Any]:
    steps = str(row.current).replace(",", ", ")
    where = f" at {steps}" if steps else ""
    return {
        "saga_id": row.saga_id,
        "kind": AlertKind.IDLE.value,
        "step": row.current if "," not in row.current else "",
        "opened_version": row.version,
        "type": row.type,
        "part": IDLE_PART,
        "why": f"no progress for {_span(now - row.progressed)}{where}",
        "opened": now,
        "opened_position": position,
        "progressed": row.progressed,
    }


def _span(seconds: float) -> str:
    """A span of time in words.

    >>> [_span(seconds) for seconds in (59, 61, 7_200, 200_000)]
    ['59 s', '1 min', '2 h', '2 d']
    """
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _last_position(connection: sa.Connection) -> int:
    found: list[int] = [0]
    for table in TIMED:
        last = sa.select(sa.func.max(table.c.opened_position), sa.func.max(table.c.closed_position))
        found += [position or 0 for position in connection.execute(last).one()]
    return max(found)


_REPORTED_KEY: Final = ("saga_id", "kind", "step", "opened_version")


def _reported_row(
    connection: sa.Connection, who: str, complaint: Complaint, now: float, position: int
) -> dict[str, Any]:
    of_saga = sa.select(STATUS.c.type).where(STATUS.c.saga_id == complaint.saga_id)
    return {
        "saga_id": complaint.saga_id,
        "kind": complaint.kind.value,
        "step": complaint.step,
        "opened_version": position,  # no event has opened it: a number that no other one has
        "type": connection.scalar(of_saga) or who,
        "part": IDLE_PART,
        "why": f"{who}: {complaint.why}. {complaint.hint}",
        "opened": now,
        "opened_position": position,
        "participant": who,
    }
