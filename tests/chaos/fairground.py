"""The fair's services, what its visitors do by events, and a sale that nobody conducts.

A ticket begins a visit, which waits for the stamp that another service puts on it. Of sales the
process manager only hears.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Literal

import sqlalchemy as sa

from es_saga import App, Choreography, Participant, Refusal, Saga, SyncTx
from es_saga.core.messages import parse_command_id
from es_saga.participant import Event
from tests.chaos.fair import (
    Done,
    Look,
    Move,
    MoveBack,
    Pay,
    PayBack,
    booth,
    fair,
    parade,
    tour,
)
from tests.chaos.shop import FOR_EVER, PATIENCE, Ledger

STAMPING = timedelta(seconds=2)
"""How long a visit waits for the stamp; then it goes on without."""

SOON = timedelta(seconds=3)
"""How long a sale may take from one event to the next: in an outage it takes longer."""

SaleFate = Literal["good", "no-money", "no-road"]
SALE_FATES: tuple[SaleFate, ...] = ("good", "good", "no-money", "no-road")


class No(Refusal):
    """Every service's no."""


# ── a visit ──────────────────────────────────────────────────────────────────────────────────────


class Ticket(Event):
    by = "gate"
    about = "ticket_id"
    ticket_id: str
    units: int
    stamped: bool


class Stamp(Event):
    by = "office"
    about = "stamp_id"
    stamp_id: str
    ticket_id: str


visit = Saga("visit", Ticket)
visit.starts_on(Ticket)


@visit.step(timeout=PATIENCE, retry=FOR_EVER)
def seat(t: Ticket) -> Move:
    return Move(units=t.units)


@seat.compensation(timeout=PATIENCE, retry=FOR_EVER)
def leave(t: Ticket) -> MoveBack:
    return MoveBack(units=t.units)


visit.wait(Stamp, timeout=STAMPING, on_timeout="go-on", key="ticket_id")


@visit.pivot(timeout=PATIENCE, retry=FOR_EVER)
def drink(t: Ticket, stamp: Stamp | None) -> Pay:
    return Pay(units=t.units if stamp else 2 * t.units)


# ── a sale ───────────────────────────────────────────────────────────────────────────────────────


class OfSale(Event):
    about = "sale_id"
    sale_id: str


class Offered(OfSale):
    by = "gate"
    units: int
    fate: SaleFate


class Withdrawn(OfSale):
    by = "gate"


class Bought(OfSale):
    by = "office"
    units: int
    fate: SaleFate


class Unaffordable(OfSale):
    by = "office"
    units: int


class Repaid(OfSale):
    by = "office"
    units: int


class Brought(OfSale):
    by = "carrier"


class Lost(OfSale):
    by = "carrier"
    units: int


sale = Choreography("sale", Offered)
sale.expects(Bought, after=Offered, within=SOON, unless=Unaffordable)
sale.expects(Brought, after=Bought, within=SOON, unless=Lost)
sale.undoes(Repaid, Bought, after=Lost, within=SOON)
sale.undoes(Withdrawn, Offered, after=(Unaffordable, Repaid), within=SOON)

# ── the services ─────────────────────────────────────────────────────────────────────────────────

LEDGERS = {name: Ledger(name) for name in ("stage", "till", "gate", "office", "carrier")}

stage = Participant("stage", tables=LEDGERS["stage"].tables)
till = Participant("till", tables=LEDGERS["till"].tables)
gate = Participant("gate", tables=LEDGERS["gate"].tables, publishes=[Ticket, Offered, Withdrawn])
office = Participant(
    "office",
    tables=LEDGERS["office"].tables,
    publishes=[Stamp, Bought, Unaffordable, Repaid],
)
carrier = Participant("carrier", tables=LEDGERS["carrier"].tables, publishes=[Brought, Lost])


def _round(tx: SyncTx) -> int:
    """1, and once more for each time that an operator had it tried anew."""
    return parse_command_id(tx.command.id).round


@stage.handles(Move)
def move(cmd: Move, tx: SyncTx) -> Done | No:
    LEDGERS["stage"].move(tx, cmd.units)
    second = (tx.command.saga_id or "").endswith("-2")
    return Done() if cmd.willing and (second or not cmd.shy) else No()


@stage.handles(MoveBack)
def move_back(cmd: MoveBack, tx: SyncTx) -> No | None:
    LEDGERS["stage"].move(tx, -cmd.units)
    return None if _round(tx) > cmd.jams else No()


@stage.handles(Look)
def look(cmd: Look, tx: SyncTx) -> Done | No:
    return Done() if cmd.willing else No()


@till.handles(Pay)
def take(cmd: Pay, tx: SyncTx) -> Done | No:
    LEDGERS["till"].move(tx, cmd.units)
    return Done() if cmd.willing and _round(tx) > cmd.jams else No()


@till.handles(PayBack)
def give(cmd: PayBack, tx: SyncTx) -> None:
    LEDGERS["till"].move(tx, -cmd.units)


def come(connection: sa.Connection, event: Ticket | Offered) -> None:
    """Somebody comes to the gate: once, however often it is tried."""
    ledger = LEDGERS["gate"]
    name = event.ticket_id if isinstance(event, Ticket) else event.sale_id
    known = sa.select(ledger.effects.c.id).where(ledger.effects.c.command == name)
    if connection.scalar(known) is None:
        row = {"saga": "", "direction": "do", "units": event.units, "command": name}
        connection.execute(sa.insert(ledger.effects), row | {"at": time.time()})
        left = ledger.holdings.c.units - event.units
        connection.execute(sa.update(ledger.holdings).values(units=left))
        assert gate.outbox is not None, "it publishes"
        gate.outbox.add(connection, event)


@office.on(Ticket)
def stamp(event: Ticket, tx: SyncTx) -> None:
    LEDGERS["office"].move(tx, 0)
    if event.stamped:
        tx.publish(Stamp(stamp_id=f"of-{event.ticket_id}", ticket_id=event.ticket_id))


@office.on(Offered)
def buy(event: Offered, tx: SyncTx) -> None:
    if event.fate == "no-money":
        tx.publish(Unaffordable(sale_id=event.sale_id, units=event.units))
    else:
        LEDGERS["office"].move(tx, event.units)
        bought = Bought(sale_id=event.sale_id, units=event.units, fate=event.fate)
        tx.publish(bought)


@carrier.on(Bought)
def bring(event: Bought, tx: SyncTx) -> None:
    if event.fate == "no-road":
        tx.publish(Lost(sale_id=event.sale_id, units=event.units))
    else:
        LEDGERS["carrier"].move(tx, event.units)
        tx.publish(Brought(sale_id=event.sale_id))


@office.on(Lost)
def repay(event: Lost, tx: SyncTx) -> None:
    LEDGERS["office"].move(tx, -event.units)
    tx.publish(Repaid(sale_id=event.sale_id, units=event.units))


@gate.on(Unaffordable)
def withdraw(event: Unaffordable, tx: SyncTx) -> None:
    LEDGERS["gate"].move(tx, -event.units)
    tx.publish(Withdrawn(sale_id=event.sale_id))


@gate.on(Repaid)
def withdraw_too(event: Repaid, tx: SyncTx) -> None:
    LEDGERS["gate"].move(tx, -event.units)
    tx.publish(Withdrawn(sale_id=event.sale_id))


app = App(
    "chaos",
    sagas=[tour, fair, booth, parade, visit, sale],
    participants=[stage, till, gate, office, carrier],
)
