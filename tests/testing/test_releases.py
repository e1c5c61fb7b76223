"""A manager is restarted as a newer release: running sagas keep their version, new ones do not."""

from __future__ import annotations

import pytest

from es_saga import Saga
from es_saga.core.compiled import Definition
from es_saga.core.state import SagaState, SagaStatus
from es_saga.engine.registry import Registry
from es_saga.testing import Begin, Fault, FaultPlan, Kind, World
from es_saga.testing.faults import draw
from es_saga.testing.outcome import Outcome
from tests.testing import stall
from tests.testing.swapped import Basket, charge, refund, release, reserve, right, ship

later = Saga("right", Basket, version=2)
later.step(charge).compensation(refund)
later.step(reserve).compensation(release)
later.pivot(ship)

BOTH = [right, later]
EARLY, LATE = (
    Begin(f"right-{n}", "right", {"order_id": str(n)}, after) for n, after in ((1, 0.0), (2, 5.0))
)


def versions(outcome: Outcome) -> dict[str, int]:
    return {saga_id: state.origin.definition for saga_id, state in outcome.states.items()}


def steps(outcome: Outcome, saga_id: str) -> list[str]:
    return [effect.step for effect in outcome.effects if effect.saga_id == saga_id]


def test_a_saga_ends_on_the_version_it_began_with_and_the_next_begins_with_the_new_one() -> None:
    plan = FaultPlan((Fault(Kind.RELEASED, "right-1#4", 1.0),))
    outcome = World(BOTH, faults=plan).run([EARLY, LATE])
    assert not outcome.findings, outcome
    assert outcome.happened == {Kind.RELEASED: 1}
    assert versions(outcome) == {"right-1": 1, "right-2": 2}
    assert steps(outcome, "right-1") == ["reserve", "charge", "ship"]
    assert steps(outcome, "right-2") == ["charge", "reserve", "ship"]
    told = str(outcome)
    assert "right-1#4: the manager makes way for the next release, up 1 s later" in told
    assert "dies" in told


def test_before_the_release_nobody_knows_the_new_version() -> None:
    plan = FaultPlan((Fault(Kind.RELEASED, "right-2#1", 1.0),))
    outcome = World(BOTH, faults=plan).run([EARLY, LATE])
    assert versions(outcome) == {"right-1": 1, "right-2": 1}


def test_without_a_release_the_newest_version_is_known_from_the_beginning() -> None:
    assert versions(World(BOTH, rate=0).run([EARLY, LATE])) == {"right-1": 2, "right-2": 2}


def test_managers_that_were_not_restarted_are_still_the_old_release() -> None:
    """Two parts, two managers: who has the second saga's was not restarted."""
    plan = FaultPlan((Fault(Kind.RELEASED, "right-1#4", 1.0),), managers=2)
    found: set[int] = set()
    for n in range(2, 12):
        begin = LATE._replace(saga_id=f"right-{n}")
        outcome = World(BOTH, faults=plan).run([EARLY, begin])
        assert not outcome.findings, outcome
        found.add(versions(outcome)[begin.saga_id])
    assert found == {1, 2}


def test_what_a_newer_release_has_begun_waits_for_one_who_knows_it() -> None:
    """Its manager dies, and the other one, an older release, has the part for a while.

    That one cannot publish what was committed and not sent, against law L45: it is sent when its
    time is up, by one who knows it.
    """
    waited = 0
    for n in range(2, 12):
        begin = LATE._replace(saga_id=f"right-{n}")
        faults = (
            Fault(Kind.RELEASED, "right-1#4", 1.0),
            Fault(Kind.DIES_AFTER_APPEND, f"{begin.saga_id}#2", 40.0),
        )
        outcome = World(BOTH, faults=FaultPlan(faults, managers=2)).run([EARLY, begin])
        assert {finding.law for finding in outcome.findings} <= {"L45"}, outcome
        state = outcome.states[begin.saga_id]
        assert state.status is SagaStatus.COMPLETED
        if state.origin.definition == 2:
            assert "unregistered" in outcome.timeline()
            assert steps(outcome, begin.saga_id) == ["charge", "reserve", "ship"]
            waited += 1
    assert waited


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_the_laws_hold_through_releases(rate: float) -> None:
    """L51 among them, by handlers and by models; with one manager, see above."""
    released = both = 0
    for seed in range(80):
        cast = [stall.STOCK, stall.PAYMENTS] if seed % 2 else []
        outcome = World(BOTH, seed=seed, rate=rate, participants=cast).run(3)
        assert not outcome.findings, f"seed {seed}\n{outcome}"
        assert "L51" in outcome.judgement.applied
        released += outcome.happened[Kind.RELEASED]
        both += set(versions(outcome).values()) == {1, 2}
    assert released > 10
    assert both > 10, "some begin before the release, some after it"


def test_a_plan_for_one_version_has_no_release_and_is_what_it_was() -> None:
    sagas = [("right-1", right.definition)]
    for seed in range(50):
        plan, more = (draw(seed, sagas, rate=0.5, releases=n) for n in (0, 2))
        kinds = [fault.kind for fault in more.faults[len(plan.faults) :]]
        assert set(kinds) <= {Kind.RELEASED}
        assert set(plan.faults) <= set(more.faults)


def test_who_takes_a_running_saga_to_the_new_version_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Law L51: the steps of another definition are laid over a history."""

    def newest(registry: Registry, state: SagaState) -> Definition:
        return registry.latest(state.origin.saga_type)

    monkeypatch.setattr(Registry, "of", newest)
    found = World(BOTH, rate=0.3).search(range(200), 2)
    assert found is not None
    assert Kind.RELEASED in [fault.kind for fault in found.plan.faults], "it takes one"
