"""The floor under the log: the drivers' calls alone, given the same rows in the same transactions.

No codec, no positions, no thread, no future: what is left is what the database and its driver take.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from es_saga.adapters.codec import encode
from es_saga.adapters.migrate import upgrade
from es_saga.adapters.statements import Mark, Row, statements_for
from es_saga.core.state import SagaState
from es_saga.database import make_engine
from es_saga.engine.ports import Recorded
from es_saga.projections import audit, status
from es_saga.projections.audit import AuditView
from es_saga.projections.status import StatusView


class Transaction(NamedTuple):
    """What one transaction of the log wrote."""

    events: list[Recorded]
    states: dict[str, SagaState]
    """The sagas of these events, after them."""


class Floor(NamedTuple):
    """What the driver took."""

    cpu_us: float
    """Processor time of this process for each transition, in microseconds."""
    per_second: float
    """Transitions written in a second, the database's own work included."""


class _Rows(NamedTuple):
    """A transaction as the driver takes it."""

    events: list[Row]
    begun: list[status.Row]
    moved: list[status.Row]
    audited: list[audit.Row]
    marks: list[Mark]


def replay(url: str, transactions: Sequence[Transaction]) -> Floor:
    """Write them into an empty database; the rows are made before the time is taken."""
    engine = make_engine(url)
    upgrade(engine)
    statements, status_view, audit_view = statements_for(engine), StatusView(), AuditView()
    tape = [_rows(transaction, status_view, audit_view) for transaction in transactions]
    transitions = sum(len(transaction.states) for transaction in transactions)
    with engine.connect() as connection:
        statements.prepare(connection)
        cpu, wall = time.process_time(), time.perf_counter()
        for rows in tape:
            with connection.begin():
                statements.insert(connection, rows.events)
                status_view.write(connection, rows.begun, rows.moved)
                audit_view.write(connection, rows.audited)
                statements.mark(connection, rows.marks)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    engine.dispose()
    return Floor(1e6 * cpu / transitions, transitions / wall)


def _rows(transaction: Transaction, status_view: StatusView, audit_view: AuditView) -> _Rows:
    now = time.time()
    events: list[Row] = []
    heads: dict[int, int] = {}
    for part, position, saga_id, version, event, payload, _ in transaction.events:
        events.append((part, position, saga_id, version, encode(event)[0], payload, now))
        heads[part] = position
    begun, moved = status_view.rows(transaction.events, transaction.states)
    marks = [(view, part, head) for view in ("status", "audit") for part, head in heads.items()]
    return _Rows(events, begun, moved, audit_view.rows(transaction.events), marks)
