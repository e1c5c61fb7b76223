"""A saga whose two undos were swapped by hand, the right one, and one that asks the clock."""

from __future__ import annotations

import time

from es_saga import App, Command, Message, Saga


class Basket(Message):
    order_id: str


class Reserved(Message):
    reservation: str


class Charged(Message):
    charge: str


class Shipped(Message):
    parcel: str


class Reserve(Command[Reserved]):
    to = "stock"
    order_id: str


class Release(Command[None]):
    to = "stock"
    order_id: str


class Charge(Command[Charged]):
    to = "payments"
    order_id: str


class Refund(Command[None]):
    to = "payments"
    order_id: str


class Ship(Command[Shipped]):
    to = "carrier"
    order_id: str


def reserve(b: Basket) -> Reserve:
    return Reserve(order_id=b.order_id)


def charge(b: Basket) -> Charge:
    return Charge(order_id=b.order_id)


def release(b: Basket) -> Release:
    return Release(order_id=b.order_id)


def refund(b: Basket) -> Refund:
    return Refund(order_id=b.order_id)


def ship(b: Basket) -> Ship:
    return Ship(order_id=b.order_id)


right = Saga("right", Basket)
right.step(reserve).compensation(release)
right.step(charge).compensation(refund)
right.pivot(ship)

later = Saga("right", Basket, version=2)
later.step(charge).compensation(refund)
later.step(reserve).compensation(release)
later.pivot(ship)

upgraded = App("upgraded", sagas=[right, later])

swapped = Saga("swapped", Basket)
swapped.step(reserve).compensation(refund)
swapped.step(charge).compensation(release)
swapped.pivot(ship)

impure = Saga("impure", Basket)


@impure.pivot
def lay_aside(b: Basket) -> Reserve:
    return Reserve(order_id=f"{b.order_id}-{time.time()}")
