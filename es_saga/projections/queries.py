"""Questions to the read models: what people and dashboards ask about sagas.

Reads only, on the database of the log; blocking. Every list is paged by key and bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from es_saga.core.errors import NotFound, Unavailable
from es_saga.core.messages import check_id
from es_saga.database import READ_ONLY
from es_saga.engine.alerts import AlertKind
from es_saga.projections import (
    alerts,
    definitions,
    incidents,
    listing,
    pending,
    trail,
    vitals,
)
from es_saga.projections.alerts import AlertRow
from es_saga.projections.definitions import DefinitionRow
from es_saga.projections.incidents import Incidents
from es_saga.projections.kin import Kin, kin
from es_saga.projections.listing import MAX_PAGE, STATUSES, Count, Cursor, Page, SagaFilter
from es_saga.projections.lists import UnderWay, at_items, under_way
from es_saga.projections.pending import PendingWork, StepLoad
from es_saga.projections.standing import SagaRow, Standing, saga_row, standing
from es_saga.projections.status import STATUS
from es_saga.projections.trail import AuditRow
from es_saga.projections.vitals import Course, Participant, Point, Vitals

POLL_SECONDS: Final = 0.05
"""How often `wait` looks, at first; then less and less often, down to once a second."""

T = TypeVar("T")


class Queries:
    """The read side of one log.

    Raises:
        Unavailable: every question does, if the database is out of reach.
    """

    def __init__(self, engine: sa.Engine) -> None:
        postgres = engine.dialect.name == "postgresql"
        # A question is one statement, or a few that bear what happens between them.
        options = {"isolation_level": "AUTOCOMMIT"} if postgres else {READ_ONLY: True}
        self._engine = engine.execution_options(**options)
        self._alerted: Sequence[sa.Table] = ()
        """Tables of alerts that are known to be there."""
        self._health = False
        """Those of the projection `health` are."""

    # ── one saga ─────────────────────────────────────────────────────────────────────────────────

    def status(self, saga_id: str) -> SagaRow:
        """One saga.

        Raises:
            NotFound: there is no such saga.
        """
        check_id(saga_id)
        query = sa.select(STATUS).where(STATUS.c.saga_id == saga_id)
        row = self._ask(lambda connection: connection.execute(query).mappings().first())
        if row is None:
            raise no_such(saga_id)
        return saga_row(row)

    def standing(self, saga_id: str, *, now: float | None = None) -> Standing:
        """One saga with its age, what is still to be done, and its compensation ledger.

        Raises:
            NotFound: there is no such saga.
        """
        row = self.status(saga_id)
        shape = self._shape(row)
        by = self._ask(lambda connection: trail.settled_by(connection, saga_id))
        stands = standing(row, shape, by, time.time() if now is None else now)
        near = self._ask(lambda connection: kin(connection, row, shape))
        return replace(
            stands,
            parent=near.parent,
            children=near.children,
            asked=self.asked(row),
            lists=self.lists([row]).get(saga_id, ()),
        )

    def asked(self, row: SagaRow) -> Mapping[str, str]:
        """The services that an open saga waits for, by the steps that asked them."""
        if row.closed is not None:
            return {}
        return self._ask(lambda connection: trail.asked(connection, row.saga_id, row.steps))

    def lists(self, rows: Sequence[SagaRow]) -> Mapping[str, Sequence[UnderWay]]:
        """The lists that these sagas are going over, by their ids; who goes over none is left out.

        Those on the way back are: what counts for them is what was done.
        """
        going = {
            row.saga_id: row.steps for row in rows if not row.backward and at_items(row.current)
        }
        if not going:
            return {}
        counts = self._ask(lambda connection: trail.fanned_out(connection, [*going]))
        return {saga_id: [*under_way(of, going[saga_id])] for saga_id, of in counts.items()}

    def kin(self, saga_id: str) -> Kin:
        """Who runs a saga, and whom it runs.

        Raises:
            NotFound: there is no such saga.
        """
        row = self.status(saga_id)
        shape = self._shape(row)
        return self._ask(lambda connection: kin(connection, row, shape))

    def _shape(self, row: SagaRow) -> Mapping[str, Any] | None:
        known = self._ask(
            lambda connection: definitions.known(connection, row.type, row.definition)
        )
        return known[0].shape if known else None

    def history(self, saga_id: str, *, after: int = 0, limit: int = MAX_PAGE) -> list[AuditRow]:
        """A saga's audit trail, oldest first, from the event after number `after`.

        Sensitive values are hidden.

        Raises:
            NotFound: there is no such saga.
            InvalidInput: a limit out of range.
            CorruptHistory: the log is not what it was when the trail was written.
        """
        check_id(saga_id)
        rows = self._ask(lambda connection: trail.rows(connection, saga_id, after, limit))
        if not rows and after == 0:
            raise no_such(saga_id)
        return rows

    def verify(self, saga_id: str) -> None:
        """Make sure that a saga's events are those that were written.

        Raises:
            NotFound: there is no such saga.
            CorruptHistory: they are not; the first bad event is named.
        """
        after = 0
        while rows := self.history(saga_id, after=after):
            after = rows[-1].version
            if len(rows) < MAX_PAGE:
                return

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

    # ── many sagas ───────────────────────────────────────────────────────────────────────────────

    def page(
        self,
        wanted: SagaFilter | None = None,
        *,
        after: Cursor | None = None,
        limit: int = 50,
    ) -> Page[SagaRow]:
        """Sagas that fit, the most recently changed first.

        Args:
            after: where the page before ended.
            limit: at most MAX_PAGE. A page may have fewer rows and still not be the last one.

        Raises:
            InvalidInput: a limit out of range.
        """
        found = self._ask(
            lambda connection: listing.find(
                connection, wanted or SagaFilter(), after=after, limit=limit
            )
        )
        rows, following, looked = found
        return Page(tuple(map(saga_row, rows)), following, looked)

    def sagas(self, wanted: SagaFilter | None = None, *, limit: int = 50) -> list[SagaRow]:
        """The first `limit` sagas that fit, however far back one has to look for them.

        Raises:
            InvalidInput: a limit out of range.
        """
        page = self.page(wanted, limit=limit)
        rows = [*page.rows]
        while len(rows) < limit and page.next is not None:
            page = self.page(wanted, after=page.next, limit=limit - len(rows))
            rows += page.rows
        return rows

    def count(self, wanted: SagaFilter | None = None) -> Count:
        """How many sagas fit, counted up to MAX_COUNT; says so if there are more."""
        return self._ask(lambda connection: listing.count(connection, wanted or SagaFilter()))

    def counts(self) -> dict[str, int]:
        """Sagas by status, every one counted: it takes as long as there are sagas."""
        query = sa.select(STATUS.c.status, sa.func.count().label("n")).group_by(STATUS.c.status)
        found = self._ask(lambda connection: connection.execute(query).all())
        return {row.status: row.n for row in found}

    def counts_by_type(self) -> dict[str, dict[str, int]]:
        """Sagas by type and status, every one counted, as above."""
        query = sa.select(STATUS.c.type, STATUS.c.status, sa.func.count()).group_by(
            STATUS.c.type, STATUS.c.status
        )
        counts: dict[str, dict[str, int]] = {}
        for saga_type, status, number in self._ask(lambda c: c.execute(query).all()):
            counts.setdefault(saga_type, {})[status] = number
        return counts

    def incidents(self, *, since: float, saga_type: str | None = None) -> Incidents:
        """Failures of sagas that changed since then, grouped by cause."""
        return self._ask(
            lambda connection: incidents.grouped(connection, since, saga_type=saga_type)
        )

    def pending(
        self,
        *,
        saga_type: str | None = None,
        step: str | None = None,
        after: Cursor | None = None,
        limit: int = 50,
    ) -> Page[PendingWork]:
        """What is in flight or waiting, of the sagas first that have not changed for longest.

        Args:
            after: where the page before ended.
            limit: sagas; each may have several pieces of work.

        Raises:
            InvalidInput: a limit out of range.
        """
        return self._ask(
            lambda connection: pending.work(
                connection, saga_type=saga_type, step=step, after=after, limit=limit
            )
        )

    def load(self) -> tuple[list[StepLoad], bool]:
        """Open sagas by step; False: there were too many to count them all."""
        return self._ask(pending.load)

    def alerts(
        self,
        *,
        open_only: bool = True,
        kind: AlertKind | None = None,
        saga_id: str | None = None,
        after: Cursor | None = None,
        limit: int = 50,
    ) -> Page[AlertRow]:
        """Alerts, those opened last first; none before an app has run on this log.

        Args:
            after: where the page before ended.
            limit: a page may have a few more, if a saga has several alerts from the same moment.

        Raises:
            InvalidInput: a limit out of range.
        """
        return self._ask(
            lambda connection: alerts.page(
                connection,
                of=self._alert_tables(connection),
                open_only=open_only,
                kind=kind,
                saga_id=None if saga_id is None else check_id(saga_id),
                after=after,
                limit=limit,
            )
        )

    def alert_counts(self) -> dict[AlertKind, int]:
        """How many alerts are open, by kind."""
        return self._ask(
            lambda connection: alerts.open_counts(connection, self._alert_tables(connection))
        )

    def _alert_tables(self, connection: sa.Connection) -> Sequence[sa.Table]:
        if len(self._alerted) < len(alerts.TABLES):  # the others may be made meanwhile
            self._alerted = alerts.tables(connection)
        return self._alerted

    # ── how they are doing ───────────────────────────────────────────────────────────────────────

    def vitals(
        self, *, within: float = 3_600.0, stuck_for: float = 900.0, now: float | None = None
    ) -> Vitals:
        """How the sagas are doing: counts, durations, and what has waited for too long.

        Args:
            within: seconds back from now that are looked at.
            stuck_for: seconds for which a saga may be stuck.
        """
        until = time.time() if now is None else now
        since = until - within

        def ask(connection: sa.Connection) -> Vitals:
            made = self._healthy(connection)
            counts = alerts.open_counts(connection, self._alert_tables(connection))
            return Vitals(
                since=since,
                seconds=within,
                types=tuple(vitals.types(connection, since, made=made)),
                steps=tuple(vitals.steps(connection, since) if made else ()),
                stuck=vitals.stuck_since(connection, until - stuck_for),
                owed=counts.get(AlertKind.UNDO, 0),
            )

        return self._ask(ask)

    def series(
        self, *, since: float, until: float, saga_type: str | None = None, step: int = 60
    ) -> list[Point]:
        """What happened, in spans of `step` seconds; those in which nothing did are left out.

        Raises:
            InvalidInput: the spans are no whole minutes, or too many.
        """
        return self._ask(
            lambda connection: (
                vitals.series(connection, since, until, saga_type=saga_type, step=step)
                if self._healthy(connection)
                else []
            )
        )

    def participants(
        self, *, within: float = 3_600.0, now: float | None = None
    ) -> list[Participant]:
        """Every service that was ever asked for anything, and how it has done within that time."""
        since = (time.time() if now is None else now) - within
        return self._ask(
            lambda connection: (
                vitals.participants(connection, since, pending.load(connection)[0])
                if self._healthy(connection)
                else []
            )
        )

    def courses(self, *, within: float = 86_400.0, now: float | None = None) -> Course:
        """How long sagas and steps took, hour by hour, of all types."""
        until = time.time() if now is None else now
        return self._ask(
            lambda connection: (
                vitals.courses(connection, until - within, until)
                if self._healthy(connection)
                else {}
            )
        )

    def _healthy(self, connection: sa.Connection) -> bool:
        """Whether the projection `health` has its tables."""
        self._health = self._health or vitals.there(connection)
        return self._health

    # ── definitions ──────────────────────────────────────────────────────────────────────────────

    def types(self) -> list[str]:
        """The saga types that the log knows, in order."""
        query = sa.select(definitions.DEFINITIONS.c.type).distinct()
        return sorted(self._ask(lambda connection: connection.execute(query).scalars().all()))

    def definitions(self) -> list[DefinitionRow]:
        """Every version of every saga type, by type, the latest version first."""
        return self._ask(definitions.known)

    def definition(self, saga_type: str, version: int) -> DefinitionRow:
        """One version of a saga type.

        Raises:
            NotFound: the log does not know it.
        """
        known = self._ask(lambda connection: definitions.known(connection, saga_type, version))
        if not known:
            raise NotFound(
                f"The log knows no version {version} of {saga_type[:80]!r}.",
                hint="It gets to know a definition when an app runs it.",
            )
        return known[0]

    def _ask(self, question: Callable[[sa.Connection], T]) -> T:
        try:
            with self._engine.connect() as connection:
                return question(connection)
        except OperationalError as error:
            raise Unavailable(
                "The database of the log is out of reach, or has no such tables.",
                hint="Check the URL, then `es-saga migrate status`.",
            ) from error


def no_such(saga_id: str) -> NotFound:
    """What is said of an id that no saga has."""
    return NotFound(f"There is no saga {saga_id!r}.", hint="`es-saga list` shows them.")


__all__ = [
    "MAX_PAGE",
    "STATUSES",
    "AuditRow",
    "Count",
    "Cursor",
    "Page",
    "Queries",
    "SagaFilter",
    "SagaRow",
    "Standing",
]
