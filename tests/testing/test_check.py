"""One line finds the schedule that breaks a saga, and tells it so that a stranger understands."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import strategies as st

from domain.orders import app, order
from domain.orders.contracts import CardCharged, ReserveStock
from es_saga.core.errors import InvalidInput
from es_saga.core.state import SagaStatus
from es_saga.testing.check import CHECKS, LawBroken, check_saga
from es_saga.testing.exploration.bounds import Bounds
from es_saga.testing.laws import judge
from es_saga.testing.outcome import Outcome
from tests.testing.swapped import Basket, Reserve, Reserved, impure, right, swapped

NO_FAULTS = Bounds(faults=0)
"""Explores the good course only: what is found then, the simulated world has found."""


def test_a_right_saga_is_told_what_was_looked_at() -> None:
    checked = check_saga(order, participants=app.participants.values(), examples=60)

    assert checked.exploration
    assert checked.exploration.states > 100
    assert checked.schedules == 60
    assert checked.fates[SagaStatus.COMPLETED]
    assert checked.fates[SagaStatus.COMPENSATED]
    assert {"L01", "L06", "L23", "L47"} <= checked.laws
    assert checked.faults.total() > 20
    assert checked.played == ("orders", "payments", "stock", "shipping")
    assert CHECKS[-1] is checked
    assert str(checked).startswith("order: 60 schedules with ")
    assert "with the handlers of orders, payments, stock, shipping" in str(checked)


def test_swapped_undos_are_found_in_seconds_and_told_step_by_step() -> None:
    began = time.process_time()
    with pytest.raises(LawBroken) as broken:
        check_saga(swapped)
    told = str(broken.value)

    assert time.process_time() - began < 10
    assert "law L01 is broken after 5 moves" in told
    assert "the net effect of reserve is 1, not 0" in told
    assert "payments finds nothing to undo for reserve" in told
    assert "reserve done and not undone" in told
    assert broken.value.story is not None
    assert "L01" in {one.law for one in judge(broken.value.story).violations}


def test_the_simulated_world_finds_them_too_and_hands_over_a_script() -> None:
    with pytest.raises(LawBroken) as broken:
        check_saga(swapped, bounds=NO_FAULTS)
    found = broken.value.finding

    assert isinstance(found, Outcome)
    assert len(found.begins) == 1, "one saga is enough"
    assert len(found.plan.faults) + len(found.plan.scarce) == 1, "one fault is enough"
    assert broken.value.violation is not None
    assert broken.value.violation.law == "L01"
    assert broken.value.story is found.stories[0]
    assert "World(sagas, faults=plan).run(begins)" in found.script()


def test_the_same_saga_with_its_undos_where_they_belong_is_right() -> None:
    assert check_saga(right, examples=50).schedules == 50


def test_the_same_seed_is_the_same_search_and_none_is_always_the_same() -> None:
    def fates(seeded: int | None) -> object:
        checked = check_saga(right, examples=40, seeded=seeded, bounds=NO_FAULTS)
        return checked.fates, checked.faults

    random.seed(1)
    assert fates(None) == fates(None)
    assert fates(7) == fates(7)
    assert fates(7) != fates(8)


def test_a_function_that_is_not_pure_is_named() -> None:
    with pytest.raises(LawBroken, match="lay_aside asks the clock") as broken:
        check_saga(impure)
    assert broken.value.violation is None
    assert broken.value.story is None


def test_a_participant_that_lies_is_told_apart_from_a_wrong_saga() -> None:
    with pytest.raises(InvalidInput, match="'stock' is given to answer ReserveStock with CardC"):
        check_saga(order, replies={ReserveStock: CardCharged(charge="c-1")})


def test_inputs_and_answers_can_be_given() -> None:
    baskets = st.builds(Basket, order_id=st.just("known"))
    checked = check_saga(
        right, data=baskets, replies={Reserve: Reserved(reservation="r-1")}, examples=20
    )
    assert checked.schedules == 20


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []

    def note(what: str, done: int, total: int) -> None:
        told.append((what, done, total))

    check_saga(right, examples=20, progress=note)
    assert ("played", 10, 20) in told
    assert ("played", 20, 20) in told


@pytest.mark.parametrize("examples", [0, 1])
def test_it_can_only_explore(examples: int) -> None:
    assert check_saga(right, examples=examples).schedules == examples
