"""What is said at the checkout. What confirms and cancels a hold follows from the hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from es_saga import Command, Message, Refusal

MOST_PENCE = 100_000_000
"""The dearest cart: a million pounds."""

MOST_SEATS = 10
"""Seats that one customer may buy at once."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Pence = Annotated[int, Field(ge=1, le=MOST_PENCE)]
Seats = Annotated[int, Field(ge=1, le=MOST_SEATS)]


class Cart(Message):
    """What a customer wants to buy, and how to pay. We know the examples."""

    cart_id: Name
    show: Name = Field(examples=["Hamlet", "sold out"])
    seats: Seats
    card: Name = Field(examples=["visa", "prepaid"])
    pence: Pence
    """The price of all seats together."""


class SeatsHeld(Message):
    """The seats are set aside."""

    show: str
    seats: int


class SoldOut(Refusal):
    """There are not so many seats left, or no such show."""

    show: str


class HoldSeats(Command[SeatsHeld]):
    """Set seats aside: nobody else can have them meanwhile."""

    to = "box_office"
    show: Name
    seats: Seats


class FundsHeld(Message):
    """The money is set aside."""

    pence: int


class CardDeclined(Refusal):
    """There is not enough money behind the card, or there is no such card."""

    card: str


class HoldFunds(Command[FundsHeld]):
    """Set money aside: it cannot be spent meanwhile."""

    to = "bank"
    card: Name
    pence: Pence
