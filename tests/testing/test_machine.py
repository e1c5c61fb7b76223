"""A state machine over a saga finds what breaks it, and bears rules of one's own."""

from __future__ import annotations

from unittest import TestCase

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from domain.orders import app, order
from domain.travel import trip
from es_saga.core.state import CLOSED
from es_saga.testing.machine import SagaMachine
from tests.testing.swapped import swapped

FEW = settings(max_examples=25, stateful_step_count=30, deadline=None, database=None)
UNSHRUNK = settings(
    FEW, max_examples=200, derandomize=True, phases=[Phase.explicit, Phase.generate]
)
"""Shrinking takes half a minute, and is Hypothesis' own."""


class Orders(SagaMachine):
    """With an invariant of the shop's own."""

    saga = order
    participants = tuple(app.participants.values())

    @invariant()
    def a_closed_order_is_no_longer_due(self) -> None:
        if self.history and self.state.status in CLOSED:
            assert self.state.next_due is None


class Trips(SagaMachine):
    saga = trip


class Swapped(SagaMachine):
    saga = swapped


TestOrders: type[TestCase] = Orders.TestCase
TestOrders.settings = FEW  # type: ignore[attr-defined]
TestTrips: type[TestCase] = Trips.TestCase
TestTrips.settings = FEW  # type: ignore[attr-defined]


def test_it_finds_swapped_undos_and_tells_the_way_there() -> None:
    with pytest.raises(AssertionError) as broken:
        run_state_machine_as_test(Swapped, settings=UNSHRUNK)
    told = str(broken.value)
    assert "swapped: law L" in told
    assert "what happened, and the events it led to" in told
    assert "done and not undone" in told


def test_an_invariant_of_ones_own_is_kept_too() -> None:
    class Wary(SagaMachine):
        saga = order

        @invariant()
        def nobody_is_ever_charged(self) -> None:
            assert not any(one.step == "charge" for one in self.effects if self.history), "charged"

    with pytest.raises(AssertionError, match="charged"):
        run_state_machine_as_test(Wary, settings=UNSHRUNK)
