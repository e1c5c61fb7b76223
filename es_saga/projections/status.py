"""The status of every saga: one row a saga, always as new as the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from pydantic_core import to_json

from es_saga.core.messages import part_of
from es_saga.core.state import SagaState, StepState, Work
from es_saga.database import ID_TYPE
from es_saga.engine.ports import Recorded
from es_saga.projections.view import Batch

_metadata = sa.MetaData()

STATUS = sa.Table(
    "es_status",
    _metadata,
    sa.Column("saga_id", ID_TYPE, nullable=False),
    sa.Column("part", sa.Integer, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("definition", sa.Integer, nullable=False, comment="version of the definition"),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column(
        "business_id",
        ID_TYPE,  # what begins alike stands together
        comment="the key it was started under",
    ),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("current", sa.Text, nullable=False, comment="steps in progress, comma-separated"),
    sa.Column("steps", sa.Text, nullable=False, comment="JSON: step to status, result, times"),
    sa.Column("version", sa.Integer, nullable=False, comment="number of events"),
    sa.Column("reason", sa.Text, comment="why it does not complete"),
    sa.Column("reason_step", sa.Text),
    sa.Column("payload", sa.Text, nullable=False, comment="JSON: the input"),
    sa.Column("created", sa.Double, nullable=False, comment="seconds since the epoch"),
    sa.Column("updated", sa.Double, nullable=False),
    sa.Column("closed", sa.Double),
    sa.Column("next_due", sa.Double, comment="when time alone will change something"),
    sa.Column("deadline", sa.Double),
    sa.Column("exceptions", sa.Text, comment="JSON: undos that a closed saga still owes"),
    sa.Column(
        "backward",
        sa.Boolean,
        nullable=False,
        server_default=sa.false(),
        comment="it is being undone, or was",
    ),
    sa.Column(
        "progressed",
        sa.Double,
        nullable=False,
        server_default="0",
        comment="when some work last began or ended; repeats do not count",
    ),
    sa.PrimaryKeyConstraint("saga_id", name="pk_es_status"),
)
"""Where every saga stands (requirements R055 to R058)."""

_OPEN = STATUS.c.closed.is_(None)
sa.Index("ix_es_status_open", STATUS.c.part, sqlite_where=_OPEN, postgresql_where=_OPEN)
# Lists are in order of the last change: of one status, or of one status of one type.
sa.Index("ix_es_status_status", STATUS.c.status, STATUS.c.updated, STATUS.c.saga_id)
sa.Index("ix_es_status_type", STATUS.c.type, STATUS.c.status, STATUS.c.updated, STATUS.c.saga_id)
_KEYED = STATUS.c.business_id.is_not(None)
sa.Index(
    "ix_es_status_business", STATUS.c.business_id, sqlite_where=_KEYED, postgresql_where=_KEYED
)

_CHANGING = (
    "status",
    "current",
    "steps",
    "version",
    "reason",
    "reason_step",
    "updated",
    "closed",
    "next_due",
    "exceptions",
    "backward",
    "progressed",
)
_CONSTANT = (
    "part",
    "type",
    "definition",
    "fingerprint",
    "business_id",
    "payload",
    "created",
    "deadline",
)
_ALL = (*_CHANGING, "saga_id", *_CONSTANT)

Row = tuple[Any, ...]
"""One row as the drivers take it."""


class StatusView:
    """Keeps `es_status` in step with the log."""

    name = "status"
    metadata = _metadata

    def __init__(self, table: str = "es_status") -> None:
        replaced = ", ".join(f"{name} = excluded.{name}" for name in _CHANGING)
        changed = ", ".join(f"{name} = ?" for name in _CHANGING)
        self._begin = (
            f"INSERT INTO {table} ({', '.join(_ALL)}) VALUES ({', '.join('?' * len(_ALL))})"
            f" ON CONFLICT (saga_id) DO UPDATE SET {replaced}"
        )
        self._move = f"UPDATE {table} SET {changed} WHERE saga_id = ?"

    def beside(self, suffix: str) -> StatusView:
        """See `Rebuildable.beside`."""
        other = StatusView(f"es_status{suffix}")
        other.name = f"{self.name}{suffix}"
        return other

    def apply(self, connection: sa.Connection, batch: Batch) -> None:
        """Write a row for each saga that begins, and the changing columns of the others."""
        self.write(connection, *self.rows(batch.events, batch.states))

    def rows(
        self, events: Sequence[Recorded], states: Mapping[str, SagaState]
    ) -> tuple[list[Row], list[Row]]:
        """What `write` is given: rows of sagas that begin, and of those that move on."""
        new = {event.saga_id for event in events if event.version == 1}
        begun: list[Row] = []
        moved: list[Row] = []
        for saga_id, state in states.items():
            if saga_id in new:
                begun.append((*_changing(state), saga_id, *_constant(state)))
            else:
                moved.append((*_changing(state), saga_id))
        return begun, moved

    def write(self, connection: sa.Connection, begun: list[Row], moved: list[Row]) -> None:
        """Nothing but the statements."""
        driver: Any = connection.connection.driver_connection
        sqlite = connection.dialect.name == "sqlite"
        for statement, rows in ((self._begin, begun), (self._move, moved)):
            if not rows:
                continue
            if sqlite:
                driver.executemany(statement, rows).close()
            else:
                # psycopg sends them as one pipeline. Arrays for `unnest` cost it three times that.
                with driver.cursor(binary=True) as cursor:
                    cursor.executemany(statement.replace("?", "%s"), rows)


def _changing(state: SagaState) -> Row:
    failure = state.failure
    return (
        state.status.value,
        ",".join(state.current),
        to_json(
            {name: _step(own, name == state.back_to) for name, own in state.steps.items()}
        ).decode(),
        state.version,
        failure.why if failure else None,
        failure.step if failure else None,
        state.updated,
        state.closed,
        state.next_due,
        to_json(state.exceptions).decode() if state.exceptions else None,
        state.backward,
        _progressed(state),
    )


def _progressed(state: SagaState) -> float:
    """When some work last began or ended; what is only sent again has made no progress."""
    last = state.origin.started
    for do, undo, _ in state.steps.values():
        for work in (do, undo):
            if work is None:
                continue
            if work.started > last:
                last = work.started
            if work.ended is not None and work.ended > last:
                last = work.ended
    return last


def _constant(state: SagaState) -> Row:
    origin = state.origin
    return (
        part_of(origin.saga_id),
        origin.saga_type,
        origin.definition,
        origin.fingerprint,
        origin.key,
        to_json(origin.data).decode(),
        origin.started,
        origin.deadline,
    )


def _step(own: StepState, back_to: bool) -> dict[str, Any]:
    shown = _work(own.do)
    if back_to:
        shown["back_to"] = True
    if own.undo is not None:
        shown["undo"] = _work(own.undo)
    return shown


def _work(work: Work) -> dict[str, Any]:
    """One direction of a step for people and dashboards; what is not there is left out."""
    # Taken apart at once: it is done for every step of a saga at each of its transitions.
    status, attempt, started, due, _, reply, error, _, _, ended = work
    shown: dict[str, Any] = {"status": status, "attempt": attempt, "started": started}
    if ended is not None:
        shown["ended"] = ended
    if due is not None:
        shown["due"] = due
    if reply is not None:
        shown["reply"] = reply
    if error is not None:
        shown["error"] = error
    return shown
