"""What is said about an order of many lines."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from es_saga import Command, Message, Refusal

MOST_LINES = 20
"""Lines of one order."""

MOST_PIECES = 1_000
"""Pieces of one line."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Pieces = Annotated[int, Field(ge=1, le=MOST_PIECES)]


class Line(Message):
    """So many pieces of one thing."""

    sku: Name = Field(examples=["cup", "pan", "unicorn"])
    pieces: Pieces = Field(examples=[1, 12])


class BulkOrder(Message):
    """What a shop wants to have, to be paid later. We know the examples."""

    order_id: Name
    shop: Name
    lines: list[Line] = Field(
        min_length=1,
        max_length=MOST_LINES,
        examples=[[Line(sku="cup", pieces=12), Line(sku="pan", pieces=2)]],
    )


class Reserved(Message):
    """The line is set aside."""

    pence: int
    """What it costs."""


class OutOfStock(Refusal):
    """There are not so many, or there is no such thing."""

    sku: str


class ReserveLine(Command[Reserved]):
    """Set a line aside."""

    to = "warehouse"
    sku: Name
    pieces: Pieces


class ReleaseLine(Command[None]):
    """Undoes ReserveLine."""

    to = "warehouse"
    sku: Name
    pieces: Pieces


class ShipLine(Command[None]):
    """Send what was set aside."""

    to = "warehouse"
    sku: Name
    pieces: Pieces


class CreditRefused(Refusal):
    """The shop gets no credit for so much."""

    pence: int


class Invoice(Command[None]):
    """Write the whole sum to the shop's account."""

    to = "accounts"
    order_id: Name
    shop: Name
    pence: int
