"""Right uses of `Tcc`: both type checkers must have nothing to say."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from es_saga import START, App, Command, Message, Saga, Tcc
from es_saga.core.tcc import Hold, cancel_of, confirm_of
from es_saga.testing import given

HOUR = timedelta(hours=1)


class Cart(Message):
    seats: int


class SeatsHeld(Message):
    row: str


class HoldSeats(Command[SeatsHeld]):
    to = "box_office"
    seats: int


class HoldFunds(Command[None]):
    to = "bank"
    row: str


checkout = Tcc("checkout", Cart, version=2, deadline=HOUR)


@checkout.hold(expires=HOUR)
def seats(c: Cart) -> HoldSeats:
    return HoldSeats(seats=c.seats)


@checkout.hold(expires=HOUR, after=START)
def other_seats(c: Cart) -> HoldSeats:
    return HoldSeats(seats=c.seats)


@checkout.hold(expires=HOUR, after=(seats, other_seats))
def funds(c: Cart, held: SeatsHeld) -> HoldFunds:
    return HoldFunds(row=held.row)


assert_type(seats(Cart(seats=1)), HoldSeats)
assert_type(seats.expires, timedelta)
named: Hold[Cart, [SeatsHeld], HoldFunds] = funds
plain: Saga[Cart] = checkout
app = App("shop", sagas=[checkout])
asked = given(checkout, Cart(seats=1)).expect(HoldSeats)
asked.reply(SeatsHeld(row="A")).expect(confirm_of(HoldSeats)).reply(None)
cancel_of(HoldSeats)(hold=HoldSeats(seats=1))
