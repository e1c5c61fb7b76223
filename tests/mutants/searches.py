"""The searches of the kit, each to be run with a mistake planted, and without."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from domain.orders import order
from domain.orders.contracts import CancelOrder, CardDeclined, ChargeCard, CreateOrder, OrderCreated
from domain.plots import exchange
from domain.plots.participants import plots, registrar
from domain.together import together
from es_saga import START, DefinitionError, Retry, Saga, Tcc
from es_saga.core.compiled import Definition
from es_saga.core.messages import part_of
from es_saga.database import make_engine
from es_saga.engine.manager import ProcessManager
from es_saga.participant import create_tables, runner
from es_saga.testing.contracts import FenceContract
from es_saga.testing.contracts.fence import Counter
from es_saga.testing.examples import example
from es_saga.testing.exploring import Bounds, explore
from es_saga.testing.faults import Fault, FaultPlan, Kind
from es_saga.testing.invariants import Books
from es_saga.testing.laws import LAWS, judge
from es_saga.testing.outcome import Outcome
from es_saga.testing.scenes import Scene, given
from es_saga.testing.simulation.managers import Make
from es_saga.testing.simulation.people import Begin
from es_saga.testing.world import World
from tests.core.sagas import Trip
from tests.mutants.planted import Found, Search
from tests.participant.countermeasures import PROMISES
from tests.participant.test_fence_contract import Warehouse
from tests.participant.theatre import HoldSeats, seats, theatre
from tests.participant.warehouse import fill, warehouse
from tests.testing import planted, test_two_phase

FAULTS: Final = 3
"""Most faults in one schedule, unless a search says otherwise."""

MOST_WORLDS: Final = 300

RATE: Final = 0.5
"""How many of all commands meet with trouble, as a share."""

HARSH: Final = 0.9

OUTAGE_SECONDS: Final = 0.5
"""How long a participant is dead."""

RELEASE_SECONDS: Final = 1.0
"""How long no manager is there while a new version is brought out."""

AFTER_IT: Final = 120.0
"""Seconds between two sagas: the first one is long over, and its deadline has passed."""


# ── all schedules ────────────────────────────────────────────────────────────────────────────────


def schedules(saga: Callable[[], Saga[Any]] = planted.right, faults: int = FAULTS) -> Search:
    """Every schedule of one saga; examples are situations.

    Judged by the law that is looked for alone; then what was found is judged by all of them.
    """

    def run(law: str | None) -> Found | None:
        laws = [one for one in LAWS if law in (None, one.number)]
        found = explore(saga(), bounds=Bounds(faults=faults), laws=laws)
        counterexample = found.counterexample
        if counterexample is None:
            return None
        broken = {found.law for found in judge(counterexample.story).violations}
        broken.add(counterexample.violation.law)  # from the definition, if no history shows it
        return Found(frozenset(broken), found.states, str(counterexample))

    how = f"schedules of {saga.__name__.replace('_', ' ')}"
    return Search(how if faults == FAULTS else f"{how} with {faults} faults", run)


def _no_way_back() -> Saga[planted.PlaceOrder]:
    """Its first step has no undo; that is refused, and so nothing can be found."""
    saga = Saga("no_way_back", planted.PlaceOrder)

    @saga.step
    def reserve(o: planted.PlaceOrder) -> planted.ReserveStock:
        return planted.ReserveStock(order_id=o.order_id, sku=o.sku)

    @saga.pivot
    def charge(o: planted.PlaceOrder) -> planted.ChargeCard:
        return planted.ChargeCard(order_id=o.order_id, pence=o.pence)

    return saga


def _definitions(law: str | None) -> Found | None:
    with suppress(DefinitionError):
        return schedules(_no_way_back).run(law)
    return None


# ── random worlds ────────────────────────────────────────────────────────────────────────────────


def worlds(rate: float = RATE, sagas: int = 2, saga: Saga[Any] = order) -> Search:
    """Orders in one random world after the other; what is found is made small."""

    def run(law: str | None) -> Found | None:
        for seed in range(MOST_WORLDS):
            world = World([saga], seed=seed, rate=rate, fence=vars(runner)["judge"])
            outcome = world.run(sagas)
            if law in _broken(outcome) if law else outcome.findings:
                small = world.smaller(outcome, law=law)
                return Found(_broken(small), seed + 1, str(small))
        return None

    of = "" if saga is order else f" of {saga.name}"
    return Search(f"worlds{of} with {rate:.0%} trouble", run)


def reservation() -> Tcc[Trip]:
    """Two holds that expire as soon as a confirm meets with trouble."""
    saga = Tcc("reservation", Trip)
    short = timedelta(seconds=1)

    @saga.hold(expires=3 * short, timeout=short, retry=Retry(attempts=2, first=short / 10))
    def stalls(trip: Trip) -> HoldSeats:
        return HoldSeats(seats=1)

    @saga.hold(
        expires=3 * short, timeout=short, retry=Retry(attempts=2, first=short / 10), after=START
    )
    def balcony(trip: Trip) -> HoldSeats:
        return HoldSeats(seats=2)

    return saga


def every_seat(books: Books) -> int:
    """Available, reserved and consumed."""
    columns = seats.c
    everything = columns.available + columns.reserved + columns.consumed
    found: int = books["theatre"].execute(sa.select(everything)).scalar_one()
    return found


def _reservations(law: str | None) -> Found | None:
    sagas, participants = [reservation()], [theatre()]
    for seed in range(MOST_WORLDS):
        world = World(sagas, participants=participants, constant=every_seat, seed=seed, rate=HARSH)
        outcome = world.run(2)
        if law in _broken(outcome) if law else outcome.findings:
            small = world.smaller(outcome, law=law)
            return Found(_broken(small), seed + 1, str(small))
    return None


reservations = Search("worlds of holds that soon expire", _reservations)


def _deaths_in_doubt(law: str | None) -> Found | None:
    """At each hold, confirm and cancel its participant dies, on a real PostgreSQL."""
    for number, work in enumerate(test_two_phase.WORK, 1):
        faults = [Fault(Kind.DIES_IN_DOUBT, f"checkout-1/{work}/1", OUTAGE_SECONDS)]
        if work.endswith("undo"):
            other = "funds" if work.startswith("seats") else "seats"
            faults.append(Fault(Kind.REFUSED, f"checkout-1/{other}/do/1"))
        world = test_two_phase.world(faults=FaultPlan(tuple(faults)), invariant=())
        outcome = world.run(test_two_phase.carts())
        if law in _broken(outcome) if law else outcome.findings:
            return Found(_broken(outcome), number, str(outcome))
    return None


deaths_in_doubt = Search("a death in doubt at every step", _deaths_in_doubt)


def _broken(outcome: Outcome) -> frozenset[str]:
    return frozenset(finding.law for finding in outcome.findings)


def _crossings(law: str | None) -> Found | None:
    """Two gardeners exchange the same plots, the other way round."""
    for seed in range(MOST_WORLDS):
        outcome = World([exchange], seed=seed, rate=0, participants=[plots, registrar]).run(
            [
                Begin("exchange-1", "exchange", {"one": "oak", "other": "ash"}),
                Begin("exchange-2", "exchange", {"one": "ash", "other": "oak"}),
            ]
        )
        if law in _broken(outcome) if law else outcome.findings:
            return Found(_broken(outcome), seed + 1, str(outcome))
    return None


def _promises(law: str | None) -> Found | None:
    """What each countermeasure promises, in every order."""
    for number, promise in PROMISES.items():
        if law in (None, number):
            try:
                promise()
            except AssertionError as broken:
                return Found(frozenset({number}), 1, f"{promise.__name__}: {broken}")
    return None


def _hurried() -> Saga[planted.PlaceOrder]:
    saga = planted.right()
    saga.deadline = timedelta(seconds=AFTER_IT / 10)
    return saga


def _going_on(_law: str | None) -> Found | None:
    """Nothing goes wrong, and the world is not over with the saga."""
    data = example(planted.PlaceOrder).model_dump(mode="json")
    begins = [Begin("right-1", "right", data), Begin("right-2", "right", data, after=AFTER_IT)]
    outcome = World([_hurried()], rate=0).run(begins)
    return Found(_broken(outcome), 1, str(outcome)) if outcome.findings else None


def _poison(_law: str | None) -> Found | None:
    """Of two orders that one loop leads, one is sent what nobody can read, at each step in turn."""
    data, others = example(order.data).model_dump(mode="json"), map("order-{}".format, count(2))
    other = next(one for one in others if part_of(one) == part_of("order-1"))
    begins = [Begin(saga_id, order.name, data) for saga_id in ("order-1", other)]
    for number, step in enumerate(order.definition.steps, 1):
        fault = Fault(Kind.POISON, f"order-1/{step}/do/1")
        outcome = World([order], faults=FaultPlan((fault,))).run(begins)
        if outcome.findings:
            return Found(_broken(outcome), number, str(outcome))
    return None


def _releases(_law: str | None) -> Found | None:
    """At each moment of a saga's life its manager dies, and the next one knows a newer version."""
    data = example(planted.PlaceOrder).model_dump(mode="json")
    for moment in count(1):
        death = Fault(Kind.DIES_AFTER_APPEND, f"right-1#{moment}", RELEASE_SECONDS)
        outcome = World(
            [planted.right(), planted.newer()],
            faults=FaultPlan((death,)),
            manager=_learning(),
        ).run([Begin("right-1", "right", data)])
        if outcome.findings:
            return Found(_broken(outcome), moment, str(outcome))
        if not outcome.happened:
            break  # it was closed before that
    return None


def _learning() -> Make:
    """Makes managers: the first one has the first definition only."""
    lives = count()

    def make(app: str, definitions: Sequence[Definition], **ports: Any) -> ProcessManager:
        return ProcessManager(app, definitions if next(lives) else definitions[:1], **ports)

    return make


# ── scenes and suites ────────────────────────────────────────────────────────────────────────────


def _refusal(_law: str | None) -> Found | None:
    """The card is declined, and the order is cancelled at once."""
    created = OrderCreated.model_validate(example(OrderCreated).model_dump())
    try:
        (
            given(order, example(order.data))
            .expect(CreateOrder)
            .reply(created)
            .expect(ChargeCard)
            .refuse(CardDeclined(card="visa"))
            .expect(CancelOrder)
            .reply()
            .compensated()
        )
    except AssertionError as error:
        return Found(frozenset(), 1, str(error))
    return None


def _either_order(_law: str | None) -> Found | None:
    """Two answers that commute, in both orders: they lead to the same (law L48)."""
    asked = given(planted.beside(), example(planted.PlaceOrder)).expect(
        planted.ReserveStock, planted.ChargeCard
    )
    no = planted.SoldOut(sku="sku")
    one = asked.on(planted.ReserveStock).refuse(no).on(planted.ChargeCard).reply()
    other = asked.on(planted.ChargeCard).reply().on(planted.ReserveStock).refuse(no)
    if _stands(one) == _stands(other):
        return None
    return Found(frozenset(["L48"]), 2, f"{one}\n\n{other}")


def _stands(scene: Scene) -> dict[str, object]:
    """How a saga and each of its steps stand."""
    steps = scene.state.steps.items()
    works = {name: (own.do.status, own.undo and own.undo.status) for name, own in steps}
    return {"": scene.state.status, **works}


@contextmanager
def _desk() -> Generator[Counter]:
    """The warehouse of the participant kit's own tests, on a fresh database."""
    with tempfile.TemporaryDirectory() as folder:
        engine: sa.Engine = make_engine(f"sqlite:///{Path(folder) / 'stock.db'}", pool_size=10)
        create_tables(warehouse(), engine)
        fill(engine)
        desk = Warehouse(engine)
        with asyncio.Runner() as loop:
            opened = loop.run(desk.__aenter__())
            try:
                yield Counter(loop, opened)
            finally:
                loop.run(desk.__aexit__(None, None, None))
                engine.dispose()


def _fences(_law: str | None) -> Found | None:
    """The suite that a participant has to pass; the laws are those that the failed test names.

    But for its random orders: they come upon whatever one of the others tells apart.
    """
    tests = [name for name in vars(FenceContract) if name.startswith("test_")]
    failed: dict[str, Exception] = {}
    for name in tests[1:]:
        try:
            with _desk() as counter:
                vars(FenceContract)[name](FenceContract(), counter)
        except Exception as error:  # whatever a participant lets through fails the test
            failed[name] = error
    if not failed:
        return None
    named = " ".join(vars(FenceContract)[name].__doc__ or "" for name in failed)
    told = "\n".join(f"{name}: {type(error).__name__} {error}" for name, error in failed.items())
    first = next(number for number, name in enumerate(tests) if name in failed)
    return Found(frozenset(re.findall(r"L\d\d", named)), first, told)


definitions: Final = Search("a definition that must be refused", _definitions)
worlds_that_go_on: Final = Search("a world that goes on", _going_on)
poison: Final = Search("poison at every step", _poison)
releases: Final = Search("a release at every moment", _releases)
scene_of_a_refusal: Final = Search("scene of a refusal", _refusal)
scenes_of_either_order: Final = Search("scenes of two answers in either order", _either_order)
suite_of_fences: Final = Search("suite of fences", _fences)
families: Final = worlds(saga=together)
crossings: Final = Search("worlds of exchanges that cross", _crossings)
promises: Final = Search("the promises of countermeasures", _promises)
