"""A saga with a condition, a wait and a sleep: book, wrap gifts, have it approved, pay, send."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from es_saga import Command, Message, Saga
from es_saga.core.compiled import OnNothing, UndoOrder


class Purchase(Message):
    pence: int = Field(examples=[5_000])
    gift: bool = Field(default=False, examples=[True])


class Booked(Message):
    ref: str = "b-1"


class Book(Command[Booked]):
    to = "ledger"


class Unbook(Command[None]):
    to = "ledger"
    ref: str | None


class Wrap(Command[None]):
    to = "shop"


class Unwrap(Command[None]):
    to = "shop"


class Approval(Message):
    by: str


class Pay(Command[None]):
    to = "bank"
    approved_by: str | None


class Send(Command[None]):
    to = "post"
    wrapped: bool = False


DAY = timedelta(days=1)


def buying(*, on_timeout: OnNothing = "undo", undo_order: UndoOrder = "reverse") -> Saga[Purchase]:
    """Book; wrap gifts; what is dear is approved; pay; a day later, send."""
    saga = Saga("buying", Purchase, undo_order=undo_order)

    @saga.step
    def book(p: Purchase) -> Book:
        return Book()

    @book.compensation
    def unbook(p: Purchase, booked: Booked | None) -> Unbook:
        return Unbook(ref=booked.ref if booked else None)

    @saga.step(when=lambda p: p.gift)
    def wrap(p: Purchase) -> Wrap:
        return Wrap()

    @wrap.compensation
    def unwrap(p: Purchase) -> Unwrap:
        return Unwrap()

    def dear(p: Purchase, booked: Booked) -> bool:
        return p.pence > 1_000

    saga.wait(Approval, timeout=DAY, on_timeout=on_timeout, when=dear)

    @saga.pivot
    def pay(p: Purchase, approval: Approval | None) -> Pay:
        return Pay(approved_by=approval.by if approval else None)

    saga.sleep("cool_off", DAY)

    @saga.step
    def send(p: Purchase) -> Send:
        return Send(wrapped=p.gift)

    return saga


CHEAP, DEAR = Purchase(pence=500), Purchase(pence=5_000)

buy = buying()
