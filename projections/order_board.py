"""The order board: one row for each order of the shop, for a dashboard to query.

    SELECT state, count(*), sum(pence) FROM order_board GROUP BY state

Everything in it comes from the saga log: it can be dropped and made anew at any time. How an order
is paid is left out; nobody who looks at the board needs to know.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from domain.orders import app
from es_saga.core.aggregate import SagaState, SagaStatus
from es_saga.core.events import CompensationIssued, StepStarted
from es_saga.projections.view import Batch

FLOWS = frozenset(saga.name for saga in app.sagas)
"""The saga types that stand on the board."""

STATES = {
    SagaStatus.RUNNING: "in progress",
    SagaStatus.WAITING: "in progress",
    SagaStatus.COMPENSATING: "being undone",
    SagaStatus.STUCK: "needs attention",
    SagaStatus.COMPLETED: "done",
    SagaStatus.COMPENSATED: "called off",
    SagaStatus.COMPENSATED_WITH_EXCEPTIONS: "called off, not all undone",
}
"""What the shop calls the statuses of a saga."""

metadata = sa.MetaData()

order_board = sa.Table(
    "order_board",
    metadata,
    sa.Column("saga_id", sa.Text, primary_key=True, comment="The saga that handles the order."),
    sa.Column("order_id", sa.Text, nullable=False, index=True, comment="The order's number."),
    sa.Column("flow", sa.Text, nullable=False, comment="How it is sold: the type of the saga."),
    sa.Column("customer", sa.Text, nullable=False, comment="Who ordered."),
    sa.Column("sku", sa.Text, nullable=False, comment="What was ordered."),
    sa.Column("quantity", sa.BigInteger, nullable=False, comment="Pieces."),
    sa.Column("pence", sa.BigInteger, nullable=False, comment="The price of the whole order."),
    sa.Column("state", sa.Text, nullable=False, index=True, comment="One of the STATES."),
    sa.Column("last_step", sa.Text, comment="The step that was begun or undone last."),
    sa.Column("refused_at", sa.Text, comment="The first step that did not succeed, if any."),
    sa.Column("refused_why", sa.Text, comment="Why it did not: a refusal's or an error's name."),
    sa.Column("placed_at", sa.Double, nullable=False, comment="Seconds since the epoch."),
    sa.Column("updated_at", sa.Double, nullable=False, comment="Seconds since the epoch."),
    sa.Column("closed_at", sa.Double, comment="Seconds since the epoch; null while it is open."),
    sa.Column("version", sa.BigInteger, nullable=False, comment="Events of the saga so far."),
    comment="One row for each order of the shop; a view of the saga log.",
)

_ORDERED = ("order_id", "customer", "sku", "quantity", "pence")
"""Columns that are copied from the customer's order."""

_NAMES = [column.name for column in order_board.columns]
_KEPT = ("saga_id", "last_step")
_UPSERT = sa.text(
    f"INSERT INTO order_board ({', '.join(_NAMES)}) VALUES ({', '.join(f':{n}' for n in _NAMES)})"
    " ON CONFLICT (saga_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _NAMES if name not in _KEPT)
    + ", last_step = coalesce(excluded.last_step, order_board.last_step)"
    + " WHERE excluded.version > order_board.version"
)


class StateTotal(NamedTuple):
    """The orders in one state."""

    orders: int
    pence: int


class OrderBoard:
    """Keeps the table `order_board` in step with the log; a `View`."""

    name = "order_board"
    metadata = metadata

    def apply(self, connection: sa.Connection, batch: Batch) -> None:
        """Bring the rows of every order that the events touch up to date.

        A row follows from its saga's state, so events that come twice, or again from the beginning,
        do no harm. Sagas that are no orders of the shop are passed over.
        """
        last_steps: dict[str, str | None] = {}
        for recorded in batch.events:
            last_steps.setdefault(recorded.saga_id, None)
            if isinstance(recorded.event, (StepStarted, CompensationIssued)):
                last_steps[recorded.saga_id] = recorded.event.step
        rows = [
            _row(batch.states[saga_id], last_step)
            for saga_id, last_step in last_steps.items()
            if _is_order(batch.states[saga_id])
        ]
        if rows:
            connection.execute(_UPSERT, rows)


board = OrderBoard()
"""The board, for `es-saga run` and for whoever makes it anew."""


def totals(connection: sa.Connection) -> dict[str, StateTotal]:
    """How many orders are in each state, and what they are worth; empty states are absent."""
    board = order_board.c
    rows = connection.execute(
        sa.select(board.state, sa.func.count(), sa.func.sum(board.pence)).group_by(board.state)
    )
    return {state: StateTotal(orders, int(pence)) for state, orders, pence in rows}


def _is_order(state: SagaState) -> bool:
    # Somebody else's saga may have the same name: its input tells it from ours.
    return state.origin.saga_type in FLOWS and state.origin.data.keys() >= set(_ORDERED)


def _row(state: SagaState, last_step: str | None) -> dict[str, Any]:
    failure = state.failure
    return {
        **{name: state.origin.data[name] for name in _ORDERED},
        "saga_id": state.saga_id,
        "flow": state.origin.saga_type,
        "state": STATES[state.status],
        "last_step": last_step,
        "refused_at": failure.step if failure else None,
        "refused_why": failure.why if failure else None,
        "placed_at": state.origin.started,
        "updated_at": state.updated,
        "closed_at": state.closed,
        "version": state.version,
    }
