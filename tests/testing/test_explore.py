"""The exhaustive check: what it covers, what it finds, and how it tells."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import example as explicitly
from hypothesis import strategies as st

from domain import activities, credit, orders, transfer, travel
from domain.orders.contracts import (
    CancelOrder,
    CardCharged,
    CardDeclined,
    ChargeCard,
    CreateOrder,
    OrderCreated,
    OutOfStock,
    PlaceOrder,
    ReleaseStock,
    ReserveStock,
    StockReserved,
)
from es_saga import IllegalOperation, Saga
from es_saga.core.compiled import StepKind
from es_saga.core.messages import Direction, Envelope, command_id
from es_saga.core.state import SagaStatus
from es_saga.participant import fence
from es_saga.testing import scenes
from es_saga.testing.examples import example
from es_saga.testing.exploration.services import ANSWERS, Delivery, Fate, Services, Slot, Wish
from es_saga.testing.exploring import Bounds, Exploration, explore
from es_saga.testing.laws import judge
from es_saga.testing.plans import Plan, StepPlan, build, plans
from tests.testing import planted

SAGAS = [
    orders.order,
    orders.collect,
    orders.express,
    orders.counter,
    transfer.transfer,
    travel.stay,
    travel.trip,
    credit.purchase,
    activities.course,
]

# ── what holds ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("saga", SAGAS, ids=lambda saga: saga.name)
def test_every_saga_of_the_reference_business_survives_two_faults(saga: Saga[Any]) -> None:
    found = explore(saga, bounds=Bounds(faults=2))
    assert found, str(found)
    assert found.complete


@pytest.mark.parametrize("saga", [orders.order, orders.counter], ids=lambda saga: saga.name)
def test_any_number_of_faults_may_strike_while_undos_succeed(saga: Saga[Any]) -> None:
    found = explore(saga, bounds=Bounds(faults=None, failing_undos=0))
    assert found, str(found)
    assert found.complete


def test_every_end_is_found() -> None:
    """All or nothing while undos succeed; where they fail, what they left is owed and named."""
    good = explore(planted.right(), bounds=Bounds(faults=2, failing_undos=0))
    assert {(end.status, *sorted(end.lasting)) for end in good.outcomes} == {
        (SagaStatus.COMPLETED, "charge", "reserve"),
        (SagaStatus.COMPENSATED,),
    }
    bad = explore(planted.right(), bounds=Bounds(faults=2))
    stuck = [end.lasting for end in bad.outcomes if end.status is SagaStatus.STUCK]
    assert {"reserve"} in stuck
    assert {"charge"} in stuck


@pytest.mark.parametrize("number", [1, 2, 3])
def test_interchangeable_steps_are_explored_once_and_nothing_is_lost(number: int) -> None:
    saga = planted.side_by_side(number)
    less = explore(saga, bounds=Bounds(faults=1))
    all_of_them = explore(saga, bounds=Bounds(faults=1, symmetry=False))
    assert less
    assert all_of_them
    assert _counts(less) == _counts(all_of_them)
    assert (less.states < all_of_them.states) == (number > 1)


def _counts(found: Exploration) -> set[tuple[SagaStatus, int]]:
    """Ends, whichever of the interchangeable steps they name."""
    return {(end.status, len(end.lasting)) for end in found.outcomes}


def _mended(plan: Plan) -> bool:
    return not plan.broken


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans(most=4).filter(_mended))
def test_random_sagas_survive_one_fault(plan: Plan) -> None:
    found = explore(build(plan).saga, bounds=Bounds(faults=1, states=3_000))
    assert found, str(found)


_KEPT = Plan(
    (
        StepPlan("a", StepKind.COMPENSATABLE, None),
        StepPlan("b", StepKind.WAIT, ("a",), ways=2),
        StepPlan("c", StepKind.COMPENSATABLE, None),
        StepPlan("d", StepKind.COMPENSATABLE, None),
    ),
    undo_order="parallel",
)
"""Of undos side by side, one must not be issued: its step comes before the save-point."""


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@explicitly(_KEPT)
@given(plans(most=4, resumable=True).filter(_mended))
def test_random_sagas_with_a_save_point_survive_one_fault(plan: Plan) -> None:
    found = explore(build(plan).saga, bounds=Bounds(faults=1, states=3_000))
    assert found, str(found)


# ── what is found ────────────────────────────────────────────────────────────────────────────────


def test_undos_that_were_mixed_up_are_found() -> None:
    found = explore(planted.undos_swapped())
    counterexample = found.counterexample
    assert counterexample is not None
    assert counterexample.violation.law == "L01"
    assert counterexample.faults == 1
    assert counterexample.schedule == (
        "the saga starts",
        "stock does reserve",
        "the operator cancels the saga",
        "the answer to reserve arrives: succeeded",
        "card finds nothing to undo for reserve",
        "the answer to the undo of reserve arrives: succeeded",
    )
    assert str(found).endswith("in the end: reserve done and not undone")
    assert found.seconds < 10


def test_an_undo_that_cannot_do_without_its_argument_is_found() -> None:
    found = explore(planted.undo_needs_what_it_may_not_have())
    assert "the function of compensation of reserve raised AttributeError" in str(found)
    assert "no answer to reserve (attempt 1) in time" in str(found)


def test_a_step_after_the_pivot_that_may_be_refused_is_found_in_its_handler() -> None:
    saga = planted.refusable_after_the_pivot()
    found = explore(saga, participants=[planted.carrier])
    assert found.counterexample is not None
    assert found.counterexample.violation.law == "L11"
    assert "carrier may answer NoSuchAddress" in str(found)
    assert explore(saga), "as long as nobody says that it may be refused, a human is the way out"


def test_a_counterexample_can_be_judged_again() -> None:
    counterexample = explore(planted.undos_swapped()).counterexample
    assert counterexample is not None
    again = judge(counterexample.story)
    assert counterexample.violation in again.violations


def test_the_events_are_numbered_and_the_culprit_is_marked() -> None:
    text = str(explore(planted.undo_needs_what_it_may_not_have()))
    lines = text.splitlines()
    assert [line for line in lines if "1 SagaStarted" in line]
    assert [line for line in lines if line.lstrip().startswith("→")] == [
        line for line in lines if "SagaStuck" in line
    ]


def test_a_pivot_is_not_resolved_as_done_while_the_rest_is_undone() -> None:
    """Found by the exploration, with an operator who does by hand what had been refused."""
    stuck = (
        scenes.given(orders.counter, example(PlaceOrder))
        .expect(CreateOrder)
        .reply(OrderCreated(order_id="7"))
        .expect(ReserveStock)
        .reply(StockReserved(reservation="r"))
        .expect(ChargeCard)
        .refuse(CardDeclined(card="prepaid"))
        .expect(ReleaseStock)
        .refuse(OutOfStock(sku="teapot"))
        .expect(CancelOrder)
        .reply()
        .stuck(ReleaseStock)
    )
    with pytest.raises(IllegalOperation):
        stuck.on(ChargeCard).resolve(CardCharged(charge="by hand"))


# ── how far it goes, and what it does not claim ──────────────────────────────────────────────────


def test_it_says_when_it_has_not_seen_everything() -> None:
    found = explore(planted.right(), bounds=Bounds(states=100))
    assert found
    assert not found.complete
    assert "that is not all of them" in str(found)


def test_it_tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    found = explore(
        planted.right(),
        bounds=Bounds(faults=2),
        progress=lambda explored, waiting: told.append((explored, waiting)),
    )
    explored = [count for count, _ in told]
    assert explored == sorted(explored)
    assert explored
    assert explored[-1] <= found.states


def test_more_faults_lead_to_more_states_and_the_bound_is_kept() -> None:
    counts = [explore(planted.right(), bounds=Bounds(faults=most)).states for most in range(3)]
    assert counts == sorted(set(counts))
    straight = explore(planted.right(), bounds=Bounds(faults=0))
    assert [end.status for end in straight.outcomes] == [SagaStatus.COMPLETED]


def test_what_is_not_pure_is_named_and_not_explored() -> None:
    saga = Saga("drawn", planted.PlaceOrder)

    @saga.pivot
    def charge(o: planted.PlaceOrder) -> planted.ChargeCard:
        return planted.ChargeCard(order_id=str(random.random()), pence=o.pence)

    found = explore(saga)
    assert not found
    assert found.states == 0
    assert "charge draws a random number: random.random" in str(found)


# ── the model of a participant is the fence ──────────────────────────────────────────────────────

_STEP = "reserve"
_FATES = {
    Fate.DONE: fence.Status.SUCCEEDED,
    Fate.REFUSED: fence.Status.REFUSED,
    Fate.EMPTY: fence.Status.SUCCEEDED,
    Fate.UNDONE: fence.Status.UNDONE,
}


def _rows(services: Services) -> dict[str, fence.Record]:
    """What the real fence's table would hold."""
    rows: dict[str, fence.Record] = {}
    for slot, settled in services.fates.items():
        key = command_id("s", slot.step, slot.direction, slot.round)
        rows[key] = fence.Record(key, _FATES[settled.fate], None, None, 0.0)
    for slot, attempt in services.failures:
        key = f"{command_id('s', slot.step, slot.direction, slot.round)}#{attempt}"
        rows[key] = fence.Record(key, fence.Status.FAILED, None, None, 0.0)
    return rows


def _envelope(direction: Direction, attempt: int) -> Envelope:
    undo = direction is Direction.UNDO
    return Envelope(
        id="m",
        source="test",
        type="Command",
        commandid=command_id("s", _STEP, direction),
        undoes=command_id("s", _STEP, Direction.DO) if undo else None,
        attempt=attempt,
        direction="CANCEL" if undo else "REQUEST",
    )


@given(
    st.lists(st.tuples(st.sampled_from(Direction), st.integers(1, 2), st.sampled_from(Wish))),
)
def test_model_participants_follow_the_rules_of_the_fence(
    deliveries: list[tuple[Direction, int, Wish]],
) -> None:
    services = Services()
    for direction, attempt, wish in deliveries:
        slot = Slot("stock", _STEP, direction, 1)
        rule = fence.judge(_envelope(direction, attempt), _rows(services)).rule
        after = services.deliver(Delivery("s", slot, attempt, forward_round=1), wish, 0.0)
        fate = after.fates.get(slot)
        match rule:
            case fence.Rule.RUN if wish is Wish.DO:
                assert len(after.effects) == len(services.effects) + 1
                assert fate is not None
                assert fate.fate is Fate.DONE
            case fence.Rule.RUN:
                assert after.effects == services.effects
                assert (fate is not None) == (wish is Wish.REFUSE)
                assert fate is not None or (slot, attempt) in after.failures
            case fence.Rule.NEVER_RAN | fence.Rule.NOTHING_DONE:
                assert after.effects == services.effects
                assert fate is not None
                assert fate.fate is Fate.EMPTY
            case _:
                assert after == services
                if fate is not None:
                    refused = ANSWERS[fate.fate] == "refused"
                    assert (rule is fence.Rule.TOO_LATE) <= refused
        services = after
