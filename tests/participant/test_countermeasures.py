"""Countermeasures keep what they promise (laws L65 to L70), and bad use of them is refused."""

from __future__ import annotations

from typing import cast

import pytest
import sqlalchemy as sa

from es_saga import DefinitionError, InvalidInput, Message, Saga, Terminal
from es_saga.core.by_value import ByValue
from es_saga.participant import commutative, reread
from es_saga.participant.commutative import NotCommutative, Update, check_commutes
from es_saga.participant.reread import Changed
from es_saga.testing.anomalies import Access, Kind, anomalies
from tests.participant.countermeasures import (
    ADA,
    PROMISES,
    Change,
    Spend,
    accesses,
    accounts,
    changes,
    transaction,
)


@pytest.mark.parametrize("law", PROMISES)
def test_a_countermeasure_keeps_its_promise_in_every_order(law: str) -> None:
    PROMISES[law]()


def test_they_work_on_postgresql_as_well(postgres_url: str) -> None:
    with transaction(postgres_url) as tx:
        assert commutative.add(tx, accounts.c.balance, ADA, 5) == 1
        row = reread.look(tx, accounts, ADA)
        assert row is not None
        assert (row["balance"], row["version"]) == (5, 1)
        assert reread.update(tx, accounts, ADA, read=1, values={"balance": 6}) is None
        again = reread.update(tx, accounts, ADA, read=1, values={"balance": 7})
        assert again == Changed(record="ada", read=1)
        changes.record(tx, "r", 2, Change(plus=3))
        assert changes.record(tx, "r", 1, Change(times=2)) == 1 * 2 + 3
        assert changes.withdraw(tx, "r", 2) == 1 * 2
        for note in (accesses.read, accesses.write, accesses.add):
            note(tx, "r")
        rows = tx.all("SELECT saga, kind FROM es_accesses ORDER BY number")
        assert [tuple(row) for row in rows] == [("saga-1", k) for k in ("read", "write", "add")]


def plus(by: int) -> Update[int]:
    return Update(f"+{by}", lambda value: value + by, lambda value: value - by)


def test_updates_that_commute_are_told_from_those_that_do_not() -> None:
    check_commutes([plus(3), plus(5), plus(-4), plus(1)], start=0)
    doubled: Update[int] = Update("double", lambda value: 2 * value, lambda value: value // 2)
    with pytest.raises(NotCommutative, match="double"):
        check_commutes([plus(3), doubled], start=1)
    bounded: Update[int] = Update("take", lambda value: max(0, value - 3), lambda value: value + 3)
    with pytest.raises(NotCommutative):
        check_commutes([plus(2), bounded], start=0)
    wrong_undo: Update[int] = Update("set", lambda _: 7, lambda _: 0)
    with pytest.raises(NotCommutative):
        check_commutes([plus(1), wrong_undo], start=0)
    with pytest.raises(InvalidInput):
        check_commutes([plus(n) for n in range(9)], start=0)


def test_bad_use_is_refused() -> None:
    bare = sa.Table("bare", sa.MetaData(), sa.Column("id", sa.Text))
    with transaction() as tx:
        with pytest.raises(InvalidInput, match="version"):
            reread.update(tx, bare, ADA, read=1, values={})
        with pytest.raises(InvalidInput, match="key"):
            reread.look(tx, accounts, {})
        with pytest.raises(InvalidInput, match="key"):
            commutative.add(tx, accounts.c.balance, {}, 1)
        changes.record(tx, "r", 1, Change(plus=1))
        with pytest.raises(Terminal, match="Position 1"):
            changes.record(tx, "r", 1, Change(plus=2))

    class Other(Message):
        pence: int

    with pytest.raises(DefinitionError, match="different inputs"):
        ByValue[Message](
            usual=cast(Saga[Message], Saga("a", Spend)),
            strict=cast(Saga[Message], Saga("b", Other)),
            risk=lambda data: 0.0,
            above=0.0,
        )


def found(journal: str) -> list[str]:
    """Of `a:read b:write …`, all of one record."""
    accesses = [Access(word[0], cast(Kind, word[2:]), "x") for word in journal.split()]
    return [f"{one.kind} {one.saga} {one.by}" for one in anomalies(accesses)]


@pytest.mark.parametrize(
    ("journal", "expected"),
    [
        ("a:read b:write a:write", ["lost update a b"]),
        ("a:read b:write a:read a:write", ["fuzzy read a b"]),
        ("a:write b:read a:undo", ["dirty read b a"]),
        ("a:write b:write a:undo", ["lost update a b"]),
        ("a:write b:read b:write a:undo", ["lost update a b", "dirty read b a"]),
        ("a:read a:write b:read b:write", []),
        ("a:write a:undo b:read", []),
        ("a:add b:add a:add", []),
        ("a:read b:add a:read", ["fuzzy read a b"]),
        ("a:read b:read a:read", []),
    ],
)
def test_anomalies_are_found_and_nothing_else(journal: str, expected: list[str]) -> None:
    assert found(journal) == expected


def test_records_are_looked_at_one_by_one() -> None:
    assert anomalies([Access("a", "read", "x"), Access("b", "write", "y")]) == []
