"""The same checkout, strictly: what is held is a prepared transaction, and PostgreSQL keeps it.

Nobody ever sees seats or money that are only held, and there is nothing to give back: a hold that
is given up never happened. The price is that its rows are locked until it is settled. And as seats
and money are held side by side, two checkouts of one card and one show may lock each other out
until one gives up, of which `es-saga check` warns.
"""

from __future__ import annotations

import sqlalchemy as sa

from domain.checkout.contracts import (
    CardDeclined,
    FundsHeld,
    HoldFunds,
    HoldSeats,
    SeatsHeld,
    SoldOut,
)
from domain.checkout.participants import accounts, shows
from domain.checkout.saga import checkout
from domain.totals import Counting
from es_saga import App, Participant, SyncTx
from es_saga.participant.prepared import in_doubt

box_office = Participant("box_office", tables=shows.tables)
bank = Participant("bank", tables=accounts.tables)


@box_office.prepares(HoldSeats)
def sell_seats(cmd: HoldSeats, tx: SyncTx) -> SeatsHeld | SoldOut:
    if not shows.hold(tx, cmd.show, cmd.seats):
        return SoldOut(show=cmd.show)
    shows.confirm(tx, cmd.show, cmd.seats)
    return SeatsHeld(show=cmd.show, seats=cmd.seats)


@bank.prepares(HoldFunds)
def take_money(cmd: HoldFunds, tx: SyncTx) -> FundsHeld | CardDeclined:
    if not accounts.hold(tx, cmd.card, cmd.pence):
        return CardDeclined(card=cmd.card)
    accounts.confirm(tx, cmd.card, cmd.pence)
    return FundsHeld(pence=cmd.pence)


app = App("checkout", sagas=[checkout], participants=[box_office, bank])


def _and_in_doubt(totals: Counting, service: Participant) -> Counting:
    def count(engine: sa.Engine) -> dict[str, int]:
        return {**totals(engine), "in_doubt": len(in_doubt(engine, service))}

    return count


totals = {
    "box_office": _and_in_doubt(shows.totals, box_office),
    "bank": _and_in_doubt(accounts.totals, bank),
}
"""What counts the holdings of each, and what nobody has settled."""
