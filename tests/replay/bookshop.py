"""A business whose messages hold more than texts, and that refuses at one place only."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import Enum

from pydantic import Field

from es_saga import App, Command, Message, Refusal, Saga


class Cover(Enum):
    """How a book is bound."""

    HARD = "hard"
    SOFT = "soft"


class Line(Message):
    """Some copies of a book."""

    title: str
    cover: Cover = Cover.SOFT
    copies: int = 1


class BuyBooks(Message):
    """An order with lines."""

    lines: tuple[Line, ...]
    tags: dict[str, list[int]] = Field(default_factory=dict[str, list[int]])
    note: str | None = None


class Reserved(Message):
    """They lie aside."""

    until: date
    price: Decimal


class SoldOut(Refusal):
    """Not as many."""

    title: str


class Reserve(Command[Reserved]):
    """Lay them aside."""

    to = "shelf"
    lines: tuple[Line, ...]


class Release(Command[None]):
    """Undoes Reserve."""

    to = "shelf"
    note: str | None


class Bill(Command[None]):
    """Send the bill."""

    to = "office"
    price: Decimal


_sagas: list[Saga[BuyBooks]] = []
"""Where no module has them as a name of its own."""


def _books() -> Saga[BuyBooks]:
    saga = Saga("books", BuyBooks)

    @saga.step
    def reserve(b: BuyBooks) -> Reserve:
        return Reserve(lines=b.lines)

    @reserve.compensation
    def release(b: BuyBooks) -> Release:
        return Release(note=b.note)

    @saga.pivot
    def bill(b: BuyBooks, reserved: Reserved) -> Bill:
        return Bill(price=reserved.price)

    return saga


app = App("books", sagas=[_books()])
