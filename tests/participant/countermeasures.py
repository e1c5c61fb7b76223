"""What each countermeasure promises, tried in every order; each function is an assertion."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from es_saga import App, Command, Message, Saga, SyncTx
from es_saga.core import pessimistic_view
from es_saga.core.by_value import ByValue
from es_saga.core.messages import Envelope
from es_saga.database import make_engine
from es_saga.participant import commutative, reread
from es_saga.participant.accesses import Accesses
from es_saga.participant.version_file import VersionFile
from es_saga.participant.work import Desk, Statements, Work

tables = sa.MetaData()
accounts = sa.Table(
    "accounts",
    tables,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("balance", sa.BigInteger, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)
ADA: Final = {"id": "ada"}


class Change(Message):
    """Multiply, then add: the order matters."""

    times: int = 1
    plus: int = 0


def _changed(value: int, change: Change) -> int:
    return value * change.times + change.plus


accesses = Accesses(tables)
changes = VersionFile("changes", tables, operation=Change, start=1, apply=_changed)


@contextmanager
def transaction(url: str = "sqlite://") -> Generator[SyncTx]:
    """In a database of its own, with an account."""
    engine = make_engine(url)
    tables.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(accounts), {"id": "ada", "balance": 0, "version": 1})
        desk = Desk(connection, Statements(engine.dialect), True, None)
        yield SyncTx(Work(desk, Envelope(id="m", source="t", type="T", sagaid="saga-1"), None))
    engine.dispose()


def an_update_whose_base_has_changed_is_not_applied() -> None:
    """L67: of two sagas that read and then write, in every interleaving."""
    for order in sorted(set(itertools.permutations("aabb"))):
        with transaction() as tx:
            read: dict[str, tuple[int, int]] = {}
            applied = 0
            for saga in order:
                row = reread.look(tx, accounts, ADA)
                assert row is not None
                if saga not in read:
                    read[saga] = row["version"], row["balance"]
                    continue
                version, balance = read[saga]
                values = {"balance": balance + 1}
                refused = reread.update(tx, accounts, ADA, read=version, values=values)
                assert (refused is not None) == (row["version"] != version), order
                applied += refused is None
            assert tx.scalar("SELECT balance FROM accounts") == applied, order


def operations_out_of_order_give_the_result_of_their_order() -> None:
    """L68: in every order, one of them twice."""
    operations = [Change(times=2), Change(plus=3), Change(times=5), Change(plus=7)]
    for order in itertools.permutations(range(len(operations))):
        with transaction() as tx:
            for position in (*order, order[0]):
                changes.record(tx, "r", position, operations[position])
            assert changes.value(tx, "r") == (1 * 2 + 3) * 5 + 7, order
            assert changes.withdraw(tx, "r", 2) == 1 * 2 + 3 + 7, order


def sums_do_not_depend_on_the_order() -> None:
    """L65: of what is added in a database, and taken back by undos."""
    for order in itertools.permutations([5, 7, -5, 11]):
        with transaction() as tx:
            for by in order:
                assert commutative.add(tx, accounts.c.balance, ADA, by) == 1
            assert tx.scalar("SELECT balance FROM accounts") == 18, order


class Spend(Message):
    pence: int


class Raise(Command[None]):
    to = "credit"
    exposes = "it can be spent"


class Lower(Command[None]):
    to = "credit"


class Pay(Command[None]):
    to = "credit"


def _saga(name: str, *, before: bool) -> Saga[Spend]:
    saga = Saga(name, Spend)

    if before:

        @saga.step
        def enlarge(s: Spend) -> Raise:
            return Raise()

        @enlarge.compensation
        def reduce(s: Spend) -> Lower:
            return Lower()

    @saga.pivot
    def pay(s: Spend) -> Pay:
        return Pay()

    if not before:

        @saga.step
        def enlarge_at_last(s: Spend) -> Raise:
            return Raise()

    return saga


def what_must_not_be_seen_early_is_warned_of() -> None:
    """L66: before the pivot, and not after it."""
    early, late = _saga("early", before=True), _saga("late", before=False)
    warnings = list(pessimistic_view.exposed(early.definition))
    assert len(warnings) == 1
    assert "'enlarge'" in warnings[0]
    assert "it can be spent" in warnings[0]
    assert list(pessimistic_view.exposed(late.definition)) == []


def what_is_dear_is_done_strictly() -> None:
    """L69: at the bound, beyond it, and where the risk is no number."""
    usual, strict = _saga("usual", before=False), _saga("strict", before=True)
    chosen = ByValue(usual=usual, strict=strict, risk=lambda s: s.pence / 1, above=100.0)
    nobody_knows = ByValue(usual=usual, strict=strict, risk=lambda s: float("nan"), above=100.0)
    assert [chosen.of(Spend(pence=n)).name for n in (0, 100, 101)] == ["usual", "usual", "strict"]
    assert nobody_knows.of(Spend(pence=0)) is strict


PROMISES: Final[Mapping[str, Callable[[], None]]] = {
    "L65": sums_do_not_depend_on_the_order,
    "L66": what_must_not_be_seen_early_is_warned_of,
    "L67": an_update_whose_base_has_changed_is_not_applied,
    "L68": operations_out_of_order_give_the_result_of_their_order,
    "L69": what_is_dear_is_done_strictly,
}

app = App("spending", sagas=[_saga("early", before=True)])
"""Its check has something to warn of."""
