"""The business under attack: orders of three steps, and services that count everything they do.

What becomes of an order stands in its input, so that the verdict knows how each one has to end.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Literal

import sqlalchemy as sa
from sqlalchemy import event

from es_saga import App, Command, Message, Participant, Refusal, Retry, Saga, SyncTx

OPENING = 10**9
"""Units that each service holds at first."""

PATIENCE = timedelta(seconds=1.0)
"""How long an attempt may stay unanswered: outages are longer, so that timers have work."""

FOR_EVER = Retry(
    first=timedelta(seconds=0.2), coefficient=1.5, maximum=timedelta(seconds=1), attempts=None
)
PAYMENTS = replace(FOR_EVER, attempts=1)
"""One attempt: what is lost stays unknown, and is undone whether it was paid or not."""

Fate = Literal["good", "no-stock", "no-money", "no-road"]
FATES: tuple[Fate, ...] = ("good", "good", "good", "no-road", "no-money", "no-stock")


class Order(Message):
    units: int
    fate: Fate


class Reserved(Message):
    shelf: str


class Charged(Message):
    receipt: str


class NotToday(Refusal):
    """Every service's no."""


class Reserve(Command[Reserved]):
    to = "stock"
    units: int
    willing: bool


class PutBack(Command[None]):
    to = "stock"
    units: int


class Charge(Command[Charged]):
    to = "till"
    units: int
    willing: bool


class Refund(Command[None]):
    to = "till"
    units: int


class Ship(Command[None]):
    to = "road"
    units: int
    willing: bool


order = Saga("order", Order)


@order.step(timeout=PATIENCE, retry=FOR_EVER)
def reserve(o: Order) -> Reserve:
    return Reserve(units=o.units, willing=o.fate != "no-stock")


@reserve.compensation(timeout=PATIENCE, retry=FOR_EVER)
def put_back(o: Order, reserved: Reserved | None) -> PutBack:
    return PutBack(units=o.units)


@order.step(timeout=2 * PATIENCE, retry=PAYMENTS)
def charge(o: Order) -> Charge:
    return Charge(units=o.units, willing=o.fate != "no-money")


@charge.compensation(timeout=PATIENCE, retry=FOR_EVER)
def refund(o: Order, charged: Charged | None) -> Refund:
    return Refund(units=o.units)


@order.pivot(timeout=PATIENCE, retry=FOR_EVER)
def ship(o: Order, reserved: Reserved, charged: Charged) -> Ship:
    return Ship(units=o.units, willing=o.fate != "no-road")


class Ledger:
    """A service's books. Nothing in the tables forbids to do a thing twice: that is the test."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.tables = sa.MetaData()
        self.holdings = sa.Table(
            f"{service}_holdings",
            self.tables,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("units", sa.BigInteger, nullable=False),
        )
        self.effects = sa.Table(
            f"{service}_effects",
            self.tables,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("saga", sa.Text, nullable=False),
            sa.Column("direction", sa.Text, nullable=False),
            sa.Column("units", sa.BigInteger, nullable=False),
            sa.Column("command", sa.Text, nullable=False),
            sa.Column("step", sa.Text),
            sa.Column("at", sa.Double, nullable=False),
        )
        self._move = f"UPDATE {service}_holdings SET units = units + :units WHERE id = 1"
        self._note = (
            f"INSERT INTO {service}_effects (saga, direction, units, command, step, at)"
            " VALUES (:saga, :direction, :units, :command, :step, :at)"
        )

        @event.listens_for(self.holdings, "after_create")
        def open_books(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
            connection.execute(sa.insert(self.holdings).values(id=1, units=OPENING))

    def move(self, tx: SyncTx, units: int) -> None:
        """Take `units` out of the holdings; negative: put them back. Both leave a row."""
        command = tx.command
        direction = "undo" if command.direction == "CANCEL" else "do"
        tx.execute(self._move, {"units": -units})
        note = {"saga": command.saga_id or "", "direction": direction, "units": units}
        note |= {"command": command.id, "step": command.step, "at": time.time()}
        tx.execute(self._note, note)


LEDGERS = {service: Ledger(service) for service in ("stock", "till", "road")}
stock, till, road = (
    Participant(service, tables=ledger.tables) for service, ledger in LEDGERS.items()
)


@stock.handles(Reserve)
def take(cmd: Reserve, tx: SyncTx) -> Reserved | NotToday:
    LEDGERS["stock"].move(tx, cmd.units)
    return Reserved(shelf="s1") if cmd.willing else NotToday()  # rolled back


@stock.handles(PutBack)
def give_back(cmd: PutBack, tx: SyncTx) -> None:
    LEDGERS["stock"].move(tx, -cmd.units)


@till.handles(Charge)
def debit(cmd: Charge, tx: SyncTx) -> Charged | NotToday:
    LEDGERS["till"].move(tx, cmd.units)
    return Charged(receipt="r1") if cmd.willing else NotToday()


@till.handles(Refund)
def credit(cmd: Refund, tx: SyncTx) -> None:
    LEDGERS["till"].move(tx, -cmd.units)


@road.handles(Ship)
def send(cmd: Ship, tx: SyncTx) -> NotToday | None:
    LEDGERS["road"].move(tx, cmd.units)
    return None if cmd.willing else NotToday()


app = App("chaos", sagas=[order], participants=[stock, till, road])
