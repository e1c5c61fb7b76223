"""Bugs of handlers are found, made small, and told in words: whose fault it is, and where."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import strategies as st

from es_saga import Command, Participant, Saga, SyncTx, Unavailable
from es_saga.participant.work import Work
from es_saga.testing import Bounds, LawBroken, World, check_saga
from es_saga.testing.outcome import Outcome
from tests.testing import stall
from tests.testing.swapped import Basket, Charged, Refund, Release, Reserve, Reserved, right

ROOT = Path(__file__).parents[2]

NO_FAULTS = Bounds(faults=0)
"""Explores the good course only: handlers are played in the simulated world."""

INVARIANTS = (stall.nothing_is_lost, stall.money_is_spent_on_goods)

BASKETS = st.builds(Basket, order_id=st.sampled_from(["a", "b", "c"]))


def found(*cast: Participant, saga: Saga[Basket] = right) -> Outcome:
    """What a check finds: one saga, and few faults."""
    with pytest.raises(LawBroken) as broken:
        check_saga(saga, participants=cast, data=BASKETS, invariant=INVARIANTS, bounds=NO_FAULTS)
    outcome = broken.value.finding
    assert isinstance(outcome, Outcome)
    assert len(outcome.begins) == 1, outcome
    assert len(outcome.plan.faults) + len(outcome.plan.scarce) <= 3, outcome
    assert str(broken.value) == str(outcome)
    return outcome


def first_line(outcome: Outcome) -> str:
    return str(outcome).splitlines()[0]


# ── what is wrong with the data ──────────────────────────────────────────────────────────────────


def test_an_undo_that_gives_back_one_too_many_is_found_and_told() -> None:
    outcome = found(stall.stock(free=stall.free_two), stall.PAYMENTS)
    (saga,) = outcome.states
    told = str(outcome)
    assert first_line(outcome) == "invariant (): nothing_is_lost: of 10 pieces there are 11"
    for line in (f"{saga}/reserve/undo/1: Release", f"DID {saga}/reserve/undo"):
        assert line in told
    assert told.splitlines()[-1].endswith("nothing_is_lost: of 10 pieces there are 11")


def test_an_undo_that_does_nothing_breaks_the_laws_of_effects() -> None:
    outcome = found(stall.stock(free=stall.free_nothing), stall.PAYMENTS)
    assert {"L01", "L20"} <= {finding.law for finding in outcome.findings}
    assert "the net effect of reserve is 1, not 0" in str(outcome)


# ── what a participant must not do ───────────────────────────────────────────────────────────────


def test_what_is_raised_at_an_undo_is_told_with_its_line() -> None:
    outcome = found(stall.stock(free=stall.free_late), stall.PAYMENTS)
    (saga,) = outcome.states
    told = f"participant ({saga}): stock, asked to Release: LookupError: there is no such hold ("
    assert first_line(outcome).startswith(f"{told}stall.py, line ")
    assert {finding.law for finding in outcome.findings} == {"participant"}


@pytest.mark.parametrize(
    ("cast", "told"),
    [
        (
            [stall.stock(hold=stall.hold_and_commit), stall.PAYMENTS],
            "stock, asked to Reserve: TransactionMisuse: A handler tried to end the transaction.",
        ),
        (
            [stall.stock(hold=stall.hold_behind_the_back), stall.PAYMENTS],
            "stock, asked to Reserve: its handler ended the transaction",
        ),
        (
            [stall.STOCK, stall.payments(take=stall.take_twice)],
            "payments, asked to Charge: its database was out of reach: database table is locked",
        ),
        (
            [stall.stock(hold=stall.hold_under_another_name), stall.PAYMENTS],
            "stock, asked to Reserve: BadReply: The handler of Reserve returned Charged, not",
        ),
        (
            [stall.STOCK, stall.payments(take=stall.take_in_a_thread)],
            "payments, asked to Charge: RuntimeError: There are no threads in a simulated world. (",
        ),
        (
            [stall.STOCK, stall.payments(take=stall.take_elsewhere)],
            "payments, asked to Charge: ConnectionError: There is no network in a simulated world.",
        ),
    ],
    ids=["commits", "commits the driver", "second transaction", "wrong reply", "thread", "network"],
)
def test_a_participants_fault_is_told_as_its_own(cast: Sequence[Participant], told: str) -> None:
    outcome = found(*cast)
    (saga,) = outcome.states
    assert first_line(outcome).startswith(f"participant ({saga}): {told}")
    assert not outcome.plan.faults, "it takes no fault at all"
    assert "Faults that struck:\n  none\n" in str(outcome)


def test_a_participant_that_knows_another_message_by_that_name_is_told() -> None:
    other = type(
        "Charge", (Command[Charged],), {"to": "payments", "__annotations__": {"card": str}}
    )
    payments = Participant("payments")
    payments.register(other, stall.take)
    payments.register(Refund, stall.give_back)
    outcome = found(stall.STOCK, payments)
    assert "payments, asked to Charge: The payload is no Charge: card: Field" in str(outcome)


@pytest.mark.parametrize("lists", [False, True])
def test_a_check_whose_handler_writes_is_told(lists: bool) -> None:
    looking = Saga("looking", Basket)
    if lists:
        looking.check(each=_one, most=1)(_look_at)
    else:
        looking.check(_look)
    outcome = found(stall.STOCK, stall.PAYMENTS, saga=looking)
    assert first_line(outcome).endswith("it is a check, and its handler wrote something")


def _look(b: Basket) -> Reserve:
    return Reserve(order_id=b.order_id)


def _one(b: Basket) -> list[str]:
    return [b.order_id]


def _look_at(b: Basket, order_id: str) -> Reserve:
    return Reserve(order_id=order_id)


def test_a_handler_that_never_succeeds_is_told_though_it_may_ask_to_wait() -> None:
    def free(cmd: Release, tx: SyncTx) -> None:
        raise Unavailable("Not now.", retry_after=1.0)

    cast = [stall.stock(free=free), stall.PAYMENTS]
    outcome = World([right], rate=0.3, participants=cast).search(range(50), law="participant")
    assert outcome is not None
    assert first_line(outcome).endswith("fails again and again: Unavailable: Not now.")


def test_a_handler_may_ask_to_wait() -> None:
    def hold(cmd: Reserve, tx: SyncTx) -> Reserved | stall.SoldOut:
        if tx.command.attempt < 3:
            raise Unavailable("Not now.", retry_after=1.0)
        return stall.hold(cmd, tx)

    cast = [stall.stock(hold=hold), stall.PAYMENTS]
    checked = check_saga(right, participants=cast, data=BASKETS, examples=40, invariant=INVARIANTS)
    assert checked.schedules == 40


# ── what the kit makes good ──────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R034")
def test_who_refuses_after_it_wrote_has_written_nothing() -> None:
    cast = [stall.stock(hold=stall.hold_then_refuse), stall.PAYMENTS]
    checked = check_saga(right, participants=cast, examples=60, invariant=INVARIANTS)
    assert checked.schedules == 60
    assert checked.hint.startswith("No saga completed.")


def test_a_kit_that_keeps_what_was_written_before_a_refusal_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Work, "has_written", _never)
    outcome = found(stall.stock(hold=stall.hold_then_refuse), stall.PAYMENTS)
    laws = {finding.law for finding in outcome.findings}
    assert {"L01", "L25", "invariant"} <= laws, outcome


def _never(_: Work) -> bool:
    return False


# ── handed over ──────────────────────────────────────────────────────────────────────────────────

WRONG = stall.stock(free=stall.free_two)
PAYMENTS = stall.PAYMENTS


def test_the_script_of_a_finding_has_participants_and_invariants_and_runs_by_itself(
    tmp_path: Path,
) -> None:
    world = World(
        [right],
        participants=[WRONG, PAYMENTS],
        invariant=stall.nothing_is_lost,
        always=stall.nothing_is_lost,
        residue=["ledger"],
    )
    outcome = world.search(range(50))
    assert outcome is not None
    text = outcome.script()
    for line in (
        "from tests.testing.test_wrong_handlers import WRONG",
        "participants = [WRONG, PAYMENTS]",
        "from tests.testing.stall import nothing_is_lost",
        "participants=participants, invariant=[nothing_is_lost], always=[nothing_is_lost]",
        "residue=['ledger']",
    ):
        assert line in text
    file = tmp_path / "finding.py"
    file.write_text(text)
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
