"""What is drawn is valid, covers everything, and shrinks to what matters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import date
from enum import Enum
from typing import Annotated, Literal, TypeVar

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from domain.travel import trip
from es_saga.core.compiled import Definition, StepKind
from es_saga.core.messages import Message
from es_saga.testing.faults import RELEASES, Fault, FaultPlan, Kind
from es_saga.testing.strategies import definitions, fault_plans, messages
from es_saga.testing.world import World

SAME = settings(derandomize=True, database=None, max_examples=2_000)
"""The same search every time: `find` fails where there is nothing to be found."""

T = TypeVar("T")


def some(strategy: st.SearchStrategy[T], fits: Callable[[T], bool]) -> T:
    """The first that fits, as it was drawn: that there is one is all that is asked."""
    return find(strategy, fits, settings=settings(SAME, phases=[Phase.generate]))


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Line(Message):
    sku: Annotated[str, Field(pattern=r"^[A-Z]{3}-\d$")]
    pieces: int = Field(ge=1, le=3)


class Basket(Message):
    """A field of every kind that matters."""

    lines: list[Line] = Field(min_length=1, max_length=2)
    gift: Line | None = None
    notes: dict[str, Line] = Field(default_factory=dict)
    size: Size
    speed: Literal["slow", "quick"]
    grams: float = Field(gt=0)
    due: date
    where: tuple[str, int]
    customer: str = Field(min_length=2, max_length=5)


@settings(max_examples=100)
@given(messages(Basket))
def test_a_message_keeps_every_constraint_of_its_model(basket: Basket) -> None:
    assert 1 <= len(basket.lines) <= 2
    assert all(1 <= line.pieces <= 3 for line in basket.lines)
    assert all(re.fullmatch(r"[A-Z]{3}-\d\n?", line.sku) for line in basket.lines)
    assert 0 < basket.grams < float("inf")
    assert 2 <= len(basket.customer) <= 5
    assert Basket.model_validate_json(basket.model_dump_json()) == basket


def test_what_is_optional_is_there_and_is_not() -> None:
    some(messages(Basket), lambda basket: basket.gift is not None)
    some(messages(Basket), lambda basket: basket.gift is None)
    some(messages(Basket), lambda basket: bool(basket.notes))
    some(messages(Basket), lambda basket: basket.size is Size.LARGE)


class Range(Message):
    low: int
    high: int

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        assert self.low <= self.high
        return self


class Sale(Message):
    sku: Annotated[str, Field(max_length=9)] = Field(examples=["teapot", "vase"])
    card: str = Field(examples=["visa"])
    pence: int


def test_examples_of_fields_come_often_and_other_values_too() -> None:
    """Half of all have the first example everywhere: participants know what to do with those."""
    seen: Counter[str] = Counter()

    @settings(max_examples=200, database=None, derandomize=True)
    @given(messages(Sale))
    def draw(sale: Sale) -> None:
        seen["known"] += (sale.sku, sale.card) == ("teapot", "visa")
        seen["vase"] += sale.sku == "vase"
        seen["other"] += sale.sku not in ("teapot", "vase") and sale.card != "visa"
        assert len(sale.sku) <= 9

    draw()
    assert seen["known"] > 80
    assert seen["vase"] > 10
    assert seen["other"] > 10


@given(messages(Range))
def test_a_models_own_rule_is_kept_by_trial(drawn: Range) -> None:
    assert drawn.low <= drawn.high


IDS = ("saga-1", "saga-2")
PLANS = fault_plans(trip.definition, IDS)


def test_every_kind_of_fault_is_drawn_and_names_a_place_that_can_be() -> None:
    seen: Counter[Kind] = Counter()
    work = "(flight|room|car)/(do|undo)|(pay|itinerary)/do"
    messages_of = re.compile(rf"saga-[12]/({work})/[1-5](/r)?")
    moments_of = re.compile(r"saga-[12]#([1-9]|stuck)")

    @settings(max_examples=1_000, database=None, derandomize=True)
    @given(PLANS)
    def draw(plan: FaultPlan) -> None:
        for fault in plan.faults:
            seen[fault.kind] += 1
            place = moments_of if "#" in fault.at else messages_of
            assert place.fullmatch(fault.at), fault.at
            assert fault.seconds >= 0 or fault.kind is Kind.CLOCK_JUMPS
        assert 1 <= plan.managers <= 3

    draw()
    special = {*RELEASES, Kind.DIES_IN_DOUBT}
    assert set(seen) == set(Kind) - special, "that takes several versions, and that holds"


def test_a_plan_shrinks_to_the_one_fault_that_matters() -> None:
    def refused(plan: FaultPlan) -> bool:
        return any(f.kind is Kind.REFUSED and "pay/do" in f.at for f in plan.faults)

    assert find(PLANS, refused, settings=SAME) == FaultPlan(
        (Fault(Kind.REFUSED, "saga-1/pay/do/1", 1.0),)
    )


@pytest.mark.parametrize("most", [0, 1])
def test_the_number_of_troubles_is_bounded(most: int) -> None:
    at_most = 5 * most  # one for each attempt

    @settings(max_examples=300, database=None, derandomize=True)
    @given(fault_plans(trip.definition, most=most))
    def draw(plan: FaultPlan) -> None:
        assert len(plan.faults) <= at_most

    draw()


def test_one_saga_alone_competes_with_nobody() -> None:
    some(fault_plans(trip.definition), lambda plan: not plan.scarce)


@pytest.mark.parametrize("kind", StepKind)
def test_definitions_have_steps_of_every_kind(kind: StepKind) -> None:
    def has(definition: Definition) -> bool:
        return kind in {step.kind for step in definition.steps.values()}

    assert has(some(definitions(), has))


def test_definitions_have_branches() -> None:
    def branches(definition: Definition) -> bool:
        return sum(not step.after for step in definition.steps.values()) > 1

    assert branches(some(definitions(), branches))


@settings(max_examples=20, deadline=None)
@given(definitions())
def test_a_random_definition_runs_in_the_simulated_world(definition: Definition) -> None:
    assert World([definition]).run().finished
