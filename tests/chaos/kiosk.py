"""The business under attack where things are held: seats by a reservation, money in both ways.

`app` reserves money in a table; `strict_app` prepares a transaction for it. The saga is the same.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Literal

from domain.allotment import Allotment
from es_saga import START, App, Command, Message, Participant, Refusal, Retry, SyncTx, Tcc

SEATS = 1_000_000
PENCE = 1_000_000_000
CARDS = 40
"""Who pays with one that is in doubt waits for it, so some do."""

PATIENCE = timedelta(seconds=1.0)
"""As in `shop`: shorter than an outage."""

SIX_TIMES = Retry(
    first=timedelta(seconds=0.2), coefficient=1.5, maximum=timedelta(seconds=1), attempts=6
)
FOUR_TIMES = replace(SIX_TIMES, attempts=4)
"""What is lost so often stays unknown, and is cancelled whether it was held or not."""

Fate = Literal["good", "sold out", "poor"]
FATES: tuple[Fate, ...] = ("good", "good", "good", "good", "sold out", "poor")


class Visit(Message):
    fate: Fate
    seats: int
    card: str
    pence: int


class Held(Message):
    place: str


class No(Refusal):
    """There is not so much."""


class HoldSeats(Command[Held]):
    to = "house"
    show: str
    seats: int


class HoldMoney(Command[Held]):
    to = "bank"
    card: str
    pence: int


visit = Tcc("visit", Visit)


@visit.hold(expires=timedelta(minutes=10), timeout=PATIENCE, retry=SIX_TIMES)
def seats(v: Visit) -> HoldSeats:
    return HoldSeats(show="full" if v.fate == "sold out" else "Hamlet", seats=v.seats)


@visit.hold(expires=timedelta(minutes=10), after=START, timeout=2 * PATIENCE, retry=FOUR_TIMES)
def money(v: Visit) -> HoldMoney:
    return HoldMoney(card="empty" if v.fate == "poor" else v.card, pence=v.pence)


shows = Allotment("shows", {"Hamlet": SEATS, "full": 0})
accounts = Allotment("accounts", {f"card-{n}": PENCE for n in range(CARDS)} | {"empty": 0})

house = Participant("house", tables=shows.tables)
bank = Participant("bank", tables=accounts.tables)
strict_bank = Participant("bank", tables=accounts.tables)


@house.tries(HoldSeats)
def set_aside(cmd: HoldSeats, tx: SyncTx) -> Held | No:
    return Held(place="A") if shows.hold(tx, cmd.show, cmd.seats) else No()


@house.confirms(HoldSeats)
def sell(cmd: HoldSeats, held: Held, tx: SyncTx) -> None:
    shows.confirm(tx, cmd.show, cmd.seats)


@house.cancels(HoldSeats)
def free(cmd: HoldSeats, held: Held, tx: SyncTx) -> None:
    shows.cancel(tx, cmd.show, cmd.seats)


@bank.tries(HoldMoney)
def block(cmd: HoldMoney, tx: SyncTx) -> Held | No:
    return Held(place="vault") if accounts.hold(tx, cmd.card, cmd.pence) else No()


@bank.confirms(HoldMoney)
def take(cmd: HoldMoney, held: Held, tx: SyncTx) -> None:
    accounts.confirm(tx, cmd.card, cmd.pence)


@bank.cancels(HoldMoney)
def give_back(cmd: HoldMoney, held: Held, tx: SyncTx) -> None:
    accounts.cancel(tx, cmd.card, cmd.pence)


@strict_bank.prepares(HoldMoney)
def spend(cmd: HoldMoney, tx: SyncTx) -> Held | No:
    """What is held is spent at once: nobody sees it before it is confirmed."""
    if not accounts.hold(tx, cmd.card, cmd.pence):
        return No()
    accounts.confirm(tx, cmd.card, cmd.pence)
    return Held(place="vault")


app = App("chaos", sagas=[visit], participants=[house, bank])
strict_app = App("chaos", sagas=[visit], participants=[house, strict_bank])
