"""Choreographies, played: every order of events, lost and doubled ones, and deaths of processes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from es_saga.core import decide
from es_saga.core.compiled import Definition
from es_saga.core.errors import InvalidInput
from es_saga.core.inputs import Heard
from es_saga.core.observing import observe
from es_saga.core.reaction import Reaction
from es_saga.core.state import SagaStatus
from es_saga.testing import Begin, Bounds, Fault, FaultPlan, Kind, World, check_saga, explore
from es_saga.testing.exploration.explorer import Outcome
from tests.core.branching import trip
from tests.core.fulfilment import fulfilment
from tests.core.test_listening import parcel

FLOWS = [fulfilment().definition, trip().definition]
CALM = Bounds(faults=1, operators=False)


def deaf(definition: Definition, step: str) -> Definition:
    """The same, where nothing leads to the undo of a step."""
    found = definition.steps[step]
    assert found.observed is not None
    unheard = replace(found, observed=replace(found.observed, undone_after=()))
    return replace(definition, steps={**definition.steps, step: unheard})


def believes_everything(reaction: Reaction, heard: Heard) -> None:
    """Takes a no for a yes."""
    told = {"StockInsufficient": ("StockReserved", {"order_id": "1"})}
    name, data = told.get(heard.type, (heard.type, heard.data))
    observe(reaction, heard._replace(type=name, data=data))


# ── every schedule ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R002")
@pytest.mark.parametrize("definition", FLOWS, ids=lambda definition: definition.name)
def test_all_laws_hold_whatever_comes_when(definition: Definition) -> None:
    found = explore(definition, bounds=Bounds(faults=2))
    assert found, found
    assert found.complete
    assert {"L01", "L07", "L20", "L53", "L57"} <= found.laws


@pytest.mark.requirement("R043")
def test_with_one_thing_going_wrong_these_are_the_ends() -> None:
    everything = frozenset({"order_created", "payment_completed", "stock_reserved"})
    assert explore(FLOWS[0], bounds=CALM).outcomes == {
        Outcome(SagaStatus.COMPLETED, everything),
        Outcome(SagaStatus.COMPENSATED, frozenset()),  # payment, or stock, is refused
        Outcome(SagaStatus.STUCK, everything),  # told, and not heard
        Outcome(SagaStatus.STUCK, frozenset({"order_created", "payment_completed"})),
        Outcome(SagaStatus.STUCK, frozenset({"order_created"})),  # not told
    }


def test_an_undo_that_nothing_leads_to_is_found() -> None:
    found = explore(deaf(FLOWS[0], "payment_completed"), bounds=CALM)
    assert found.counterexample is not None
    assert found.counterexample.violation.law == "L53"
    assert "is expected, and nothing leads to it" in str(found)
    assert "stock tells StockInsufficient" in found.counterexample.schedule


def test_who_takes_a_no_for_a_yes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "observe", believes_everything)
    found = explore(FLOWS[0], bounds=CALM)
    assert found.counterexample is not None
    assert found.counterexample.violation.law in ("L01", "L03")
    refused = FaultPlan((Fault(Kind.REFUSED, "fulfilment-1/stock_reserved/do/1"),))
    assert World([FLOWS[0]], faults=refused).run().findings


# ── the simulated world ──────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R002", "R043")
@pytest.mark.parametrize("definition", FLOWS, ids=lambda definition: definition.name)
def test_no_law_breaks_in_a_world_where_everything_goes_wrong(definition: Definition) -> None:
    ends: Counter[SagaStatus] = Counter()
    struck: Counter[Kind] = Counter()
    for seed in range(60):
        outcome = World([definition], seed=seed).run(2)
        assert not outcome.findings, outcome
        ends.update(state.status for state in outcome.states.values())
        struck += outcome.happened
    assert ends[SagaStatus.COMPLETED] > 40
    assert ends[SagaStatus.COMPENSATED]
    assert ends[SagaStatus.STUCK]
    assert {Kind.LOST, Kind.DOUBLED, Kind.DELAYED, Kind.REFUSED} <= set(struck)


def world(kind: Kind, at: str, seconds: float = 0.0) -> tuple[SagaStatus, list[str]]:
    """The end of one flow that meets with one fault, and the alerts that were raised."""
    plan = FaultPlan((Fault(kind, f"fulfilment-1/{at}", seconds),))
    outcome = World([FLOWS[0]], faults=plan).run()
    assert not outcome.findings, outcome
    assert outcome.happened == {kind: 1}
    return outcome.states["fulfilment-1"].status, [alert.kind for alert in outcome.alerts]


@pytest.mark.requirement("R043")
def test_a_reaction_that_is_lost_is_an_alert_and_one_that_is_late_goes_on() -> None:
    told = "stock_reserved/do/1/r"
    assert world(Kind.LOST, told) == (SagaStatus.STUCK, ["stuck"])
    assert world(Kind.FAILED_FOR_GOOD, "stock_reserved/do/1") == (SagaStatus.STUCK, ["stuck"])
    assert world(Kind.DELAYED, told, 20.0) == (SagaStatus.COMPLETED, [])
    status, alerts = world(Kind.DELAYED, told, 400.0)
    assert (status, alerts[0]) == (SagaStatus.COMPLETED, "stuck")
    assert world(Kind.DOUBLED, told, 100.0) == (SagaStatus.COMPLETED, [])


@pytest.mark.parametrize("kind", [Kind.DIES_ON_RECEIPT, Kind.FAILED])
def test_a_service_that_fails_for_a_while_reacts_after_all(kind: Kind) -> None:
    assert world(kind, "stock_reserved/do/1", 5.0) == (SagaStatus.COMPLETED, [])


@pytest.mark.parametrize("kind", [Kind.DIES_BEFORE_PUBLISH, Kind.DIES_AFTER_PUBLISH])
def test_a_service_that_dies_after_its_commit_tells_all_the_same(kind: Kind) -> None:
    assert world(kind, "stock_reserved/do/1/r", 5.0) == (SagaStatus.COMPLETED, [])


def test_a_flow_whose_id_no_event_can_name_is_refused() -> None:
    data = {"order_id": "1", "pence": 1}
    with pytest.raises(InvalidInput, match="No event can name the saga 'order-1'"):
        World(FLOWS).run([Begin("order-1", "fulfilment", data)])


def test_one_line_checks_a_flow() -> None:
    checked = check_saga(fulfilment(), examples=20, bounds=Bounds(faults=1))
    assert checked.fates[SagaStatus.COMPLETED]
    assert checked.played == ()


def test_a_saga_that_listens_is_told_by_events() -> None:
    outcome = World([parcel()], rate=0).run(2)
    assert not outcome.findings, outcome
    assert {state.status for state in outcome.states.values()} == {SagaStatus.COMPLETED}
    assert "sends parcel-1/packed/do/1/r: Packed" in outcome.timeline()
    assert World([parcel()]).search(range(20), 2) is None
