"""Commutative updates: steps and undos of several sagas give the same totals in any order (L65).

    commutative.add(tx, accounts.c.balance, {"id": cmd.account}, cmd.pence)

    def test_our_updates_commute() -> None:
        check_commutes([Update("pay in", pay_in, take_back), Update("interest", …)], start=0)

Where everything that changes a record commutes nothing can be lost, and an undo need not know what
came after its step. A bound, as "no less than nothing", or setting a value, does not commute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa

from es_saga.core.errors import InvalidInput
from es_saga.participant.tx import Transaction, work_of

MAX_UPDATES: Final = 8
"""Updates that are checked together: there are 3 to the power of that many situations."""

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Update(Generic[S]):
    """A step's change of a record's value, and its undo, if it has one."""

    name: str
    do: Callable[[S], S]
    undo: Callable[[S], S] | None = None


class NotCommutative(AssertionError):
    """Two orders of the same updates and undos give different values."""


def add(tx: Transaction, column: sa.Column[Any], key: Mapping[str, Any], by: int) -> int:
    """Add to a number, whatever it is by now; how many records that were. Its undo adds `-by`.

    Raises:
        InvalidInput: no key: every record would be changed.
    """
    if not key:
        raise InvalidInput("A key names the record: {'id': …}.")
    table = column.table
    at = sa.and_(*(table.c[name] == value for name, value in key.items()))
    assert isinstance(table, sa.Table), "a column of a table"
    return work_of(tx).changed(sa.update(table).where(at).values({column.name: column + by}), None)


def check_commutes(updates: Sequence[Update[S]], start: S) -> None:
    """Try every interleaving of the updates and their undos, each undo after its update.

    Raises:
        NotCommutative: with two orders that differ.
        InvalidInput: too many updates.
    """
    if len(updates) > MAX_UPDATES:
        raise InvalidInput(f"{len(updates)} updates are too many: {MAX_UPDATES} at a time.")
    # What was done by then, and what undone, decides: all ways there must have led to one value.
    situations: dict[tuple[int, ...], tuple[S, tuple[str, ...]]] = {
        (0,) * len(updates): (start, ())
    }
    left = list(situations)
    while left:
        situation = left.pop(0)
        value, way = situations[situation]
        for index, update in enumerate(updates):
            stage = situation[index]
            act = (update.do, update.undo, None)[stage]
            if act is None:
                continue
            step = f"undo {update.name}" if stage else update.name
            after, by = act(value), (*way, step)
            reached = (*situation[:index], stage + 1, *situation[index + 1 :])
            known = situations.get(reached)
            if known is None:
                situations[reached] = after, by
                left.append(reached)
            elif known[0] != after:
                raise NotCommutative(
                    f"{', '.join(known[1])} gives {known[0]!r}; {', '.join(by)} gives {after!r}."
                )
