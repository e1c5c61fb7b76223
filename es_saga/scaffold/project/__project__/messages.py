"""What is said between the saga and its services.

A command says whom it is for and what it is answered with. A refusal is a definite no: the saga
then undoes what it has done so far.
"""

from __future__ import annotations

from typing import Annotated

from es_saga import Command, Message, Refusal
from pydantic import Field, StringConstraints

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Pence = Annotated[int, Field(ge=1, le=10_000_000)]


class PlaceOrder(Message):
    """What a customer wants. `es-saga check` tries the examples, for the services know them."""

    order_id: Name
    sku: Name = Field(examples=["lamp", "unicorn"])
    card: Name = Field(examples=["visa", "prepaid"])
    pence: Pence


class StockReserved(Message):
    """A piece lies aside for the order."""

    reservation: str


class OutOfStock(Refusal):
    """There is none left, or there has never been such a thing."""

    sku: str


class ReserveStock(Command[StockReserved]):
    """Lay a piece aside."""

    to = "stock"
    order_id: Name
    sku: Name


class ReleaseStock(Command[None]):
    """Undoes ReserveStock."""

    to = "stock"
    order_id: Name


class CardDeclined(Refusal):
    """There is not enough money behind the card, or there is no such card."""

    card: str


class ChargeCard(Command[None]):
    """Take the money."""

    to = "payments"
    order_id: Name
    card: Name
    pence: Pence


class SendParcel(Command[None]):
    """Hand what was reserved to the carrier."""

    to = "shipping"
    order_id: Name
    reservation: str
