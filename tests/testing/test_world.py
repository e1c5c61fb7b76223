"""The simulated world: the same every time, full of faults, and a judge of the engine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.activities import course
from domain.credit import purchase
from domain.orders import collect, counter, express, order
from domain.orders.contracts import PlaceOrder
from domain.transfer import transfer
from domain.travel import stay, trip
from es_saga import Saga
from es_saga.core.messages import Direction
from es_saga.core.state import SagaStatus
from es_saga.testing.examples import example
from es_saga.testing.faults import RELEASES, Fault, FaultPlan, Kind, Moment
from es_saga.testing.outcome import Outcome
from es_saga.testing.plans import Plan, build, plans
from es_saga.testing.simulation.journal import What
from es_saga.testing.simulation.loop import EPOCH
from es_saga.testing.world import Begin, World

ROOT = Path(__file__).parents[2]

EVERY_SAGA: list[Saga[Any]] = [
    collect,
    counter,
    express,
    order,
    purchase,
    course,
    transfer,
    stay,
    trip,
]

DRAWN = range(40)
"""Seeds that each saga of the reference business is run with."""

HARSH = 0.5
"""Half of all commands meet with trouble."""


# ── the same every time ──────────────────────────────────────────────────────────────────────────

_DIGESTS = """
from domain.orders.contracts import PlaceOrder
from domain.orders import order
from domain.travel import trip
from es_saga.testing.world import World
for seed in range(4):
    print(World([order, trip], seed=seed, rate=0.5).run(20).digest)
"""


def test_the_same_seed_gives_the_same_run_byte_for_byte_in_another_process() -> None:
    """Also where strings hash otherwise, and sets so have another order."""
    told = [
        subprocess.run(
            [sys.executable, "-c", _DIGESTS],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for hash_seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len(set(told[0])) == 4, "and another seed gives another run"


def test_latencies_alone_make_another_run() -> None:
    seeds = (0, 1, 2, 3, 5, 6, 7)
    assert len({World([trip], faults=FaultPlan(seed=s)).run().digest for s in seeds}) == len(seeds)


def test_a_fair_world_completes_every_saga_and_meets_with_nothing() -> None:
    outcome = World(EVERY_SAGA, rate=0).run(3)
    assert not outcome.findings, outcome
    assert {state.status for state in outcome.states.values()} == {SagaStatus.COMPLETED}
    assert not outcome.happened + outcome.met
    assert outcome.seconds < 1.0
    assert len(outcome.states) == 3 * len(EVERY_SAGA)


def test_hours_of_waiting_take_no_time() -> None:
    """An undo that nobody answers for long is asked for again and again."""
    faults = [Fault(Kind.REFUSED, "order-1/ship/do/1")]
    faults += [Fault(Kind.LOST, f"order-1/create/undo/{n}") for n in range(1, 60)]
    began = time.process_time()
    outcome = World([order], faults=FaultPlan(tuple(faults))).run()
    assert time.process_time() - began < 2.0
    assert outcome.seconds > 3_000
    assert outcome.states["order-1"].status is SagaStatus.COMPENSATED
    assert not outcome.findings, outcome


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def drawn() -> Sequence[Outcome]:
    """Runs of several sagas with plans that were drawn."""
    return [World([trip, order], seed=seed, rate=HARSH).run(2) for seed in range(250)]


@pytest.mark.parametrize("kind", sorted(set(Kind) - {*RELEASES, Kind.DIES_IN_DOUBT}, key=repr))
def test_every_fault_really_happens(drawn: Sequence[Outcome], kind: Kind) -> None:
    assert sum(outcome.happened[kind] for outcome in drawn) >= 3


@pytest.mark.parametrize(
    "sight",
    [
        "conflict",
        "repeated",
        "sent again inside the window",
        "sent again outside the window",
        "undone before it came",
        "came after its undo",
        "refused for want",
    ],
)
def test_what_follows_from_faults_is_met_with(drawn: Sequence[Outcome], sight: str) -> None:
    assert sum(outcome.met[sight] for outcome in drawn) >= 3


def test_both_kinds_of_process_die(drawn: Sequence[Outcome]) -> None:
    deaths = Counter(
        note.who.partition("-")[0]
        for outcome in drawn
        for note in outcome.notes
        if note.about == "dies"
    )
    assert deaths["manager"] > 20
    assert deaths["flights"] + deaths["rooms"] + deaths["payments"] > 5


def test_every_fate_is_reached(drawn: Sequence[Outcome]) -> None:
    fates = {state.status for outcome in drawn for state in outcome.states.values()}
    assert fates == {
        SagaStatus.COMPLETED,
        SagaStatus.COMPENSATED,
        SagaStatus.COMPENSATED_WITH_EXCEPTIONS,
        SagaStatus.STUCK,
    }


# ── the laws ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R007", "R030", "R031", "R059", "R074", "R077", "R081", "R082")
@pytest.mark.parametrize("saga", EVERY_SAGA, ids=lambda saga: saga.name)
@pytest.mark.parametrize("rate", [0.2, HARSH])
def test_the_laws_hold_whatever_goes_wrong(saga: Saga[Any], rate: float) -> None:
    for seed in DRAWN:
        outcome = World([saga], seed=seed, rate=rate).run(2)
        assert not outcome.findings, f"seed {seed}\n{outcome}"


@settings(deadline=None, max_examples=60)
@given(plan=plans(), seed=st.integers(0, 10_000))
def test_the_laws_hold_for_any_saga(plan: Plan, seed: int) -> None:
    outcome = World([build(plan).saga], seed=seed, rate=HARSH).run(2)
    assert not outcome.findings, f"{plan}\n{outcome}"


def _boundaries(kind: Kind) -> list[str]:
    """Every place of one order where this can strike."""
    if kind.moment is Moment.WRITING:
        return [f"order-1#{version}" for version in range(1, 11)]
    steps = order.definition.steps
    return [f"order-1/{step}/do/1{answer}" for step in steps for answer in ("", "/r")]


@pytest.mark.requirement("R074")
@pytest.mark.parametrize("managers", [1, 2])
@pytest.mark.parametrize(
    "kind",
    [k for k in Kind if k.name.startswith(("DIES", "LOG")) and k.moment is not Moment.HANDLING],
)
def test_nothing_is_lost_or_doubled_at_any_boundary(kind: Kind, managers: int) -> None:
    """Laws L23, L44, L45, L47: append, publish and acknowledge; of managers and participants."""
    for place in _boundaries(kind):
        plan = FaultPlan((Fault(kind, place, 5.0),), managers=managers)
        outcome = World([order], faults=plan).run()
        assert outcome.happened == {kind: 1}, outcome
        assert not outcome.findings, outcome
        assert outcome.states["order-1"].status is SagaStatus.COMPLETED
        assert [effect.step for effect in outcome.effects] == [*order.definition.steps]


@pytest.mark.parametrize(
    ("kind", "at_once"),
    [
        (Kind.DIES_BEFORE_APPEND, False),
        (Kind.DIES_AFTER_APPEND, True),
        (Kind.LOG_AWAY, False),
        (Kind.LOG_UNSURE, True),
        (Kind.DIES_BEFORE_PUBLISH, False),
        (Kind.DIES_AFTER_PUBLISH, True),
    ],
)
def test_a_boundary_is_on_one_side_of_the_deed(kind: Kind, at_once: bool) -> None:
    """What comes after the commit or the publish finds it done; what comes before does not."""
    place = "order-1#5" if kind.moment is Moment.WRITING else "order-1/charge/do/1"
    notes = World([order], faults=FaultPlan((Fault(kind, place, 5.0),))).run().notes
    struck = next(note.at for note in notes if note.what is What.FAULT)
    deeds = (
        note.at
        for note in notes
        if (note.what is What.WRITTEN and note.about.version == 5 and "#" in place)
        or (note.what is What.SENT and note.about.id == place)
    )
    assert (next(deeds) == struck) is at_once


@pytest.mark.parametrize(
    ("kind", "again"), [(Kind.DIES_BEFORE_ACK, True), (Kind.DIES_AFTER_ACK, False)]
)
def test_what_was_not_acknowledged_comes_again(kind: Kind, again: bool) -> None:
    faults = (Fault(kind, "order-1/charge/do/1", 0.5), Fault(Kind.LOST, "order-1/ship/do/1"))
    outcome = World([order], faults=FaultPlan(faults)).run()
    assert outcome.happened == {kind: 1, Kind.LOST: 1}
    assert (outcome.met["repeated"] == 1) is again


def test_an_answer_to_what_was_about_to_be_sent_again_is_no_fault_of_the_sender() -> None:
    """An operator has it sent again, and somebody's forged answer to that attempt comes first.

    So it is answered before it is published, and need not be: the command was, before (law L45).
    """
    forged, again = (
        Fault(Kind.WRONG_ATTEMPT, "order-1/create/do/1"),
        Fault(Kind.RESENT, "order-1#2"),
    )
    outcome = World([order], faults=FaultPlan((forged, again), seed=27)).run()
    assert outcome.stories[0].sent is not None
    assert "order-1/create/do/2" not in {message.id for message in outcome.stories[0].sent}
    assert outcome.states["order-1"].steps["create"].do.attempt == 2
    assert not outcome.findings, outcome


def test_sagas_compete_for_what_is_scarce_and_never_get_more_than_there_is() -> None:
    plan = FaultPlan(scarce=(("ReserveStock", 2),))
    outcome = World([order, express], faults=plan).run(3)
    assert not outcome.findings, outcome
    assert Counter(state.status for state in outcome.states.values()) == {
        SagaStatus.COMPLETED: 2,
        SagaStatus.COMPENSATED: 4,
    }
    standing = 0
    for effect in outcome.effects:
        if effect.step == "reserve":
            standing += 1 if effect.direction is Direction.DO else -1
            assert 0 <= standing <= 2


def test_what_is_scarce_is_there_again_when_it_was_given_back() -> None:
    plan = FaultPlan((Fault(Kind.REFUSED, "order-1/ship/do/1"),), scarce=(("ReserveStock", 1),))
    world = World([order], faults=plan)
    data = example(PlaceOrder).model_dump(mode="json")
    outcome = world.run([Begin("order-1", "order", data), Begin("order-2", "order", data, after=5)])
    assert outcome.states["order-1"].status is SagaStatus.COMPENSATED
    assert outcome.states["order-2"].status is SagaStatus.COMPLETED


def test_a_clock_that_jumps_stays_where_it_is_through_the_managers_next_life() -> None:
    faults = (
        Fault(Kind.CLOCK_JUMPS, "order-1#4", 3600.0),
        Fault(Kind.DIES_AFTER_APPEND, "order-1#6", 1.0),
    )
    outcome = World([order], faults=FaultPlan(faults)).run()
    assert not outcome.findings, outcome
    times = [event.at - EPOCH for event in outcome.log.history("order-1")]
    assert [at > 3600 for at in times] == [False] * 4 + [True] * 6


def test_who_needs_a_human_has_raised_an_alert_by_the_end() -> None:
    lost = tuple(Fault(Kind.LOST, f"stay-1/pay/do/{attempt}") for attempt in (1, 2, 3))
    outcome = World([stay], faults=FaultPlan(lost)).run()
    assert outcome.states["stay-1"].status is SagaStatus.STUCK
    assert [(alert.saga_id, alert.opened) for alert in outcome.alerts] == [("stay-1", True)]


def test_two_owners_of_a_part_write_and_nothing_is_doubled() -> None:
    """Law L47: both get answers; the log refuses whoever is second."""
    steps = ("flight", "room", "car")
    lost = [Fault(Kind.LOST, f"trip-1/{step}/do/{n}") for step in steps for n in (1, 2)]
    faults = (Fault(Kind.USURPED, "trip-1#1", 60.0), *lost)
    met = Counter[str]()
    for seed in range(60):
        outcome = World([trip], faults=FaultPlan(faults, seed=seed, managers=2)).run()
        assert not outcome.findings, outcome
        assert outcome.states["trip-1"].status is SagaStatus.COMPLETED
        met += outcome.met
    assert met["conflict"]
