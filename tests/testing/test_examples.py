"""Examples of messages: small, valid, the same every time."""

from __future__ import annotations

import datetime
import enum
import re
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import Field, HttpUrl, StringConstraints

from domain import activities, credit, orders, transfer, travel
from es_saga import InvalidInput, Message, Saga
from es_saga.testing.examples import example


class Colour(enum.Enum):
    RED = "red"


class Line(Message):
    sku: Annotated[str, StringConstraints(min_length=6, max_length=8)]
    pieces: Annotated[int, Field(gt=2, multiple_of=5)]


class Everything(Message):
    name: str
    colour: Colour
    kind: Literal["a", "b"]
    line: Line
    lines: list[Line]
    two: Annotated[list[str], Field(min_length=2)]
    tags: Annotated[set[str], Field(min_length=2)]
    pair: tuple[int, str]
    by_name: dict[str, int]
    price: Decimal
    share: Annotated[float, Field(gt=0, lt=1)]
    below: Annotated[int, Field(le=-3)]
    there: bool
    when: datetime.datetime
    day: datetime.date
    how_long: datetime.timedelta
    id: UUID
    url: HttpUrl
    maybe: str | None
    number: int | str
    anything: Any
    given: int = 7
    made: list[int] = Field(default_factory=lambda: [1])


class Tree(Message):
    name: str
    children: list[Tree]


class Chain(Message):
    next: Chain | None


class Coded(Message):
    code: Annotated[str, StringConstraints(pattern=r"^\d{3}$")]


class Known(Message):
    code: Annotated[str, StringConstraints(pattern=r"^\d{3}$")] = Field(examples=["123", "456"])
    pieces: int = Field(default=1, examples=[2])


def test_every_kind_of_field_gets_a_value_that_fits() -> None:
    made = example(Everything)
    assert made.name == "name"
    assert made.line == Line(sku="skuxxx", pieces=5)
    assert len(made.two) == len(made.tags) == 2
    assert 0 < made.share < 1
    assert made.below <= -3
    assert (made.given, made.made) == (7, [1])


def test_it_is_the_same_every_time() -> None:
    assert example(Everything) == example(Everything)


def test_models_that_contain_themselves_come_to_an_end() -> None:
    assert example(Tree).name == "name"
    assert isinstance(example(Chain), Chain)


def test_the_first_example_of_a_field_is_taken_unless_it_has_a_default() -> None:
    assert example(Known) == Known(code="123", pieces=1)


def test_what_cannot_be_made_up_is_to_be_given() -> None:
    with pytest.raises(InvalidInput, match=re.escape("No example of Coded")):
        example(Coded)


@pytest.mark.parametrize(
    "saga",
    [
        orders.order,
        transfer.transfer,
        travel.stay,
        travel.trip,
        credit.purchase,
        activities.course,
    ],
    ids=lambda saga: saga.name,
)
def test_the_reference_business_needs_no_help(saga: Saga[Any]) -> None:
    example(saga.definition.data)
    for step in saga.definition.steps.values():
        if step.reply is not None:
            example(step.reply)
