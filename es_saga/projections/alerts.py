"""Alerts that last: each is opened by one event of a saga and closed by another one.

`es_alerts` follows the log and can be built anew from it. `es_alerts_idle` has the alerts that time
alone opens, by whoever watches the clock (`es_saga.adapters.alert_log`), `es_alerts_reported` those
that participants tell of. They have the same columns, and their events are numbered in a part of
their own, IDLE_PART.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from es_saga.core.errors import InvalidInput
from es_saga.core.state import SagaState
from es_saga.database import ID_TYPE
from es_saga.engine.alerts import AlertKind, Cause, causes
from es_saga.engine.ports import Recorded
from es_saga.projections.listing import MAX_PAGE, Cursor, Page
from es_saga.projections.view import Batch


def _table(name: str, metadata: sa.MetaData, *more: sa.Column[Any]) -> sa.Table:
    table = sa.Table(
        name,
        metadata,
        sa.Column("saga_id", ID_TYPE, nullable=False),
        sa.Column("kind", sa.Text, nullable=False, comment="see `AlertKind`"),
        sa.Column("step", sa.Text, nullable=False, comment="empty: of no single step"),
        sa.Column("opened_version", sa.Integer, nullable=False, comment="event that opened it"),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("opened", sa.Double, nullable=False, comment="seconds since the epoch"),
        sa.Column("opened_position", sa.BigInteger, nullable=False),
        sa.Column("closed", sa.Double, comment="null: it is open"),
        sa.Column("closed_version", sa.Integer),
        sa.Column("closed_position", sa.BigInteger),
        *more,
        sa.PrimaryKeyConstraint("saga_id", "kind", "step", "opened_version", name=f"pk_{name}"),
    )
    still = table.c.closed.is_(None)
    sa.Index(f"ix_{name}_open", table.c.saga_id, sqlite_where=still, postgresql_where=still)
    sa.Index(f"ix_{name}_opened", table.c.part, table.c.opened_position)
    sa.Index(f"ix_{name}_closed", table.c.part, table.c.closed_position)
    sa.Index(f"ix_{name}_at", table.c.opened, table.c.saga_id)
    return table


_metadata = sa.MetaData()
ALERTS: Final = _table("es_alerts", _metadata)

IDLE_METADATA: Final = sa.MetaData()
IDLE: Final = _table(
    "es_alerts_idle",
    IDLE_METADATA,
    sa.Column("progressed", sa.Double, nullable=False, comment="the saga's, when it was opened"),
)

REPORTED: Final = _table(
    "es_alerts_reported",
    IDLE_METADATA,
    sa.Column("participant", sa.Text, nullable=False, comment="who told of it"),
)

TIMED: Final = (IDLE, REPORTED)
"""Alerts that no event of the log opens or closes."""

TABLES: Final = (ALERTS, *TIMED)


class _Open(NamedTuple):
    """An alert that is open; `new`: opened in this very batch, and not written yet."""

    why: str
    version: int
    new: bool


class AlertsView:
    """Keeps `es_alerts`: exactly one open alert for each cause of each saga (law L33)."""

    name = "alerts"
    metadata = _metadata

    def __init__(self, suffix: str = "") -> None:
        self._table = f"es_alerts{suffix}"

    def beside(self, suffix: str) -> AlertsView:
        """See `Rebuildable.beside`."""
        other = AlertsView(suffix)
        other.name = f"{self.name}{suffix}"
        return other

    def apply(self, connection: sa.Connection, batch: Batch) -> None:
        """Open and close what each event does, one by one."""
        known = self._known(connection, batch.states.keys())
        rows: dict[tuple[str, Cause, int], dict[str, Any]] = {}
        closings: list[dict[str, Any]] = []
        for recorded, state in batch.each():
            now, before = causes(state), known.get(recorded.saga_id, {})
            if not now and not before:
                continue
            left: dict[Cause, _Open] = {}
            for cause, alert in before.items():
                if now.get(cause) == alert.why:
                    left[cause] = alert
                    continue
                end = _end(recorded)
                if alert.new:
                    rows[recorded.saga_id, cause, alert.version] |= end
                else:
                    closings.append(_key(recorded.saga_id, cause, alert.version) | end)
            for cause, why in now.items():
                if cause not in left:
                    left[cause] = _Open(why, recorded.version, new=True)
                    key = (recorded.saga_id, cause, recorded.version)
                    rows[key] = _row(recorded, state, cause, why)
            known[recorded.saga_id] = left
        self._write(connection, list(rows.values()), closings)

    def _known(
        self, connection: sa.Connection, saga_ids: Iterable[str]
    ) -> dict[str, dict[Cause, _Open]]:
        """What is open of these sagas."""
        ids = (
            "SELECT value FROM json_each(:ids)"
            if connection.dialect.name == "sqlite"
            else "SELECT json_array_elements_text(CAST(:ids AS json))"
        )
        found = connection.execute(
            sa.text(
                f"SELECT saga_id, kind, step, why, opened_version FROM {self._table}"
                f" WHERE closed IS NULL AND saga_id IN ({ids})"
            ),
            {"ids": json.dumps(list(saga_ids))},
        )
        known: dict[str, dict[Cause, _Open]] = {}
        for saga_id, kind, step, why, version in found:
            cause = Cause(AlertKind(kind), step or None)
            known.setdefault(saga_id, {})[cause] = _Open(why, version, new=False)
        return known

    def _write(
        self,
        connection: sa.Connection,
        rows: Sequence[dict[str, Any]],
        closings: Sequence[dict[str, Any]],
    ) -> None:
        if rows:
            columns = ", ".join(rows[0])
            marks = ", ".join(f":{name}" for name in rows[0])
            insert = f"INSERT INTO {self._table} ({columns}) VALUES ({marks})"
            connection.execute(sa.text(insert), rows)
        if closings:
            end = ", ".join(f"{name} = :{name}" for name in _END)
            key = " AND ".join(f"{name} = :{name}" for name in _KEY)
            connection.execute(sa.text(f"UPDATE {self._table} SET {end} WHERE {key}"), closings)


_KEY: Final = ("saga_id", "kind", "step", "opened_version")
_END: Final = ("closed", "closed_version", "closed_position")
_NO_END: Final[Mapping[str, Any]] = dict.fromkeys(_END)


def _key(saga_id: str, cause: Cause, version: int) -> dict[str, Any]:
    return dict(zip(_KEY, (saga_id, cause.kind.value, cause.step or "", version), strict=True))


def _row(recorded: Recorded, state: SagaState, cause: Cause, why: str) -> dict[str, Any]:
    return {
        **_key(recorded.saga_id, cause, recorded.version),
        "type": state.origin.saga_type,
        "part": recorded.part,
        "why": why,
        "opened": recorded.event.at,
        "opened_position": recorded.position,
        **_NO_END,
    }


def _end(recorded: Recorded) -> dict[str, Any]:
    values = (recorded.event.at, recorded.version, recorded.position)
    return dict(zip(_END, values, strict=True))


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert. Times in seconds since the epoch."""

    saga_id: str
    type: str
    kind: AlertKind
    step: str | None
    why: str
    opened: float
    opened_version: int
    """The event that opened it; of an idle saga, the last one there was; of what a participant
    told, a running number."""
    closed: float | None
    closed_version: int | None


def tables(connection: sa.Connection) -> list[sa.Table]:
    """Those that have been made, as an app does that runs."""
    inspector = sa.inspect(connection)
    return [table for table in TABLES if inspector.has_table(table.name)]


def page(
    connection: sa.Connection,
    *,
    of: Sequence[sa.Table],
    open_only: bool,
    kind: AlertKind | None,
    saga_id: str | None,
    after: Cursor | None,
    limit: int,
) -> Page[AlertRow]:
    """Alerts of these tables, those opened last first.

    Raises:
        InvalidInput: a limit out of range.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"A page has 1 to {MAX_PAGE} rows, not {limit}.")
    found: list[sa.Select[*tuple[Any, ...]]] = []
    for table in of:
        query = sa.select(*(table.c[name] for name in _SHOWN)).order_by(
            table.c.opened.desc(), table.c.saga_id.desc()
        )
        if open_only:
            query = query.where(table.c.closed.is_(None))
        if kind is not None:
            query = query.where(table.c.kind == kind.value)
        if saga_id is not None:
            query = query.where(table.c.saga_id == saga_id)
        if after is not None:
            key = sa.tuple_(table.c.opened, table.c.saga_id)
            query = query.where(key < sa.tuple_(*map(sa.literal, after)))
        # A saga has few alerts at the same time; all of them are on the same page.
        found.append(sa.select(query.limit(limit + MAX_TOGETHER).subquery()))
    if not found:
        return Page(())
    every = sa.union_all(*found).subquery()
    ordered = sa.select(every).order_by(
        *(every.c[name].desc() for name in ("opened", "saga_id", "opened_version", "kind", "step"))
    )
    rows = connection.execute(ordered.limit(limit + MAX_TOGETHER)).all()
    kept = list(rows[:limit])
    for row in rows[limit:]:
        if (row.opened, row.saga_id) != (kept[-1].opened, kept[-1].saga_id):
            return Page(_alerts(kept), Cursor(kept[-1].opened, kept[-1].saga_id))
        kept.append(row)
    return Page(_alerts(kept))


MAX_TOGETHER: Final = 64
"""Alerts of one saga opened at the same time."""

_SHOWN: Final = (
    "saga_id",
    "type",
    "kind",
    "step",
    "why",
    "opened",
    "opened_version",
    "closed",
    "closed_version",
)


def _alerts(rows: Sequence[sa.Row[*tuple[Any, ...]]]) -> tuple[AlertRow, ...]:
    return tuple(
        AlertRow(
            saga_id=row.saga_id,
            type=row.type,
            kind=AlertKind(row.kind),
            step=row.step or None,
            why=row.why,
            opened=row.opened,
            opened_version=row.opened_version,
            closed=row.closed,
            closed_version=row.closed_version,
        )
        for row in rows
    )


def open_counts(connection: sa.Connection, of: Sequence[sa.Table]) -> dict[AlertKind, int]:
    """How many alerts of these tables are open, by kind; kinds with none are left out."""
    counts: dict[AlertKind, int] = {}
    for table in of:
        query = (
            sa.select(table.c.kind, sa.func.count().label("n"))
            .where(table.c.closed.is_(None))
            .group_by(table.c.kind)
        )
        for row in connection.execute(query):
            counts[AlertKind(row.kind)] = counts.get(AlertKind(row.kind), 0) + row.n
    return counts
