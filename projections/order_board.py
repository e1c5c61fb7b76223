"""The order board: one row for each order of the shop, for a dashboard to query.

    SELECT state, count(*), sum(pence) FROM order_board GROUP BY state

Everything in it comes from the saga log: it can be dropped and made anew at any time. How an order
is paid is left out; nobody who looks at the board needs to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa

from domain.orders import app
from es_saga import Change, Put, Recorded, SagaState, SagaStatus, events, projection

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

order_board = sa.Table(
    "order_board",
    sa.MetaData(),
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

ORDERED = ("order_id", "customer", "sku", "quantity", "pence")
"""Columns that are copied from the customer's order."""


@projection(order_board, of=app.sagas)
def board(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
    """The order as it is after each event."""
    order, failure = saga.origin.data, saga.failure
    if not order.keys() >= set(ORDERED):
        return  # somebody else's saga of the same name
    yield Put(
        saga_id=saga.saga_id,
        flow=saga.origin.saga_type,
        state=STATES[saga.status],
        refused_at=failure.step if failure else None,
        refused_why=failure.why if failure else None,
        placed_at=saga.origin.started,
        updated_at=saga.updated,
        closed_at=saga.closed,
        version=saga.version,
        **{name: order[name] for name in ORDERED},
    )
    if isinstance(recorded.event, (events.StepStarted, events.CompensationIssued)):
        yield Put(saga_id=saga.saga_id, last_step=recorded.event.step)


class StateTotal(NamedTuple):
    """The orders in one state."""

    orders: int
    pence: int


def totals(connection: sa.Connection) -> dict[str, StateTotal]:
    """How many orders are in each state, and what they are worth; empty states are absent."""
    board = order_board.c
    rows = connection.execute(
        sa.select(board.state, sa.func.count(), sa.func.sum(board.pence)).group_by(board.state)
    )
    return {state: StateTotal(orders, int(pence)) for state, orders, pence in rows}
