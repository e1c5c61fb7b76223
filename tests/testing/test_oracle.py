"""What sagas are found to do is what the calculi of compensation allow: no more and no less."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain import activities, credit, orders, transfer, travel
from es_saga import Saga
from es_saga.core.compiled import Definition, StepKind
from es_saga.testing.examples import example
from es_saga.testing.exploration.bounds import Bounds
from es_saga.testing.exploration.explorer import Explorer
from es_saga.testing.exploration.roles import answers_of
from es_saga.testing.plans import Plan, StepPlan, build
from tests.testing.oracle import Part, Traces, allowed, ancestors
from tests.testing.reached import reached

# The calculi know no operators, and no compensation that fails. One attempt or two is the same to
# them, and one makes a step unknown with the first fault.
BOUNDS = Bounds(faults=None, failing_undos=0, attempts=1, operators=False, symmetry=False)


def _explored(definition: Definition, bounds: Bounds = BOUNDS) -> Traces:
    data = example(definition.data)
    explorer = Explorer(definition, bounds, data, answers_of(definition, {}), (), laws=())
    assert explorer.search() is None
    assert explorer.complete
    return reached(explorer)


def _parts(definition: Definition) -> dict[str, Part]:
    return {
        step.name: Part(step.kind.value, step.after, step.on_unknown == "undo")
        for step in definition.steps.values()
    }


@pytest.mark.requirement("R032", "R042")
@pytest.mark.parametrize(
    "saga",
    [
        orders.order,
        orders.collect,
        orders.express,
        orders.counter,
        transfer.transfer,
        travel.stay,
        credit.purchase,
        activities.course,
    ],
    ids=lambda saga: saga.name,
)
def test_a_saga_has_exactly_the_effects_that_the_calculi_allow(saga: Saga[Any]) -> None:
    assert _explored(saga.definition) == allowed(_parts(saga.definition))


@pytest.mark.requirement("R042")
def test_branches_have_the_effects_that_the_calculi_allow() -> None:
    """With two faults: that is all there is as long as one step at most ends unknown."""
    trip = travel.trip.definition
    found = _explored(
        trip, Bounds(faults=2, failing_undos=0, attempts=1, operators=False, symmetry=False)
    )
    some, every = allowed(_parts(trip), most_unknown=1), allowed(_parts(trip))
    assert some.completed == found.completed == every.completed
    assert some.compensated <= found.compensated <= every.compensated


@st.composite
def _small_graphs(draw: st.DrawFn) -> Plan:
    """Up to three steps in any graph, with a pivot that joins it or without."""
    names = "abc"[: draw(st.integers(1, 3))]
    pivot = draw(st.none() | st.integers(0, len(names) - 1))
    steps: list[StepPlan] = []
    for index, name in enumerate(names):
        after_pivot = pivot is not None and index > pivot
        side = names[pivot:index] if pivot is not None and after_pivot else names[:index]
        some = (
            st.sets(st.sampled_from(side), min_size=int(after_pivot))
            if side
            else st.just(set[str]())
        )
        after = tuple(sorted(draw(some)))
        kind = StepKind.RETRIABLE if after_pivot else StepKind.COMPENSATABLE
        if index == pivot:
            kind, after = StepKind.PIVOT, tuple(names[:index])
        elif draw(st.integers(0, 4)) == 0:
            kind = StepKind.CHECK
        steps.append(StepPlan(name, kind, after))
    return Plan(tuple(steps))


def _breadth(plan: Plan) -> int:
    """Steps that can be in flight together, at most: the cost of exploring them multiplies."""
    parts = {step.name: Part("", step.after or ()) for step in plan.steps}
    before = {name: ancestors(parts, name) for name in parts}
    return max(
        len(some)
        for size in range(len(parts) + 1)
        for some in combinations(parts, size)
        if not any(one in before[other] for one, other in permutations(some, 2))
    )


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_small_graphs().filter(lambda plan: _breadth(plan) <= 2))
def test_a_graph_of_steps_has_exactly_the_effects_that_the_calculi_allow(plan: Plan) -> None:
    definition = build(plan).saga.definition
    assert _explored(definition) == allowed(_parts(definition))
