"""Sagas that stop where a test wants them to, and a definition that cannot be run.

The oven bakes only while a file named `open` lies in the data folder; a cake that is paid for has
to be baked, so a refusal there parks the saga for an operator. Flour comes only while a file named
`flour` lies there; else it is asked for again an hour later. Nobody ever answers for the sugar.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from es_saga import App, Command, Message, Participant, Refusal, Retry, Saga, Tx
from tests.testing.swapped import right, swapped

QUICK = timedelta(seconds=20)


class Cake(Message):
    """What a customer wants."""

    name: str


class Paid(Message):
    """The customer has paid."""

    receipt: str


class Baked(Message):
    """The cake is there."""

    weight: int


class Closed(Refusal):
    """The bakery is closed."""


class Pay(Command[Paid]):
    """Take the money."""

    to = "bakery"
    name: str


class Bake(Command[Baked]):
    """Bake it."""

    to = "bakery"
    name: str


cake = Saga("cake", Cake)


@cake.pivot(timeout=QUICK)
def pay(c: Cake) -> Pay:
    """From here on there has to be a cake."""
    return Pay(name=c.name)


@cake.step(timeout=QUICK)
def bake(c: Cake) -> Bake:
    """May find the bakery closed."""
    return Bake(name=c.name)


bakery = Participant("bakery")


@bakery.handles(Pay)
async def take_money(cmd: Pay, tx: Tx) -> Paid:
    return Paid(receipt=cmd.name)


@bakery.handles(Bake)
async def use_oven(cmd: Bake, tx: Tx) -> Baked | Closed:
    is_open = (Path(os.environ["ES_SAGA_DATA"]) / "open").exists()
    return Baked(weight=500) if is_open else Closed()


class Deliver(Command[None]):
    """Bring flour, or take it back."""

    to = "bakery"
    name: str
    back: bool = False


class Sweeten(Command[None]):
    """Nobody handles it."""

    to = "sugar"
    name: str


LATER = Retry(first=timedelta(hours=1), maximum=timedelta(hours=1))

bread = Saga("bread", Cake)


@bread.step(timeout=QUICK, retry=LATER)
def flour(c: Cake) -> Deliver:
    """Fails until there is some."""
    return Deliver(name=c.name)


@flour.compensation
def no_flour(c: Cake) -> Deliver:
    return Deliver(name=c.name, back=True)


class Recipe(Message):
    """What a pastry waits for."""

    text: str


class Knead(Command[None]):
    """Work the dough."""

    to = "bakery"
    recipe: str


pastry = Saga("pastry", Cake)
pastry.wait(Recipe, timeout=timedelta(hours=1))


@pastry.pivot(timeout=QUICK)
def knead(c: Cake, recipe: Recipe) -> Knead:
    return Knead(recipe=recipe.text)


@bakery.handles(Knead)
async def use_hands(cmd: Knead, tx: Tx) -> None:
    return None


sweets = Saga("sweets", Cake)


@sweets.check(timeout=timedelta(hours=1))
def sugar(c: Cake) -> Sweeten:
    """Stays in flight."""
    return Sweeten(name=c.name)


@bakery.handles(Deliver)
async def bring_flour(cmd: Deliver, tx: Tx) -> None:
    if not cmd.back and not (Path(os.environ["ES_SAGA_DATA"]) / "flour").exists():
        raise RuntimeError("no flour")


app = App("bakery", sagas=[cake, bread, pastry, sweets], participants=[bakery])

swapped_app = App("swapped", sagas=[swapped, right])
