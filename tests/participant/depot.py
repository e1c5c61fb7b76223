"""Two services for the tests of outbox and inbox: orders tells, shipping hears."""

from __future__ import annotations

import sqlalchemy as sa

from es_saga import Participant, SyncTx
from es_saga.participant import Event

tables = sa.MetaData()
placed = sa.Table(
    "placed",
    tables,
    sa.Column("order_id", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
)
heard = sa.Table(
    "heard",
    tables,
    sa.Column("turn", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("order_id", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
)


class OrderChanged(Event):
    by = "orders"
    about = "order_id"
    order_id: str
    number: int


def shipping() -> Participant:
    """Writes down what it hears, in the order in which it hears it."""
    listener = Participant("shipping", tables=tables)

    @listener.on(OrderChanged)
    def note(event: OrderChanged, tx: SyncTx) -> None:
        tx.connection.execute(sa.insert(heard), event.model_dump())

    return listener


def heard_by(engine: sa.Engine) -> dict[str, list[int]]:
    """The numbers of each order, as they were heard."""
    found: dict[str, list[int]] = {}
    with engine.begin() as connection:
        query = sa.select(heard.c.order_id, heard.c.number).order_by(heard.c.turn)
        for order_id, number in connection.execute(query):
            found.setdefault(order_id, []).append(number)
    return found
