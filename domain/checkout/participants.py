"""Who takes part in a checkout: the box office has the seats, the bank has the money."""

from __future__ import annotations

from domain.allotment import Allotment
from domain.checkout.contracts import (
    CardDeclined,
    FundsHeld,
    HoldFunds,
    HoldSeats,
    SeatsHeld,
    SoldOut,
)
from es_saga import Participant, SyncTx

shows = Allotment(
    "shows", {"Hamlet": 1_000_000, "Macbeth": 1_000_000, "Othello": 1_000_000, "sold out": 0}
)
accounts = Allotment("accounts", {"visa": 10**12, "amex": 10**12, "prepaid": 0})

box_office = Participant("box_office", tables=shows.tables)
bank = Participant("bank", tables=accounts.tables)


@box_office.tries(HoldSeats)
def hold_seats(cmd: HoldSeats, tx: SyncTx) -> SeatsHeld | SoldOut:
    if not shows.hold(tx, cmd.show, cmd.seats):
        return SoldOut(show=cmd.show)
    return SeatsHeld(show=cmd.show, seats=cmd.seats)


@box_office.confirms(HoldSeats)
def sell_seats(hold: HoldSeats, held: SeatsHeld, tx: SyncTx) -> None:
    shows.confirm(tx, held.show, held.seats)


@box_office.cancels(HoldSeats)
def free_seats(hold: HoldSeats, held: SeatsHeld, tx: SyncTx) -> None:
    shows.cancel(tx, held.show, held.seats)


@bank.tries(HoldFunds)
def hold_funds(cmd: HoldFunds, tx: SyncTx) -> FundsHeld | CardDeclined:
    if not accounts.hold(tx, cmd.card, cmd.pence):
        return CardDeclined(card=cmd.card)
    return FundsHeld(pence=cmd.pence)


@bank.confirms(HoldFunds)
def take_money(hold: HoldFunds, held: FundsHeld, tx: SyncTx) -> None:
    accounts.confirm(tx, hold.card, held.pence)


@bank.cancels(HoldFunds)
def free_money(hold: HoldFunds, held: FundsHeld, tx: SyncTx) -> None:
    accounts.cancel(tx, hold.card, held.pence)


totals = {"box_office": shows.totals, "bank": accounts.totals}
"""What counts the holdings of each."""
