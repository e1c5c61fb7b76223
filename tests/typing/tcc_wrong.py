"""Wrong uses of `Tcc`: both type checkers must object to each marked line."""

from __future__ import annotations

from datetime import timedelta

from es_saga import Command, Message, Tcc
from es_saga.core.tcc import confirm_of
from es_saga.testing import given

HOUR = timedelta(hours=1)


class Cart(Message):
    seats: int


class Other(Message):
    seats: int


class HoldSeats(Command[None]):
    to = "box_office"


checkout = Tcc("checkout", Cart)


@checkout.hold(expires=HOUR)
def right(c: Cart) -> HoldSeats:
    return HoldSeats()


@checkout.hold(expires=HOUR)  # error: another input
def another_input(c: Other) -> HoldSeats:
    return HoldSeats()


@checkout.hold(expires=HOUR)  # error: no command
def no_command(c: Cart) -> Other:
    return Other(seats=c.seats)


@checkout.hold()  # error: for how long?
def no_end(c: Cart) -> HoldSeats:
    return HoldSeats()


@checkout.hold(expires=15)  # error: no time
def no_time(c: Cart) -> HoldSeats:
    return HoldSeats()


asked = given(checkout, Cart(seats=1)).expect(confirm_of(HoldSeats))
asked.reply(Other(seats=1))  # error: a confirm answers with nothing
confirm_of(Other)  # error: no command
