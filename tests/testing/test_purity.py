"""Functions that are not pure are found, named, and told what they did."""

from __future__ import annotations

import datetime
import gc
import os
import random
import sys
import time
import uuid
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from pydantic import Field

from domain import activities, credit, orders, transfer, travel
from es_saga import Command, Message, Saga
from es_saga.testing.purity import Impurity, impurities


class Order(Message):
    number: str
    lines: list[str] = Field(default_factory=lambda: ["tea", "milk"])


class Line(Message):
    sku: str
    notes: list[str] = Field(default_factory=list[str])


class Booked(Message):
    tags: list[str] = Field(default_factory=lambda: ["new"])


class Book(Command[Booked]):
    to = "desk"
    text: str = ""
    token: str = Field(default="")


class Stamped(Command[Booked]):
    to = "desk"
    token: str = Field(default_factory=lambda: str(uuid.uuid4()))


class Unbook(Command[None]):
    to = "desk"
    text: str = ""


count = 0


def _counted() -> str:
    global count
    count += 1
    return str(count)


def _opened() -> str:
    open(os.devnull).close()
    return ""


def _printed() -> str:
    print(end="")
    return ""


def _saga(text: Callable[[Order], str]) -> Saga[Order]:
    saga = Saga("shop", Order)

    @saga.pivot
    def book(o: Order) -> Book:
        return Book(text=text(o))

    return saga


def _found(saga: Saga[Any]) -> list[Impurity]:
    return list(impurities(saga.definition))


IMPURE: list[tuple[Callable[[Order], str], str]] = [
    (lambda o: str(time.time()), "asks the clock: time.time"),
    (lambda o: str(time.monotonic_ns() < 0), "asks the clock: time.monotonic_ns"),
    (lambda o: str(datetime.datetime.now().year), "asks the clock: datetime.now"),
    (lambda o: str(date.today().year), "asks the clock: date.today"),
    (lambda o: str(random.randint(1, 1)), "draws a random number: random."),
    (lambda o: random.choice(o.lines) * 0, "draws a random number: random."),
    (lambda o: str(uuid.uuid4())[:0], "draws random bytes"),
    (lambda o: os.environ.get("HOME", "")[:0], "reads the environment"),
    (lambda o: str(hash(o.number)), "asks for a hash"),
    (lambda o: str(id(o) * 0), "asks where an object lies"),
    (lambda o: _opened(), "opens a file"),
    (lambda o: _printed(), "prints"),
    (lambda o: _counted(), "makes another command when called again: text "),
    (lambda o: o.lines.pop(), "changes its input: lines ['tea', 'milk'] became ['tea']"),
]


@pytest.mark.parametrize(("text", "fault"), IMPURE)
def test_a_step_that_is_not_pure_is_named_with_what_it_did(
    text: Callable[[Order], str], fault: str
) -> None:
    (impurity,) = _found(_saga(text))
    assert impurity.function == "book"
    assert impurity.fault.startswith(fault)


def test_what_a_step_does_for_an_item_of_its_list_is_looked_at() -> None:
    def hasty(o: Order) -> list[Line]:
        return [Line(sku=str(time.time()))]

    def first(o: Order) -> list[Line]:
        return [Line(sku=line) for line in o.lines]

    saga = Saga("shop", Order)

    @saga.check(each=hasty, most=3)
    def look(o: Order, line: Line) -> Book:
        return Book(text="look")

    @saga.step(each=first, most=3)
    def book(o: Order, line: Line, looked: list[Booked]) -> Book:
        return Book(text=str(random.random()), token=str(len(looked)))

    @book.compensation
    def unbook(o: Order, line: Line) -> Unbook:
        line.notes.append("seen")
        return Unbook(text=line.sku)

    found = {one.function: one.fault.partition(",")[0] for one in _found(saga)}
    assert found == {
        "the list of look": "asks the clock: time.time",
        "book": "draws a random number: random.random",
        "unbook, the undo of book,": "changes its item: notes [] became ['seen']",
    }


def test_a_list_that_is_empty_or_cannot_be_made_asks_for_nothing() -> None:
    def none(o: Order) -> list[Line]:
        return []

    def broken(o: Order) -> list[Line]:
        raise ValueError(o.number)

    for items in (none, broken):
        saga = Saga("shop", Order)

        @saga.check(each=items, most=3)
        def look(o: Order, line: Line) -> Book:
            return Book(text=str(time.time()))

        assert not _found(saga)


def test_the_line_is_told() -> None:
    saga = Saga("shop", Order)

    @saga.pivot
    def book(o: Order) -> Book:
        return Book(text=str(time.time()))

    (impurity,) = _found(saga)
    line = book.fn.__code__.co_firstlineno + 2
    assert impurity.fault == f"asks the clock: time.time, in test_purity.py, line {line}"


def test_a_command_that_draws_its_own_fields_is_found() -> None:
    saga = Saga("shop", Order)

    @saga.pivot
    def book(o: Order) -> Stamped:
        return Stamped()

    (impurity,) = _found(saga)
    assert impurity.fault.startswith("draws random bytes")


def test_an_undo_is_named_by_itself_and_by_its_step() -> None:
    saga = Saga("shop", Order)

    @saga.step
    def book(o: Order) -> Book:
        return Book()

    @book.compensation
    def unbook(o: Order, booked: Booked | None) -> Unbook:
        if booked is not None:
            booked.tags.append("old")
        return Unbook()

    (impurity,) = _found(saga)
    assert str(impurity) == (
        "unbook, the undo of book, changes booked: tags ['new'] became ['new', 'old']"
    )


def test_an_undo_is_called_without_its_reply_too() -> None:
    saga = Saga("shop", Order)

    @saga.step
    def book(o: Order) -> Book:
        return Book()

    @book.compensation
    def unbook(o: Order, booked: Booked | None) -> Unbook:
        return Unbook(text="" if booked else str(time.time()))

    (impurity,) = _found(saga)
    assert impurity.fault.startswith("asks the clock")


PURE: list[Callable[[Order], str]] = [
    lambda o: o.number.upper(),
    lambda o: str(random.Random(o.number).random()),
    lambda o: str(datetime.datetime(2030, 1, 1) + datetime.timedelta(days=1)),
    lambda o: str(uuid.uuid5(uuid.NAMESPACE_URL, o.number)),
    lambda o: ",".join(sorted(o.lines)),
    lambda o: str(1 // 0),
]


@pytest.mark.parametrize("text", PURE)
def test_a_pure_function_is_left_alone(text: Callable[[Order], str]) -> None:
    """One that raises on every call is pure; it is for the exploration to find where that leads."""
    assert _found(_saga(text)) == []


@pytest.mark.parametrize(
    "saga",
    [
        orders.order,
        orders.collect,
        orders.express,
        orders.counter,
        transfer.transfer,
        travel.stay,
        travel.trip,
        credit.purchase,
        activities.course,
    ],
    ids=lambda saga: saga.name,
)
def test_the_reference_business_is_pure(saga: Saga[Any]) -> None:
    assert _found(saga) == []


def test_nothing_of_the_watching_stays() -> None:
    _found(_saga(lambda o: str(time.time())))
    assert sys.getprofile() is None
    assert gc.isenabled()


def test_a_profiler_is_not_disturbed() -> None:
    seen: list[str] = []

    def profiler(frame: object, event: str, argument: object) -> None:
        seen.append(event)

    sys.setprofile(profiler)
    try:
        _found(_saga(lambda o: o.number))
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)
    assert seen


def test_whoever_counts_collections_is_not_taken_for_the_function() -> None:
    def told(phase: str, about: dict[str, int]) -> None:
        time.perf_counter()

    gc.callbacks.append(told)
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        assert _found(_saga(lambda o: "".join([*o.lines, *map(str, [[], [], []])]))) == []
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(told)
