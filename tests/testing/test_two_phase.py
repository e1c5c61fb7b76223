"""Participants that prepare are played, on a real PostgreSQL; what a death leaves in doubt ends.

What they could do wrong is planted in `tests.mutants.planted_prepared`.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from domain.checkout import checkout
from domain.checkout import participants as reserving
from domain.checkout.contracts import FundsHeld, HoldFunds
from domain.checkout.participants import accounts, shows
from domain.checkout.two_phase import bank, box_office
from es_saga import Command, InvalidInput, Participant, SyncTx, Tx
from es_saga.core.state import SagaStatus, WorkStatus
from es_saga.participant import prepared
from es_saga.testing import Begin, Books, Fault, FaultPlan, Kind, Sagas, World, check_saga
from es_saga.testing import cast as casting
from es_saga.testing.exploring import Bounds
from es_saga.testing.faults import draw
from es_saga.testing.outcome import Outcome
from es_saga.testing.simulation import own_folder
from es_saga.testing.simulation.lending import opened
from es_saga.testing.simulation.own_folder import OwnFolder

pytestmark = pytest.mark.requirement("R086")

BOTH = [box_office, bank]
DEAD = "in doubt after a death, and settled"

WORK = ["seats/do", "funds/do", "confirm_seats/do", "confirm_funds/do", "seats/undo", "funds/undo"]
CART = {"cart_id": "7", "show": "Hamlet", "seats": 2, "card": "visa", "pence": 300}
ELSEWHERE = {"show": "Macbeth", "card": "amex"}


def every_seat(books: Books) -> int:
    found: int = books["box_office"].execute(shows.everything()).scalar_one()
    return found


def every_penny(books: Books) -> int:
    found: int = books["bank"].execute(accounts.everything()).scalar_one()
    return found


def who_has_paid_has_his_seats(books: Books, sagas: Sagas) -> None:
    """In the end, where nobody needs a human, and nothing was waived by one."""
    ends = {state.status for state in sagas.values()}
    works = {step.do.status for state in sagas.values() for step in state.steps.values()}
    if WorkStatus.SKIPPED in works or ends - {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}:
        return
    done = [one.origin.data for one in sagas.values() if one.status is SagaStatus.COMPLETED]
    for name, holdings, what in (("box_office", shows, "seats"), ("bank", accounts, "pence")):
        columns = holdings.table.c
        query = sa.select(sa.func.sum(columns.consumed), sa.func.sum(columns.reserved))
        consumed, reserved = books[name].execute(query).one()
        assert (consumed, reserved) == (sum(data[what] for data in done), 0), what


def world(**options: Any) -> World:
    asked: dict[str, Any] = {
        "constant": [every_seat, every_penny],
        "invariant": who_has_paid_has_his_seats,
        "residue": (),
    }
    return World([checkout], participants=BOTH, **(asked | options))


def carts(count: int = 1) -> list[Begin]:
    return [Begin(f"checkout-{n}", "checkout", CART) for n in range(1, count + 1)]


def played(*faults: Fault, count: int = 1) -> Outcome:
    """A world with these faults, that is as it should be."""
    outcome = world(faults=FaultPlan(faults)).run(carts(count))
    assert not outcome.findings, outcome
    assert outcome.finished
    return outcome


DEATHS = {
    Kind.DIES_ON_RECEIPT: "",
    Kind.DIES_IN_DOUBT: "",
    Kind.DIES_BEFORE_PUBLISH: "/r",
    Kind.DIES_AFTER_PUBLISH: "/r",
    Kind.DIES_BEFORE_ACK: "",
    Kind.DIES_AFTER_ACK: "",
}
"""Of a participant; and whether at the command or at its answer."""


def drawn(seeds: Iterable[int], **options: Any) -> Iterator[Outcome]:
    """Two carts and whatever goes wrong, half of the time; and a participant dies.

    Every fourth time both of them need the same rows.
    """
    one, other = carts(2)
    for seed in seeds:
        chance = random.Random(seed)
        kind, work = chance.choice([*DEATHS, *(3 * [Kind.DIES_IN_DOUBT])]), chance.choice(WORK)
        place = f"checkout-{chance.randint(1, 2)}/{work}/1{DEATHS[kind]}"
        death = Fault(kind, place, chance.choice([0.5, 5.0, 100.0]))
        plan = draw(seed, [(cart.saga_id, checkout.definition) for cart in (one, other)], rate=0.5)
        faults = plan.keeping([*plan.faults, death])
        both = [one, other._replace(data=CART | (ELSEWHERE if seed % 4 else {}))]
        yield world(**options).run(both, faults=faults)


# ── whatever goes wrong ──────────────────────────────────────────────────────────────────────────


@pytest.mark.law("L71", "L72", "L73", "L74", "L75")
def test_the_laws_hold_whatever_goes_wrong() -> None:
    laws: set[str] = set()
    fates: Counter[SagaStatus] = Counter()
    struck: Counter[Kind] = Counter()
    met: Counter[str] = Counter()
    for outcome in drawn(range(32)):
        assert not outcome.findings, outcome
        laws |= outcome.judgement.applied
        fates.update(state.status for state in outcome.states.values())
        struck += outcome.happened
        met += outcome.met
    assert laws >= {"L71", "L72", "L73", "L74", "L75"}
    assert fates[SagaStatus.COMPLETED] > 15
    assert fates[SagaStatus.COMPENSATED] > 15
    assert all(struck[kind] for kind in DEATHS)
    assert met[DEAD] >= 2
    assert met["undone before it came"] > 0


@pytest.mark.law("L72", "L73", "L75")
@pytest.mark.parametrize("end", [SagaStatus.COMPLETED, SagaStatus.COMPENSATED])
@pytest.mark.parametrize("kind", DEATHS)
def test_a_hold_ends_as_was_decided_wherever_its_participant_dies(
    kind: Kind, end: SagaStatus
) -> None:
    back = end is SagaStatus.COMPENSATED
    refusal = (Fault(Kind.REFUSED, "checkout-1/seats/do/1"),) if back else ()
    for work in ("funds/do", "funds/undo" if back else "confirm_funds/do"):
        death = Fault(kind, f"checkout-1/{work}/1{DEATHS[kind]}", 0.5)
        outcome = played(death, *refusal)
        assert outcome.happened[kind] == 1
        assert outcome.met[DEAD] == (kind is Kind.DIES_IN_DOUBT), outcome
        assert outcome.states["checkout-1"].status is end
        done = [f"{one.step} {one.direction.value}" for one in outcome.effects]
        assert done.count("funds do") == 1
        assert done.count("funds undo" if back else "confirm_funds do") == 1


def test_what_nobody_was_told_of_is_rolled_back_by_whoever_is_back_after_long() -> None:
    """Nobody sends the hold again: its saga has given it up, and its undo was lost for an hour."""
    lost = [Fault(Kind.LOST, f"checkout-1/funds/do/{n}") for n in range(2, 9)]
    lost += [Fault(Kind.LOST, f"checkout-1/funds/undo/{n}") for n in range(1, 20)]
    death = Fault(Kind.DIES_IN_DOUBT, "checkout-1/funds/do/1", 2 * prepared.ORPHAN_SECONDS)
    outcome = played(death, *lost)
    assert outcome.met[DEAD] == 1
    assert outcome.states["checkout-1"].status is SagaStatus.COMPENSATED


@pytest.mark.law("L74")
@pytest.mark.parametrize("dies", [False, True])
def test_what_expires_is_rolled_back_and_a_late_confirm_is_refused(dies: bool) -> None:
    """It may die once the row says that it expired: it is rolled back by whoever comes after."""
    lost = [Fault(Kind.LOST, f"checkout-1/confirm_funds/do/{n}") for n in range(1, 40)]
    death = Fault(Kind.DIES_IN_DOUBT, "checkout-1/funds/undo/expired", 5.0)
    outcome = played(*lost, *([death] if dies else []))
    assert outcome.happened[Kind.DIES_IN_DOUBT] == outcome.met[DEAD] == dies
    assert outcome.states["checkout-1"].status is SagaStatus.STUCK
    kept = {one.participant: one.status for one in outcome.reservations}
    assert kept == {"box_office": "confirmed", "bank": "expired"}


def test_who_needs_what_is_in_doubt_gets_it_once_it_is_settled() -> None:
    outcome = played(count=3)
    assert {state.status for state in outcome.states.values()} == {SagaStatus.COMPLETED}
    done = [(one.saga_id, one.step) for one in outcome.effects if "funds" in one.step]
    assert [step for _, step in done] == ["funds", "confirm_funds"] * 3
    assert [saga for saga, _ in done[::2]] == [saga for saga, _ in done[1::2]]


def test_who_dies_while_a_handler_awaits_something_prepares_nothing() -> None:
    """The first answer is about to be sent when the second hold is in the middle of its work."""
    runs: list[str] = []
    slow = Participant("bank", tables=accounts.tables)

    @slow.prepares(HoldFunds)
    async def take_money(cmd: HoldFunds, tx: Tx) -> FundsHeld:
        runs.append(cmd.card)
        spent = "UPDATE accounts SET available = available - 1, consumed = consumed + 1"
        await tx.execute(f"{spent} WHERE thing = :card", {"card": cmd.card})
        await asyncio.sleep(1.0)
        return FundsHeld(pence=cmd.pence)

    death = Fault(Kind.DIES_BEFORE_PUBLISH, "checkout-1/funds/do/1/r", 0.0)
    plan = FaultPlan((death,))
    one, other = carts(2)
    begins = [one, other._replace(data=CART | ELSEWHERE, after=0.5)]
    outcome = World([checkout], participants=[slow], faults=plan, constant=every_penny).run(begins)
    assert not outcome.findings, outcome
    assert runs == ["visa", "amex", "amex"], "the second one again, and the first from memory"
    assert {state.status for state in outcome.states.values()} == {SagaStatus.COMPLETED}
    assert DEAD not in outcome.met


def test_participants_of_both_kinds_play_together() -> None:
    """The seats are reserved in memory, the money is prepared."""
    cast = [reserving.box_office, bank]
    fates: Counter[SagaStatus] = Counter()
    for seed in range(8):
        outcome = World(
            [checkout],
            participants=cast,
            constant=[every_seat, every_penny],
            residue=(),
            seed=seed,
            rate=0.5,
        ).run(2)
        assert not outcome.findings, outcome
        fates.update(state.status for state in outcome.states.values())
    assert fates.keys() >= {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}


def test_the_same_seed_is_the_same_course() -> None:
    seeds = range(8)
    first, again = ([outcome.digest for outcome in drawn(seeds)] for _ in range(2))
    assert first == again
    assert len(set(first)) == len(seeds)


# ── databases ────────────────────────────────────────────────────────────────────────────────────


class Number(Command[None]):
    to = "counter"


tables = sa.MetaData()
numbers = sa.Table(
    "numbers",
    tables,
    sa.Column("n", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("twice", sa.BigInteger, sa.Computed("n * 2")),
    sa.Column("what", sa.Text),
)


@event.listens_for(numbers, "after_create")
def _fill(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
    connection.execute(sa.insert(numbers), [{"what": "one"}, {"what": "two"}])


def test_every_world_begins_with_a_database_as_new() -> None:
    counter = Participant("counter", tables=tables)

    @counter.prepares(Number)
    def take(cmd: Number, tx: SyncTx) -> None: ...

    for _ in range(3):
        with opened([counter]) as databases:
            database = databases["counter"]
            first = [("1", "2", "one"), ("2", "4", "two")]
            assert database.rows() == database.first_rows == {"numbers": first}
            with database.engine.begin() as connection:
                made = sa.insert(numbers).values(what="three").returning(numbers.c.n)
                assert connection.execute(made).scalar_one() == 3
                connection.execute(sa.delete(numbers).where(numbers.c.n == 1))


def test_a_world_that_ends_in_the_middle_leaves_nothing_prepared() -> None:
    def nothing_is_done(books: Books, sagas: Sagas) -> None:
        assert books["bank"].scalar(sa.text("SELECT count(*) FROM es_holds")) == 0

    stopped = World([checkout], rate=0, participants=BOTH, always=nothing_is_done).run(2)
    assert [one.law for one in stopped.findings] == ["invariant"]
    assert not stopped.finished
    with opened([bank]) as databases:
        everywhere = sa.text("SELECT count(*) FROM pg_prepared_xacts")
        assert databases["bank"].connection.scalar(everywhere) == 0
    played()


_PROGRAM = """
import threading
from es_saga.testing.simulation.postgres_server import server
from tests.testing.test_two_phase import played
first = threading.Thread(target=played)
first.start()
first.join()
played()
print(server().folder)
"""


def test_the_server_is_there_for_all_threads_and_ends_with_the_process() -> None:
    root = Path(__file__).parents[2]
    program = [sys.executable, "-W", "error", "-c", _PROGRAM]
    ended = subprocess.run(
        program, cwd=root, capture_output=True, text=True, timeout=100, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    folder = Path(ended.stdout.strip())
    assert folder.name.startswith("es-saga-worlds-")
    assert not folder.exists()


_KILLED = """
import os, signal, sys
from es_saga.testing.simulation.own_folder import OwnFolder
folder = OwnFolder("es-saga-worlds-").path
(folder / "data").touch()
print(folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_folder_of_a_killed_process_goes_with_the_next_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = [sys.executable, "-c", _KILLED]
    killed = subprocess.run(program, capture_output=True, text=True, timeout=100, check=False)
    left = Path(killed.stdout.strip())
    alive = OwnFolder("es-saga-worlds-")
    others = [tmp_path / "es-saga-worlds-theirs", tmp_path / "es-saga-worlds-.owner.d"]
    for other in others:
        other.mkdir()
    assert (left / "data").exists(), "it may be one that is being made"

    monkeypatch.setattr(own_folder, "YOUNG_SECONDS", -1.0)
    mine = OwnFolder("es-saga-worlds-")

    assert {path for path in tmp_path.iterdir() if path.is_dir()} == {
        mine.path,
        alive.path,
        *others,
    }
    mine.remove()
    alive.remove()
    assert sorted(tmp_path.iterdir()) == sorted(others)


# ── without PostgreSQL ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(casting, "is_installed", lambda: False)


@pytest.mark.usefixtures("without")
def test_without_postgres_a_world_says_what_to_do() -> None:
    with pytest.raises(InvalidInput, match=r"that is not installed\. Install es-saga\[postgres\]"):
        world()


@pytest.mark.usefixtures("without")
def test_without_postgres_a_check_has_models_answer_and_says_so() -> None:
    seen = check_saga(checkout, participants=BOTH, examples=10, bounds=Bounds(faults=0))
    assert (seen.played, seen.unplayed) == ((), ("box_office", "bank"))
    assert "box_office, bank: transactions are prepared, which takes PostgreSQL" in str(seen)


@pytest.mark.usefixtures("without")
def test_without_postgres_nobody_is_asked_whether_data_are_right() -> None:
    with pytest.raises(InvalidInput, match="that is not installed"):
        check_saga(checkout, participants=BOTH, constant=every_penny, examples=10)
