"""What is wrong is found, made small, and handed over as a script that shows it again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from domain.orders import order
from domain.orders.contracts import ReserveStock, StockReserved
from es_saga import InvalidInput
from es_saga.core.compiled import StepKind
from es_saga.core.errors import CorruptHistory
from es_saga.core.events import StepStarted, StepTimedOut
from es_saga.core.messages import Direction
from es_saga.core.state import SagaStatus
from es_saga.testing.faults import Fault, FaultPlan, Kind
from es_saga.testing.outcome import Outcome
from es_saga.testing.plans import Plan, StepPlan, build
from es_saga.testing.shrinking import shrink
from es_saga.testing.simulation.log import Log
from es_saga.testing.world import Begin, World
from tests.engine.voyage import voyage
from tests.testing import faulty

ROOT = Path(__file__).parents[2]

MOST_SEEDS = range(400)

PLANTED: Mapping[str, Mapping[str, Any]] = {
    "L23": {"fence": faulty.no_fence},
    "L22": {"fence": faulty.hanging_fence},
    "L45": {"manager": faulty.ForgetfulManager},
    "L53": {"manager": faulty.DeafManager},
}
"""The law that a planted bug breaks, and the bug."""


def found(law: str) -> Outcome:
    outcome = World([order], rate=0.5, **PLANTED[law]).search(MOST_SEEDS, 2, law=law)
    assert outcome is not None, "it was not found"
    return outcome


@pytest.mark.parametrize("law", PLANTED)
def test_a_planted_bug_is_found_and_made_small(law: str) -> None:
    outcome = found(law)
    assert law in {finding.law for finding in outcome.findings}, outcome
    assert len(outcome.begins) == 1
    assert len(outcome.plan.faults) <= 3
    assert sum(outcome.happened.values()) == len(outcome.plan.faults), "each is needed"


@pytest.mark.parametrize("law", PLANTED)
def test_the_script_of_a_finding_runs_by_itself_and_shows_it_again(
    law: str, tmp_path: Path
) -> None:
    outcome = found(law)
    file = tmp_path / "finding.py"
    file.write_text(outcome.script())
    ran = subprocess.run(
        [sys.executable, file],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stderr
    assert ran.stdout == f"{outcome}\n"


def test_a_script_has_the_answers_that_were_given_by_hand() -> None:
    reply = StockReserved(reservation="by hand")
    told = World([order], rate=0, replies={ReserveStock: reply}).run().script()
    assert "from domain.orders.contracts import ReserveStock" in told
    assert "replies={ReserveStock: StockReserved(reservation='by hand')}" in told
    names: dict[str, Any] = {}
    with pytest.raises(SystemExit) as ended:
        exec(told, names)
    assert ended.value.code is False
    shipped = next(e for e in names["outcome"].notes if "ship/do/1" in getattr(e.about, "id", ""))
    assert shipped.about.data["reservation"] == "by hand"


def test_the_report_names_the_law_the_faults_and_what_happened() -> None:
    outcome = found("L23")
    told = str(outcome)
    (saga,) = outcome.states
    for line in (f"L23 ({saga})", "Faults that struck:", f"{saga}#1 SagaStarted", f"DID {saga}/"):
        assert line in told
    for fault in outcome.plan.faults:
        assert told.count(str(fault)) == 2, "in the list, and where it struck"


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert World([order]).search(range(30), 2) is None


def test_a_saga_that_stands_in_no_module_needs_lines_that_define_it() -> None:
    saga = build(Plan((StepPlan("a", StepKind.CHECK, None),))).saga
    outcome = World([saga]).run()
    with pytest.raises(InvalidInput, match="stands in no module"):
        outcome.script()
    assert "sagas = [mine]" in outcome.script("from mine import mine\nsagas = [mine]")


def test_taking_out_any_one_fault_of_what_was_shrunk_mends_it() -> None:
    """What can be missed only after something later was taken out is taken out, too."""
    one, two, three = (Fault(Kind.LOST, f"order-1/{n}/do/1") for n in "abc")
    fails = {(one, two, three), (one, two), (two,)}
    found = shrink(FaultPlan((one, two, three)), lambda plan: plan.faults in fails)
    assert found.faults == (two,)


def test_shrinking_takes_the_shortest_time_that_will_do() -> None:
    long = Fault(Kind.DELAYED, "order-1/charge/do/1", 400.0)
    found = shrink(FaultPlan((long,)), lambda plan: any(f.seconds > 3 for f in plan.faults))
    assert found == FaultPlan((long._replace(seconds=5.0),))


def test_shrinking_leaves_what_is_needed_and_no_more() -> None:
    faults = [Fault(Kind.LOST, f"order-1/{n}/do/1") for n in range(40)]
    needed = {faults[7], faults[8], faults[31]}
    plan = FaultPlan(tuple(faults), seed=5, managers=3, scarce=(("Reserve", 1),))
    tried: list[FaultPlan] = []

    def fails(smaller: FaultPlan) -> bool:
        tried.append(smaller)
        return needed <= set(smaller.faults) and smaller.managers > 1

    assert shrink(plan, fails) == FaultPlan((faults[7], faults[8], faults[31]), managers=3)
    assert len(tried) < 80


def test_a_log_that_cannot_be_folded_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = World([order]).run()

    def torn(_: Log) -> None:
        raise CorruptHistory("saga 'order-1': event 3 is missing, 4 comes next.")

    monkeypatch.setattr(Log, "rebuilt", torn)
    assert [str(one) for one in outcome.findings] == [
        "L38 (): saga 'order-1': event 3 is missing, 4 comes next."
    ]


# ── what was found in the engine ─────────────────────────────────────────────────────────────────


def test_what_a_rival_committed_and_never_sent_is_sent_by_the_survivor() -> None:
    """Law L45: two managers own the part; one commits a command and dies before it sends it."""
    faults = (
        Fault(Kind.USURPED, "order-1#1", 60.0),
        Fault(Kind.LOST, "order-1/create/do/1"),  # so that the second one is there in time
        Fault(Kind.DIES_BEFORE_PUBLISH, "order-1/charge/do/1", 60.0),
    )
    outcome = World([order], faults=FaultPlan(faults, managers=2)).run()
    assert sum(outcome.happened.values()) == len(faults)
    assert not outcome.findings, outcome
    assert outcome.states["order-1"].status is SagaStatus.COMPLETED


def test_a_child_that_knows_of_the_second_attempt_alone_answers_the_first() -> None:
    """Law L45 objected to that; found while releases came and went."""
    faults = (Fault(Kind.COMPENSATED, "v1#4"), Fault(Kind.RESENT, "v1#4"))
    outcome = World([voyage], faults=FaultPlan(faults)).run([Begin("v1", "voyage", {"who": "ann"})])
    sent = {message.id for message in outcome.stories[0].sent or ()}
    assert "v1/book/undo/2" in sent
    assert "v1/book/undo/1" not in sent
    assert not outcome.findings, outcome


def test_undos_that_are_retried_together_go_in_reverse_order() -> None:
    """Laws L06, L57: the world found them issued side by side; it shows them in order since."""
    faults = (
        Fault(Kind.REFUSED, "order-1/ship/do/1"),
        Fault(Kind.REFUSED, "order-1/reserve/undo/1"),
        Fault(Kind.REFUSED, "order-1/charge/undo/1"),
        Fault(Kind.RETRIED, "order-1#stuck"),
        Fault(Kind.DELAYED, "order-1/reserve/undo-2/2", 1.0),
    )
    outcome = World([order], faults=FaultPlan(faults)).run()
    assert not outcome.findings, outcome
    undone = [effect.step for effect in outcome.effects if effect.direction is Direction.UNDO]
    assert undone == ["create", "reserve", "charge"]


def test_a_timeout_comes_when_it_is_due_whatever_was_due_before_it() -> None:
    """An older hint of the saga's timer must not hold up the look at what is due now.

    The answer to `create` came long before its time was up, and `ship` is due right after that.
    """
    faults = (Fault(Kind.LOST, "order-1/ship/do/1"),)
    outcome = World([order], faults=FaultPlan(faults)).run()
    history = outcome.log.history("order-1")
    due = next(e.due for e in history if isinstance(e, StepStarted) and e.step == "ship")
    timed_out = next(event.at for event in history if isinstance(event, StepTimedOut))
    assert 0.0 <= timed_out - due < 0.2
