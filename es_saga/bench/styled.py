"""The same business three times: reserve, pay and ship as a saga, as holds, and as two-phase.

Each service keeps a table of things, so many available, reserved and consumed. A saga consumes at
once and puts back what it undoes; holds reserve first; prepared holds consume where nobody sees it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy import event

from es_saga.app import App
from es_saga.core.after import START
from es_saga.core.definition import Saga
from es_saga.core.messages import Command, Message, Refusal
from es_saga.core.policy import Retry
from es_saga.core.tcc import Tcc
from es_saga.participant import Participant, SyncTx

Style = Literal["saga", "tcc", "two_phase"]
STYLES: Final[tuple[Style, ...]] = ("saga", "tcc", "two_phase")

THINGS: Final = 2_000
"""Different things that each service has: orders of the same one meet."""

OPENING: Final = 10**9

REFUSED: Final = 10
"""The carrier takes all but every tenth order."""

PATIENCE: Final = timedelta(seconds=2)
AGAIN: Final = Retry(first=timedelta(seconds=0.2), maximum=timedelta(seconds=1), attempts=6)
FOR_EVER: Final = Retry(first=timedelta(seconds=0.2), maximum=timedelta(seconds=1), attempts=None)
KEPT: Final = timedelta(minutes=5)


class Order(Message):
    thing: str
    heavy: bool


class Refused(Refusal):
    """There is nothing left, or it is too heavy."""


class Of(Command[None]):
    """Something to be done with one thing."""

    thing: str


class TakeStock(Of):
    to = "stock"


class PutBackStock(Of):
    to = "stock"


class TakeMoney(Of):
    to = "bank"


class PutBackMoney(Of):
    to = "bank"


class Ship(Of):
    to = "carrier"
    heavy: bool


class HoldStock(Of):
    to = "stock"


class HoldMoney(Of):
    to = "bank"


class HoldVan(Of):
    to = "carrier"
    heavy: bool


conducted = Saga("conducted", Order)


@conducted.step(timeout=PATIENCE, retry=AGAIN)
def stock(o: Order) -> TakeStock:
    return TakeStock(thing=o.thing)


@stock.compensation(timeout=PATIENCE, retry=FOR_EVER)
def put_back(o: Order) -> PutBackStock:
    return PutBackStock(thing=o.thing)


@conducted.step(timeout=PATIENCE, retry=AGAIN)
def money(o: Order) -> TakeMoney:
    return TakeMoney(thing=o.thing)


@money.compensation(timeout=PATIENCE, retry=FOR_EVER)
def refund(o: Order) -> PutBackMoney:
    return PutBackMoney(thing=o.thing)


@conducted.pivot(timeout=PATIENCE, retry=FOR_EVER)
def parcel(o: Order) -> Ship:
    return Ship(thing=o.thing, heavy=o.heavy)


held = Tcc("held", Order)


@held.hold(expires=KEPT, timeout=PATIENCE, retry=AGAIN)
def held_stock(o: Order) -> HoldStock:
    return HoldStock(thing=o.thing)


@held.hold(expires=KEPT, after=START, timeout=PATIENCE, retry=AGAIN)
def held_money(o: Order) -> HoldMoney:
    return HoldMoney(thing=o.thing)


@held.hold(expires=KEPT, after=START, timeout=PATIENCE, retry=AGAIN)
def held_van(o: Order) -> HoldVan:
    return HoldVan(thing=o.thing, heavy=o.heavy)


class Shelf:
    """A service's things. `touched` is for others who change the same rows."""

    def __init__(self, service: str) -> None:
        self.name = f"{service}_things"
        self.tables = sa.MetaData()
        table = sa.Table(
            self.name,
            self.tables,
            sa.Column("thing", sa.Text, primary_key=True),
            *(
                sa.Column(name, sa.BigInteger, nullable=False)
                for name in ("available", "reserved", "consumed", "touched")
            ),
        )

        @event.listens_for(table, "after_create")
        def fill(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
            none = dict.fromkeys(("reserved", "consumed", "touched"), 0)
            rows = [{"thing": f"t{n}", "available": OPENING, **none} for n in range(THINGS)]
            connection.execute(sa.insert(table), rows)

    def move(self, source: str, target: str) -> Callable[[Any, SyncTx], Refused | None]:
        """A handler that moves one of the thing from one column to another."""
        statement = (
            f"UPDATE {self.name} SET {source} = {source} - 1, {target} = {target} + 1"
            f" WHERE thing = :thing AND {source} > 0"
        )

        def handle(command: Any, tx: SyncTx) -> Refused | None:
            if getattr(command, "heavy", False):
                return Refused()
            return None if tx.execute(statement, {"thing": command.thing}) else Refused()

        return handle

    def settle(self, target: str) -> Callable[[Any, None, SyncTx], None]:
        """A handler that settles what was reserved."""
        move = self.move("reserved", target)

        def handle(hold: Any, _held: None, tx: SyncTx) -> None:
            move(hold, tx)

        return handle


SHELVES: Final = {service: Shelf(service) for service in ("stock", "bank", "carrier")}
_TAKES: Final[dict[str, type[Of]]] = {"stock": TakeStock, "bank": TakeMoney, "carrier": Ship}
_UNDOES: Final[dict[str, type[Of]]] = {"stock": PutBackStock, "bank": PutBackMoney}
_HOLDS: Final[dict[str, type[Of]]] = {"stock": HoldStock, "bank": HoldMoney, "carrier": HoldVan}


def _service(name: str, style: Style) -> Participant:
    shelf = SHELVES[name]
    service = Participant(name, tables=shelf.tables)
    if style == "saga":
        service.handles(_TAKES[name])(shelf.move("available", "consumed"))
        if name in _UNDOES:
            service.handles(_UNDOES[name])(shelf.move("consumed", "available"))
    elif style == "tcc":
        service.tries(_HOLDS[name])(shelf.move("available", "reserved"))
        service.confirms(_HOLDS[name])(shelf.settle("consumed"))
        service.cancels(_HOLDS[name])(shelf.settle("available"))
    else:
        service.prepares(_HOLDS[name])(shelf.move("available", "consumed"))
    return service


def app_of(style: Style) -> App:
    """The business in one style; its only saga is the order."""
    saga: Saga[Order] = conducted if style == "saga" else held
    return App("bench", sagas=[saga], participants=[_service(name, style) for name in SHELVES])


def order_of(saga_id: str) -> dict[str, Any]:
    """The input of an order; which thing it is about follows from its id."""
    number = zlib.crc32(saga_id.encode())
    return {"thing": f"t{number % THINGS}", "heavy": number // THINGS % REFUSED == 0}
