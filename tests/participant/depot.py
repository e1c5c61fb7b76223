"""Two services for the tests of outbox and inbox: orders tells, shipping hears."""

from __future__ import annotations

import sqlalchemy as sa

from es_saga import Participant, SyncTx
from es_saga.participant import Event, Outbox
from es_saga.participant.outbox import es_outbox

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


def place(engine: sa.Engine, numbers: dict[str, int], *, first: int = 1) -> None:
    """So many changes of each order, in one transaction each."""
    for number in range(first, max(numbers.values(), default=0) + first):
        for order_id, count in numbers.items():
            if number < count + first:
                with engine.begin() as connection:
                    Outbox("orders").add(connection, OrderChanged(order_id=order_id, number=number))


def left(engine: sa.Engine, *, sound: bool = False) -> int:
    """Rows that are still in the outbox; only those that can be published."""
    query = sa.select(sa.func.count()).select_from(es_outbox)
    if sound:
        query = query.where(es_outbox.c.fault.is_(None))
    with engine.begin() as connection:
        return connection.scalar(query) or 0
