"""Sagas that run random ones, among unreliable services: no law is broken, whatever runs whom."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from es_saga import START, Saga
from es_saga.testing import World
from es_saga.testing.plans import Go, build, plans
from tests.core.sagas import Do, Undo

HARSH = 0.5
"""Half of all commands meet with trouble."""


def named(name: str) -> Callable[[Go], Go]:
    """The function of a step that hands its input on."""

    def same(go: Go) -> Go:
        return go

    same.__name__ = name
    return same


def asking(name: str) -> Callable[[Go], Do]:
    def ask(go: Go) -> Do:
        return Do(step=name, who="ann")

    ask.__name__ = name
    return ask


def undoing(go: Go) -> Undo:
    return Undo(step="first", by=None)


@st.composite
def families(draw: st.DrawFn, deep: int = 1) -> Saga[Go]:
    """A saga that runs one or two others side by side, before a pivot, after one, or without."""
    child = draw(families(deep - 1)) if deep and draw(st.booleans()) else _random(draw, deep)
    parent = Saga(f"parent-{deep}", Go)
    if draw(st.booleans()):
        parent.step(asking("first")).compensation(undoing)
    pivot = child.definition.pivot is not None
    late = not pivot and draw(st.booleans())
    if late:
        parent.pivot(asking("before"))
    parent.saga(child)(named("run"))
    if not pivot and not late and draw(st.booleans()):
        parent.saga(child, after=START)(named("beside"))
        parent.pivot(after=("run", "beside"))(asking("after"))
    return parent


def _random(draw: st.DrawFn, deep: int) -> Saga[Go]:
    saga = build(draw(plans().filter(lambda plan: not plan.broken))).saga
    saga.name = f"child-{deep}"
    return saga


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(families(), st.integers(0, 2**16))
def test_random_families_break_no_law(parent: Saga[Go], seed: int) -> None:
    outcome = World([parent], seed=seed, rate=HARSH).run(2)
    assert not outcome.findings, str(outcome)
