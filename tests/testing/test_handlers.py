"""Participants are played by their own handlers: the kit, its fence and its transactions."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_saga import InvalidInput, Participant, Saga, SyncTx, Tx
from es_saga.core.events import StepFailed, StepRefused
from es_saga.core.state import SagaStatus
from es_saga.participant import runner
from es_saga.participant.fence import Record, es_fence, remember
from es_saga.testing import Begin, Books, Fault, FaultPlan, Kind, Sagas, World
from es_saga.testing.outcome import Outcome
from es_saga.testing.simulation.journal import What
from es_saga.testing.simulation.loop import EPOCH
from tests.testing import faulty, stall
from tests.testing.swapped import Basket, Charge, Charged, Refund, Reserve, Reserved, right

ROOT = Path(__file__).parents[2]

BOTH = [stall.STOCK, stall.PAYMENTS]
INVARIANTS = [stall.nothing_is_lost, stall.money_is_spent_on_goods]


def begins(count: int, *, apart: float = 0.0) -> Sequence[Begin]:
    return [
        Begin(f"right-{n}", "right", {"order_id": str(n)}, apart * (n - 1))
        for n in range(1, count + 1)
    ]


def played(*faults: Fault, count: int = 1, cast: Sequence[Participant] = BOTH) -> Outcome:
    """A world with these faults, that is as it should be."""
    world = World(
        [right],
        faults=FaultPlan(faults),
        participants=cast,
        invariant=INVARIANTS,
        residue=["ledger"],
    )
    outcome = world.run(begins(count))
    assert not outcome.findings, outcome
    assert outcome.finished
    return outcome


def done(outcome: Outcome) -> list[str]:
    return [f"{effect.step} {effect.direction.value}" for effect in outcome.effects]


# ── the kit is at work ───────────────────────────────────────────────────────────────────────────


def test_handlers_answer_on_databases_of_their_own_and_others_are_models() -> None:
    seen: dict[str, object] = {}

    def look(books: Books, sagas: Sagas) -> None:
        seen["services"] = sorted(books)
        its_clock = es_fence.c.at.between(EPOCH, EPOCH + 1)
        remembered = sa.select(es_fence.c.command_id, es_fence.c.reply, its_clock)
        seen["fence"] = books["stock"].execute(remembered).all()
        seen["sagas"] = {name: state.status for name, state in sagas.items()}

    outcome = World([right], rate=0, participants=BOTH, invariant=look).run(begins(1))
    assert done(outcome) == ["reserve do", "charge do", "ship do"]
    assert seen["services"] == ["payments", "stock"], "carrier is a model"
    assert seen["sagas"] == {"right-1": SagaStatus.COMPLETED}
    assert seen["fence"] == [("right-1/reserve/do", b'{"reservation":"for 1"}', True)]


def test_every_world_begins_with_a_database_as_new() -> None:
    """Ten pieces: the third world of four orders would find too few."""
    for _ in range(3):
        outcome = World([right], rate=0, participants=BOTH, invariant=INVARIANTS).run(begins(4))
        assert not outcome.findings, outcome
        assert Counter(s.status for s in outcome.states.values()) == {SagaStatus.COMPLETED: 4}


def test_a_handler_may_refuse_by_itself() -> None:
    outcome = World([right], rate=0, participants=BOTH, invariant=INVARIANTS).run(begins(12))
    fates = Counter(state.status for state in outcome.states.values())
    assert fates == {SagaStatus.COMPLETED: stall.PIECES, SagaStatus.COMPENSATED: 2}
    assert not outcome.findings, outcome


def test_commands_that_arrive_together_share_a_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    def counted(connection: sa.Connection, records: Sequence[Record]) -> None:
        sizes.append(len(records))
        remember(connection, records)

    monkeypatch.setattr(runner, "remember", counted)
    World([right], rate=0, participants=BOTH).run(begins(4))
    assert 4 in sizes


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R028", "R030", "R031")
@pytest.mark.parametrize("undone", [False, True])
@pytest.mark.parametrize(
    "kind",
    [
        *(Kind.DIES_ON_RECEIPT, Kind.DIES_BEFORE_PUBLISH, Kind.DIES_AFTER_PUBLISH),
        *(Kind.DIES_BEFORE_ACK, Kind.DIES_AFTER_ACK),
        *(Kind.LOST, Kind.DOUBLED, Kind.DELAYED, Kind.FAILED),
        *(Kind.GARBLED, Kind.WRONG_ATTEMPT, Kind.WRONG_SAGA, Kind.POISON),
    ],
)
def test_at_every_boundary_each_handler_has_its_effect_once(kind: Kind, undone: bool) -> None:
    """Laws L23, L24, L25: real fence, real transactions."""
    refusal = (Fault(Kind.REFUSED, "right-1/ship/do/1"),) if undone else ()
    directions = ("do", "undo") if undone else ("do",)
    struck = 0
    for step in ("reserve", "charge"):
        for direction in directions:
            for answer in ("", "/r"):
                fault = Fault(kind, f"right-1/{step}/{direction}/1{answer}", 5.0)
                outcome = played(fault, *refusal)
                struck += outcome.happened[kind]
                back = ["charge undo", "reserve undo"]
                wanted = ["reserve do", "charge do", *(back if undone else ["ship do"])]
                assert done(outcome) == wanted
    handled = kind in (Kind.FAILED, Kind.GARBLED, Kind.WRONG_ATTEMPT, Kind.WRONG_SAGA, Kind.POISON)
    places = 1 if handled or kind is Kind.DIES_ON_RECEIPT else 2
    assert struck == 2 * len(directions) * places


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [(Kind.WRONG_ATTEMPT, "/forged"), (Kind.WRONG_SAGA, "/astray"), (Kind.POISON, "/poison")],
)
def test_beside_the_answer_comes_one_that_is_none(kind: Kind, suffix: str) -> None:
    outcome = played(Fault(kind, "right-1/charge/do/1"))
    sent = [note.about.id for note in outcome.notes if note.what is What.SENT]
    strangers = [message for message in sent if message.endswith(suffix)]
    assert len(strangers) == 1
    assert sent.index(strangers[0]) == sent.index("right-1/charge/do/1/r") - 1


def test_who_dies_before_the_effect_has_run_the_handler_and_written_nothing() -> None:
    runs: list[str] = []

    def hold(cmd: Reserve, tx: SyncTx) -> Reserved | stall.SoldOut:
        runs.append(cmd.order_id)
        return stall.hold(cmd, tx)

    cast = [stall.stock(hold=hold), stall.PAYMENTS]
    outcome = played(Fault(Kind.DIES_ON_RECEIPT, "right-1/reserve/do/1", 0.5), cast=cast)
    assert runs == ["1", "1"]
    assert done(outcome) == ["reserve do", "charge do", "ship do"]


def test_a_planned_refusal_is_one_that_the_handler_declares_and_it_is_not_run() -> None:
    runs: list[str] = []

    def hold(cmd: Reserve, tx: SyncTx) -> Reserved | stall.SoldOut:
        runs.append(cmd.order_id)
        return stall.hold(cmd, tx)

    cast = [stall.stock(hold=hold), stall.PAYMENTS]
    outcome = played(Fault(Kind.REFUSED, "right-1/reserve/do/1"), cast=cast)
    assert runs == []
    refused = outcome.log.history("right-1")[2]
    assert isinstance(refused, StepRefused)
    assert (refused.step, refused.refusal_type) == ("reserve", "SoldOut")
    assert outcome.states["right-1"].status is SagaStatus.COMPENSATED


def test_a_planned_failure_is_one_of_its_attempt_and_the_next_one_is_run() -> None:
    runs: list[int] = []

    def hold(cmd: Reserve, tx: SyncTx) -> Reserved | stall.SoldOut:
        runs.append(tx.command.attempt)
        return stall.hold(cmd, tx)

    cast = [stall.stock(hold=hold), stall.PAYMENTS]
    outcome = played(Fault(Kind.FAILED, "right-1/reserve/do/1"), cast=cast)
    assert runs == [2]
    failed = outcome.log.history("right-1")[2]
    assert isinstance(failed, StepFailed)
    assert failed.error == "Unavailable"


def test_what_a_handler_does_elsewhere_counts_as_done() -> None:
    """It writes nothing here, and neither does its undo: no law is broken."""

    def hold(cmd: Reserve, tx: SyncTx) -> Reserved | stall.SoldOut:
        return Reserved(reservation="elsewhere")

    undone = FaultPlan((Fault(Kind.REFUSED, "right-1/ship/do/1"),))
    cast = [stall.stock(hold=hold, free=stall.free_nothing)]
    for plan in (FaultPlan(), undone):
        outcome = World([right], faults=plan, participants=cast).run(begins(1))
        assert not outcome.findings, outcome
        assert done(outcome)[0] == "reserve do"


def test_who_declares_no_refusal_is_never_refused_by_plan() -> None:
    outcome = played(Fault(Kind.REFUSED, "right-1/charge/do/1"))
    assert not outcome.happened
    assert outcome.states["right-1"].status is SagaStatus.COMPLETED


def test_who_does_not_say_what_it_answers_may_be_refused() -> None:
    async def take(cmd: Charge, tx: Tx):  # type: ignore[no-untyped-def]  # that is the point
        return await stall.take(cmd, tx)

    payments = Participant("payments", tables=stall.PAYMENTS.tables)
    payments.register(Charge, take)
    payments.register(Refund, stall.give_back)
    world = World(
        [right],
        faults=FaultPlan((Fault(Kind.REFUSED, "right-1/charge/do/1"),)),
        participants=[payments],
    )
    outcome = world.run(begins(1))
    assert outcome.happened[Kind.REFUSED] == 1
    assert outcome.states["right-1"].status is SagaStatus.COMPENSATED


def test_what_is_scarce_is_refused_by_the_service_though_there_would_be_some() -> None:
    plan = FaultPlan(scarce=(("Reserve", 2),))
    world = World([right], faults=plan, participants=BOTH, invariant=INVARIANTS)
    outcome = world.run(begins(3))
    assert not outcome.findings, outcome
    assert outcome.met["refused for want"] == 1
    fates = Counter(state.status for state in outcome.states.values())
    assert fates == {SagaStatus.COMPLETED: 2, SagaStatus.COMPENSATED: 1}


def test_who_dies_while_a_handler_awaits_something_takes_back_what_it_wrote() -> None:
    """The first answer is about to be sent when the second charge is in the middle of its work."""
    runs: list[str] = []

    async def take(cmd: Charge, tx: Tx) -> Charged:
        runs.append(cmd.order_id)
        return await stall.take_slowly(cmd, tx)

    fault = Fault(Kind.DIES_BEFORE_PUBLISH, "right-1/charge/do/1/r", 0.0)
    world = World(
        [right],
        faults=FaultPlan((fault,)),
        participants=[stall.STOCK, stall.payments(take=take)],
        invariant=INVARIANTS,
    )
    outcome = world.run(begins(2, apart=0.5))
    assert not outcome.findings, outcome
    assert runs == ["1", "2", "2"], "the second one again, and the first from memory"
    assert Counter(done(outcome)) == {"reserve do": 2, "charge do": 2, "ship do": 2}


def test_a_handler_that_ends_its_process_ends_a_simulated_one() -> None:
    stall.ENDED.clear()
    cast = [stall.stock(hold=stall.hold_at_the_end_of_the_world), stall.PAYMENTS]
    outcome = played(cast=cast)
    assert "dies" in [note.about for note in outcome.notes if note.who == "stock"]
    assert done(outcome) == ["reserve do", "charge do", "ship do"]


def test_an_operator_finds_at_the_participant_what_was_done_there() -> None:
    """The answer never came: resolved as done, with the answer that the fence remembers."""
    saga = Saga("settled", Basket)
    saga.pivot(_charge)
    lost = [Fault(Kind.LOST, f"settled-1/_charge/do/{n}/r") for n in range(1, 9)]
    faults = FaultPlan((*lost, Fault(Kind.RESOLVED, "settled-1#stuck", 1.0)))
    world = World([saga], faults=faults, participants=[stall.PAYMENTS])
    outcome = world.run([Begin("settled-1", "settled", {"order_id": "1"})])
    assert not outcome.findings, outcome
    state = outcome.states["settled-1"]
    assert outcome.happened[Kind.RESOLVED] == 1
    assert state.status is SagaStatus.COMPLETED
    assert state.steps["_charge"].do.reply == {"charge": "of 1"}


def test_what_an_operator_finds_not_done_is_never_done() -> None:
    saga = Saga("settled", Basket)
    saga.pivot(_charge)
    lost = [Fault(Kind.LOST, f"settled-1/_charge/do/{n}") for n in range(1, 9)]
    late = Fault(Kind.DELAYED, "settled-1/_charge/do/1", 5_000.0)
    faults = FaultPlan((late, *lost[1:], Fault(Kind.RESOLVED, "settled-1#stuck", 1.0)))
    world = World([saga], faults=faults, participants=[stall.PAYMENTS])
    outcome = world.run([Begin("settled-1", "settled", {"order_id": "1"})])
    assert not outcome.findings, outcome
    assert outcome.states["settled-1"].status is SagaStatus.COMPENSATED
    assert done(outcome) == []
    assert outcome.met["came after its undo"] == 1


def _charge(b: Basket) -> Charge:
    return Charge(order_id=b.order_id)


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_the_laws_hold_for_handlers_whatever_goes_wrong(rate: float) -> None:
    happened: Counter[Kind] = Counter()
    met: Counter[str] = Counter()
    for seed in range(60):
        world = World(
            [right],
            seed=seed,
            rate=rate,
            participants=[stall.STOCK, stall.payments(take=stall.take_slowly)],
            invariant=stall.nothing_is_lost,
            always=stall.nothing_is_lost,
        )
        outcome = world.run(begins(3))
        assert not outcome.findings, f"seed {seed}\n{outcome}"
        happened += outcome.happened
        met += outcome.met
    assert len(happened) >= 20
    assert met["repeated"] > 10


# ── the same every time ──────────────────────────────────────────────────────────────────────────

_DIGESTS = """
from es_saga.testing import Begin, World
from tests.testing import stall
from tests.testing.swapped import right
cast = [stall.stock(hold=stall.hold_by_chance), stall.PAYMENTS]
for seed in (3, 3, 4):
    begins = [Begin(f"right-{n}", "right", {"order_id": str(n)}) for n in range(8)]
    outcome = World([right], seed=seed, rate=0.5, participants=cast).run(begins)
    print(outcome.digest)
"""


def test_the_same_seed_gives_the_same_run_though_handlers_draw_by_chance() -> None:
    """`uuid4`, `random`, `secrets`, `os.urandom`: in another process, and after other worlds."""
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
    first, again, other = told[0]
    assert first == again != other


def test_chance_is_chance_again_after_a_world() -> None:
    before, urandom, leave = random.getstate(), os.urandom, os._exit
    World([right], participants=BOTH).run(begins(1))
    assert (random.getstate(), os.urandom, os._exit) == (before, urandom, leave)
    assert os.urandom(8) != os.urandom(8)


def test_the_network_is_there_again_after_a_world() -> None:
    World([right], participants=BOTH).run(begins(1))
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


# ── what cannot be played ────────────────────────────────────────────────────────────────────────


def test_a_participant_that_serves_less_than_is_asked_of_it_is_refused() -> None:
    lazy = Participant("stock")
    lazy.handles(Reserve)(stall.hold)
    with pytest.raises(InvalidInput, match="'stock' has no handler for Release"):
        World([right], participants=[lazy])


def test_two_participants_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidInput, match="same name"):
        World([right], participants=[stall.STOCK, stall.stock()])


# ── the kit is under test ────────────────────────────────────────────────────────────────────────


def test_a_kit_that_forgets_an_undo_that_came_first_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Law L22, by the participant kit's own code."""
    monkeypatch.setattr(runner, "judge", faulty.hanging_fence)
    found = World([right], rate=0.5, participants=BOTH).search(range(400), 2, law="L22")
    assert found is not None
    assert len(found.plan.faults) <= 3
    assert "took effect after it had been undone" in str(found)


def test_a_kit_that_commits_no_record_with_the_effect_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Law L25: what was not remembered is done again."""
    monkeypatch.setattr(runner, "remember", _forget)
    world = World([right], rate=0.5, participants=BOTH, invariant=stall.nothing_is_lost)
    found = world.search(range(100), 1, law="L23")
    assert found is not None
    assert "took effect 2 times" in str(found)
    assert len(found.plan.faults) == 1


def _forget(connection: sa.Connection, records: Sequence[Record]) -> None: ...
