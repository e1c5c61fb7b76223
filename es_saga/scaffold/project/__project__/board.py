"""The board: one row for each order, made from the log and kept by `es-saga run`.

    SELECT state, count(*), sum(pence) FROM order_board GROUP BY state

Everything in it comes from the log: `es-saga projections rebuild` makes it anew at any time.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from es_saga import Change, Put, Recorded, SagaState, projection

from __project__.saga import order

orders = sa.Table(
    "order_board",
    sa.MetaData(),
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("pence", sa.BigInteger, nullable=False),
)


@projection(orders, of=[order])
def board(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
    """The order as it stands after each event."""
    placed = saga.origin.data
    yield Put(order_id=placed["order_id"], state=saga.status.value, pence=placed["pence"])
