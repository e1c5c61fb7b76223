"""A manager is restarted as a newer release: running sagas keep their version, new ones do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from domain.delivery.flow import delivery
from es_saga import InvalidInput, Saga
from es_saga.core.compiled import Definition
from es_saga.core.state import SagaState, SagaStatus
from es_saga.engine.registry import Registry
from es_saga.testing import (
    Begin,
    Bounds,
    Fault,
    FaultPlan,
    Kind,
    LawBroken,
    World,
    check_saga,
)
from es_saga.testing.faults import RELEASES, draw
from es_saga.testing.outcome import Outcome
from es_saga.testing.simulation.loop import EPOCH
from tests.testing import stall
from tests.testing.swapped import (
    Basket,
    charge,
    later,
    refund,
    release,
    reserve,
    right,
    ship,
)

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


def test_a_child_begins_once_the_manager_of_its_part_is_of_its_release() -> None:
    """All of them are, after a while (law L53)."""
    plan = FaultPlan((Fault(Kind.RELEASED, "right-1#4", 1.0),), managers=2)
    late = 0
    for n in range(2, 12):
        begin = Begin(f"basket-{n}", "family", {"order_id": str(n)}, 5.0)
        outcome = World([right, later, family(1), family(2)], faults=plan).run([EARLY, begin])
        assert not outcome.findings, outcome
        child = outcome.states[f"{begin.saga_id}--take"]
        assert child.origin.definition == versions(outcome)[begin.saga_id]
        late += child.origin.started - EPOCH > 30
    assert late


def family(version: int) -> Saga[Basket]:
    child = Saga("child", Basket, version=version)
    child.step(reserve).compensation(release)
    parent = Saga("family", Basket, version=version)
    parent.saga(child)(take)
    return parent


def take(b: Basket) -> Basket:
    return b


def test_what_a_newer_release_has_begun_waits_for_one_who_knows_it() -> None:
    """Its manager dies, and the other one, an older release, has the part for a while.

    That one cannot publish what was committed and not sent, and leaves it to one who can.
    """
    waited = 0
    for n in range(2, 12):
        begin = LATE._replace(saga_id=f"right-{n}")
        faults = (
            Fault(Kind.RELEASED, "right-1#4", 1.0),
            Fault(Kind.DIES_AFTER_APPEND, f"{begin.saga_id}#2", 40.0),
        )
        outcome = World(BOTH, faults=FaultPlan(faults, managers=2)).run([EARLY, begin])
        assert not outcome.findings, outcome
        state = outcome.states[begin.saga_id]
        assert state.status is SagaStatus.COMPLETED
        if state.origin.definition == 2:
            assert "unregistered" in outcome.timeline()
            assert steps(outcome, begin.saga_id) == ["charge", "reserve", "ship"]
            waited += 1
    assert waited


def test_while_a_release_is_withdrawn_its_sagas_wait_and_others_begin_on_the_older_one() -> None:
    faults = (
        Fault(Kind.RELEASED, "right-1#2", 1.0),
        Fault(Kind.WITHDRAWN, "right-2#4", 40.0),
    )
    last = Begin("right-3", "right", {"order_id": "3"}, 10.0)
    outcome = World(BOTH, faults=FaultPlan(faults)).run([EARLY, LATE, last])
    assert not outcome.findings, outcome
    assert versions(outcome) == {"right-1": 1, "right-2": 2, "right-3": 1}
    assert {state.status for state in outcome.states.values()} == {SagaStatus.COMPLETED}
    times = {saga_id: state.closed or 0.0 for saga_id, state in outcome.states.items()}
    assert times["right-3"] + 20 < times["right-2"]
    assert "right-2#4: the manager makes way for the release before, for 40 s" in str(outcome)


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_the_laws_hold_through_releases(rate: float) -> None:
    """L51 among them, by handlers and by models."""
    released = withdrawn = both = 0
    for seed in range(80):
        cast = [stall.STOCK, stall.PAYMENTS] if seed % 2 else []
        outcome = World(BOTH, seed=seed, rate=rate, participants=cast).run(3)
        assert not outcome.findings, f"seed {seed}\n{outcome}"
        assert "L51" in outcome.judgement.applied
        released += outcome.happened[Kind.RELEASED]
        withdrawn += outcome.happened[Kind.WITHDRAWN]
        both += set(versions(outcome).values()) == {1, 2}
    assert released > 10
    assert withdrawn > 10
    assert both > 10, "some begin before the release, some after it"


def test_a_check_may_become_a_step_with_an_undo_in_a_newer_release() -> None:
    """Whether a step has an effect is asked of the version that its saga is on."""
    looking, doing = Saga("order", Basket), Saga("order", Basket, version=2)
    looking.check(reserve)
    looking.pivot(ship)
    doing.step(reserve).compensation(release)
    doing.pivot(ship)
    newest = replace(looking.definition, version=3)
    for versions in ([looking.definition, doing.definition], [doing.definition, newest]):
        for seed in range(40):
            outcome = World(versions, seed=seed, rate=0.5).run(3)
            assert not outcome.findings, f"seed {seed}\n{outcome}"


class Wrapped(Basket):
    gift: bool


wrapped = Saga("right", Wrapped, version=3)
wrapped.step(charge).compensation(refund)
wrapped.pivot(ship)


def test_a_check_of_a_saga_upgrades_it_from_earlier_versions() -> None:
    checked = check_saga(wrapped, earlier=BOTH, examples=60, bounds=Bounds(faults=0))
    assert all(checked.faults[kind] for kind in RELEASES)
    assert checked.fates[SagaStatus.COMPLETED] > 60
    assert str(checked).startswith("right upgraded from v1, v2: 60 schedules")


def test_an_upgrade_that_breaks_a_law_is_found_by_the_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Registry, "of", _newest)
    with pytest.raises(LawBroken, match="the manager makes way for"):
        check_saga(later, earlier=[right], bounds=Bounds(faults=0))


@pytest.mark.parametrize("earlier", [later, wrapped])
def test_what_is_no_earlier_version_is_refused(earlier: Saga[Any]) -> None:
    with pytest.raises(InvalidInput, match="is no earlier version of 'right' version 2"):
        check_saga(later, earlier=[earlier])


def test_versions_of_a_choreography_are_checked_one_by_one() -> None:
    newer = replace(delivery.definition, version=2)
    with pytest.raises(InvalidInput, match="its services know no versions of it"):
        check_saga(newer, earlier=[delivery])


def test_a_plan_for_one_version_has_no_release_and_is_what_it_was() -> None:
    sagas = [("right-1", right.definition)]
    for seed in range(50):
        plan, more = (draw(seed, sagas, rate=0.5, releases=n) for n in (0, 2))
        kinds = [fault.kind for fault in more.faults[len(plan.faults) :]]
        assert set(kinds) <= set(RELEASES)
        assert set(plan.faults) <= set(more.faults)


def test_who_takes_a_running_saga_to_the_new_version_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Law L51: the steps of another definition are laid over a history."""

    monkeypatch.setattr(Registry, "of", _newest)
    found = World(BOTH, rate=0.3).search(range(200), 2)
    assert found is not None
    assert Kind.RELEASED in [fault.kind for fault in found.plan.faults], "it takes one"


def _newest(registry: Registry, state: SagaState) -> Definition:
    return registry.latest(state.origin.saga_type)
