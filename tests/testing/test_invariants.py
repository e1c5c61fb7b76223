"""What must be true of the participants' data: in the end, at all times, and as if nothing was."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import strategies as st

from es_saga import InvalidInput, SyncTx
from es_saga.core.state import SagaStatus
from es_saga.testing import (
    Begin,
    Books,
    Bounds,
    Fault,
    FaultPlan,
    Kind,
    LawBroken,
    Sagas,
    World,
    check_saga,
)
from es_saga.testing.outcome import Outcome
from es_saga.testing.shrinking import simplify
from tests.testing import stall
from tests.testing.swapped import Basket, Release, right

BOTH = [stall.STOCK, stall.PAYMENTS]

UNDONE = FaultPlan((Fault(Kind.REFUSED, "right-1/ship/do/1"),))

BEGIN = Begin("right-1", "right", {"order_id": "1"})

HELD = sa.text("SELECT count(*) FROM held")


def told(outcome: Outcome) -> list[str]:
    return [str(finding) for finding in outcome.findings]


# ── asked ────────────────────────────────────────────────────────────────────────────────────────


def test_an_invariant_is_asked_once_when_all_is_settled_and_one_for_always_after_each_commit() -> (
    None
):
    ends: list[int] = []
    always: list[int] = []

    def in_the_end(books: Books, sagas: Sagas) -> None:
        assert [state.status for state in sagas.values()] == [SagaStatus.COMPENSATED]
        ends.append(books["stock"].scalar(HELD) or 0)

    def at_all_times(books: Books, sagas: Sagas) -> None:
        always.append(books["stock"].scalar(HELD) or 0)

    world = World(
        [right], faults=UNDONE, participants=BOTH, invariant=in_the_end, always=at_all_times
    )
    outcome = world.run([BEGIN])
    assert not outcome.findings, outcome
    assert ends == [0]
    assert always == [1, 1, 1, 0, 0], "reserve, charge, refund, release, and in the end"


def nobody_holds(books: Books, sagas: Sagas) -> None:
    assert not books["stock"].scalar(HELD), "somebody holds something"


def test_what_must_always_hold_ends_the_world_where_it_broke() -> None:
    world = World([right], faults=UNDONE, participants=BOTH, always=nobody_holds)
    outcome = world.run([BEGIN])
    assert told(outcome) == ["invariant (): nobody_holds: somebody holds something"]
    assert [effect.step for effect in outcome.effects][:1] == ["reserve"]
    assert outcome.states["right-1"].status is SagaStatus.RUNNING
    assert "somebody holds something" in outcome.timeline()


def test_in_the_end_nobody_asks_for_what_holds_meanwhile() -> None:
    world = World([right], faults=UNDONE, participants=BOTH, invariant=nobody_holds)
    assert not world.run([BEGIN]).findings


def test_an_assertion_without_a_message_is_told_by_its_line() -> None:
    def fails(books: Books, sagas: Sagas) -> None:
        if not books["stock"].scalar(HELD):
            raise AssertionError

    outcome = World([right], faults=UNDONE, participants=BOTH, invariant=fails).run([BEGIN])
    assert told(outcome) == ["invariant (): fails: raise AssertionError"]


def test_an_invariant_that_cannot_be_asked_is_a_finding() -> None:
    def wrong(books: Books, sagas: Sagas) -> None:
        books["carrier"].scalar(HELD)

    outcome = World([right], rate=0, participants=BOTH, invariant=wrong).run([BEGIN])
    assert told(outcome) == ["invariant (): wrong cannot be asked: KeyError: 'carrier'"]


def test_an_invariant_changes_nothing() -> None:
    def meddles(books: Books, sagas: Sagas) -> None:
        books["stock"].execute(sa.text("UPDATE shelf SET pieces = 0"))

    world = World(
        [right],
        rate=0,
        participants=BOTH,
        always=meddles,
        invariant=[meddles, stall.nothing_is_lost],
    )
    assert not world.run([BEGIN]).findings


# ── as if nothing had happened ───────────────────────────────────────────────────────────────────


def test_where_every_saga_was_undone_the_tables_are_as_they_were_but_for_the_residue() -> None:
    """Law L58, by the data."""
    refunds = World([right], faults=UNDONE, participants=BOTH, residue=["ledger"]).run([BEGIN])
    assert not refunds.findings, refunds

    strictly = World([right], faults=UNDONE, participants=BOTH, residue=()).run([BEGIN])
    assert told(strictly) == [
        "L58 (): every saga was undone, and ledger of payments is not as it was: "
        "+ ('1', 3) + ('1', -3)"
    ]
    columns = ["ledger.coins"]
    partly = World([right], faults=UNDONE, participants=BOTH, residue=columns).run([BEGIN])
    assert told(partly)[0].endswith("is not as it was: + ('1',) + ('1',)")


def test_a_table_that_lost_something_is_told_by_its_rows() -> None:
    cast = [stall.stock(free=stall.free_two), stall.PAYMENTS]
    outcome = World([right], faults=UNDONE, participants=cast, residue=["ledger"]).run([BEGIN])
    assert told(outcome) == [
        "L58 (): every saga was undone, and shelf of stock is not as it was: - (10,) + (11,)"
    ]


def test_where_a_saga_completed_nothing_is_said_of_residue() -> None:
    world = World([right], faults=UNDONE, participants=BOTH, residue=())
    outcome = world.run([BEGIN, BEGIN._replace(saga_id="right-2", data={"order_id": "2"})])
    assert not outcome.findings, outcome


@pytest.mark.parametrize("name", ["cellar", "shelf.bottles"])
def test_a_residue_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"residue: there is no '{name}'"):
        World([right], participants=BOTH, residue=[name])


# ── in a check ───────────────────────────────────────────────────────────────────────────────────


def test_a_check_takes_a_residue_and_keeps_of_the_input_what_the_finding_needs() -> None:
    """Here, who it is that is given too much."""

    def free(cmd: Release, tx: SyncTx) -> None:
        stall.free(cmd, tx)
        if cmd.order_id.startswith("c"):
            tx.execute(stall.PUT_BACK)

    baskets = st.builds(Basket, order_id=st.sampled_from(["c-1", "c-2", "c-3"]))
    with pytest.raises(LawBroken) as broken:
        check_saga(
            right,
            participants=[stall.stock(free=free), stall.PAYMENTS],
            data=baskets,
            residue=["ledger"],
            bounds=Bounds(faults=0),
        )
    found = broken.value.finding
    assert isinstance(found, Outcome)
    assert broken.value.violation is not None
    assert broken.value.violation.law == "L58"
    (begin,) = found.begins
    assert str(begin.data["order_id"]).startswith("c")


def test_a_check_asks_for_what_must_always_hold() -> None:
    with pytest.raises(LawBroken, match="nobody_holds: somebody holds something"):
        check_saga(right, participants=BOTH, always=nobody_holds, bounds=Bounds(faults=0))


def test_of_an_input_only_what_the_finding_needs_is_kept() -> None:
    begins = [Begin(f"right-{n}", "right", {"a": n, "b": "odd", "c": 3}) for n in (7, 8)]
    plain = [begin._replace(data={"a": 1, "b": "b", "c": 3}) for begin in begins]
    found = simplify(begins, plain, lambda tried: any(one.data["a"] == 8 for one in tried))
    assert [begin.data for begin in found] == [
        {"a": 1, "b": "b", "c": 3},
        {"a": 8, "b": "b", "c": 3},
    ]
