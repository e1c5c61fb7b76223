"""A saga with steps over lists: pick every line of an order, pay, then send every parcel."""

from __future__ import annotations

from pydantic import Field

from es_saga import Command, Message, Saga, Sensitive


class Line(Message):
    sku: str
    count: int = 1


class Basket(Message):
    lines: list[Line] = Field(examples=[[Line(sku="cup"), Line(sku="pan", count=2)]])


class Picked(Message):
    shelf: str
    weight: int = 1


class Pick(Command[Picked]):
    to = "warehouse"
    sku: str
    count: int


class PutBack(Command[None]):
    to = "warehouse"
    sku: str
    shelf: str | None


class Charge(Command[None]):
    to = "bank"
    weights: list[int]


class SendParcel(Command[None]):
    to = "post"
    to_whom: Sensitive[str] = "ann"
    shelf: str


def picking(*, most: int = 5, at_once: int = 2) -> Saga[Basket]:
    """Pick, two at once; charge for the weight; send what was heavy by itself."""
    saga = Saga("picking", Basket)

    @saga.step(each=lambda b: b.lines, most=most, at_once=at_once)
    def pick(b: Basket, line: Line) -> Pick:
        return Pick(sku=line.sku, count=line.count)

    @pick.compensation
    def put_back(b: Basket, line: Line, picked: Picked | None) -> PutBack:
        return PutBack(sku=line.sku, shelf=picked.shelf if picked else None)

    @saga.pivot
    def charge(b: Basket, picked: list[Picked]) -> Charge:
        return Charge(weights=[one.weight for one in picked])

    def shelves(b: Basket, picked: list[Picked]) -> list[str]:
        return [one.shelf for one in picked if one.weight]

    @saga.step(each=shelves, most=most)
    def send(b: Basket, shelf: str) -> SendParcel:
        return SendParcel(shelf=shelf)

    return saga


order = picking()
