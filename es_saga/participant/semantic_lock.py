"""A semantic lock: a pending flag on a record that a saga is changing, for other sagas to respect.

    locks = SemanticLocks(tables)

    @rooms.handles(BookRoom)
    async def book(cmd: BookRoom, tx: Tx) -> Booked | Locked | GaveWay:
        if met := locks.take(tx, f"room {cmd.room}", meeting=Meeting.WAIT):
            return met
        ...

    @rooms.handles(CancelRoom)                      # the undo; the saga's last step does the same
    async def cancel(cmd: CancelRoom, tx: Tx) -> None:
        locks.release(tx)

The flag is a row in the participant's own database, with the saga's id, committed with the effect.
Between the step that takes it and the one that releases it nobody else changes the record: what the
saga has not made final yet is neither overwritten nor taken for final. Whoever meets it fails,
tries again, or waits, as long as the step's retry policy lasts. Sagas that wait for each other are
found in a graph, in which each edge is a row, too: of a circle the youngest gives way, with a
refusal, so that its saga is undone and its locks are released (laws L63 and L64).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

import sqlalchemy as sa

from es_saga.core.errors import InvalidInput, Unavailable
from es_saga.core.messages import Refusal
from es_saga.participant.tx import Transaction, work_of
from es_saga.participant.work import Work

MAX_RECORD_CHARS: Final = 200

MAX_WAITS: Final = 10_000
"""Edges of the graph that are looked at; with more, whoever waits gives way."""

AGAIN_SECONDS: Final = 1.0
"""How soon a saga that waits is to ask again, by default."""

LOCKS: Final = "es_locks"
WAITS: Final = "es_lock_waits"

_HOLDER = f"SELECT saga FROM {LOCKS} WHERE record = :record"
_TAKE = f"""
INSERT INTO {LOCKS} (record, saga, number)
VALUES (:record, :saga, (SELECT coalesce(max(number), 0) + 1 FROM {LOCKS}))
ON CONFLICT (record) DO NOTHING
"""
_WAIT = f"""
INSERT INTO {WAITS} (saga, record, holder, since, looked)
SELECT :saga, :record, :holder, coalesce(max(looked), 0) + 1, coalesce(max(looked), 0) + 1
FROM {WAITS} WHERE true
ON CONFLICT (saga, record) DO UPDATE SET holder = excluded.holder, looked = excluded.looked
"""
_WAIT_NO_MORE = f"DELETE FROM {WAITS} WHERE saga = :saga AND record = :record"
_EDGES = f"SELECT saga, holder FROM {WAITS} ORDER BY since, saga LIMIT {MAX_WAITS + 1}"
_AGES = f"SELECT saga, min(number) FROM {LOCKS} GROUP BY saga"
_LET_GO = (
    f"DELETE FROM {WAITS} WHERE saga = :saga",
    f"DELETE FROM {WAITS} WHERE record IN (SELECT record FROM {LOCKS} WHERE saga = :saga)",
    f"DELETE FROM {LOCKS} WHERE saga = :saga",
)
_LET_GO_OF_ONE = (
    f"DELETE FROM {WAITS} WHERE record = :record AND (saga = :saga OR holder = :saga)",
    f"DELETE FROM {LOCKS} WHERE record = :record AND saga = :saga",
)


class Meeting(Enum):
    """What becomes of a saga that meets another one's lock."""

    FAIL = "refused: the saga is undone"
    RETRY = "fails and tries again by the step's retry policy, in no order"
    WAIT = "the same, and it is known who waits for whom: a circle is broken"


class Locked(Refusal):
    """Another saga is changing the record."""

    record: str
    by: str


class GaveWay(Refusal):
    """Sagas waited for each other in a circle, and this one is the youngest of them."""

    record: str
    by: str


class SemanticLocks:
    """The semantic locks of one participant; its two tables are added to `tables`.

    Args:
        again: seconds until whoever waits or tries again is to ask again.
    """

    def __init__(self, tables: sa.MetaData, *, again: float = AGAIN_SECONDS) -> None:
        self._again = again
        sa.Table(
            LOCKS,
            tables,
            sa.Column("record", sa.Text, primary_key=True),
            sa.Column("saga", sa.Text, nullable=False, index=True),
            sa.Column("number", sa.BigInteger, nullable=False),
        )
        sa.Table(
            WAITS,
            tables,
            sa.Column("saga", sa.Text, primary_key=True),
            sa.Column("record", sa.Text, primary_key=True),
            sa.Column("holder", sa.Text, nullable=False),
            sa.Column("since", sa.BigInteger, nullable=False),
            sa.Column("looked", sa.BigInteger, nullable=False),
        )

    def take(self, tx: Transaction, record: str, *, meeting: Meeting) -> Locked | GaveWay | None:
        """Set the flag, or learn who has: a refusal to be returned. One's own lock is no obstacle.

        Raises:
            Unavailable: another saga has it, and this one waits or tries again.
            InvalidInput: the command is no saga's, or the record's name too long.
        """
        saga, work = _saga_of(tx), work_of(tx)
        if not 0 < len(record) <= MAX_RECORD_CHARS:
            raise InvalidInput(f"A record's name has 1 to {MAX_RECORD_CHARS} characters.")
        names = {"saga": saga, "record": record}
        holder = work.run(_HOLDER, names, reading=True).scalar()
        if holder is None:
            if work.changed(_TAKE, names):
                work.changed(_WAIT_NO_MORE, names)
                return None
            holder = work.run(_HOLDER, names, reading=True).scalar() or ""  # somebody was quicker
        if holder == saga:
            return None
        if meeting is Meeting.FAIL:
            return Locked(record=record, by=holder)
        if meeting is Meeting.WAIT:
            if _must_give_way(work, saga, holder):
                work.keep(_WAIT_NO_MORE, names)
                return GaveWay(record=record, by=holder)
            work.keep(_WAIT, {**names, "holder": holder})
        raise Unavailable(f"Saga {holder} is changing {record}.", retry_after=self._again)

    def release(self, tx: Transaction, record: str | None = None) -> None:
        """Clear the saga's flag on this record, or on all: in its last step here and in every undo.

        Raises:
            InvalidInput: the command is no saga's.
        """
        names = {"saga": _saga_of(tx), "record": record}
        for statement in _LET_GO if record is None else _LET_GO_OF_ONE:
            work_of(tx).changed(statement, names)

    def holder(self, tx: Transaction, record: str) -> str | None:
        """Which saga is changing the record now, for readers who would rather know."""
        found: str | None = work_of(tx).run(_HOLDER, {"record": record}, reading=True).scalar()
        return found


def _saga_of(tx: Transaction) -> str:
    saga = tx.command.saga_id
    if saga is None:
        raise InvalidInput("Only a saga can hold a lock, and the command names none.")
    return saga


def _must_give_way(work: Work, saga: str, holder: str) -> bool:
    """Whether waiting for `holder` closes a circle in which `saga` is the youngest."""
    rows = work.run(_EDGES, None, reading=True).all()
    if len(rows) > MAX_WAITS:
        return True
    waits: dict[str, set[str]] = {saga: {holder}}
    for waiting, awaited in rows:
        waits.setdefault(waiting, set()).add(awaited)
    circle = circle_through(saga, waits)
    if not circle:
        return False
    ages: dict[str, int] = dict(map(tuple, work.run(_AGES, None, reading=True)))
    return saga == max(circle, key=lambda one: (ages.get(one, 0), one))


def circle_through(saga: str, waits: Mapping[str, set[str]]) -> frozenset[str]:
    """The sagas that wait for `saga` and that it waits for, itself included; none: no circle.

    >>> sorted(circle_through("a", {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}))
    ['a', 'b', 'c']
    >>> circle_through("d", {"a": {"b"}, "b": {"a"}, "d": {"a"}})
    frozenset()
    """
    back: dict[str, set[str]] = {}
    for waiting, awaited in waits.items():
        for one in awaited:
            back.setdefault(one, set()).add(waiting)
    ahead, behind = _reached(saga, waits), _reached(saga, back)
    return frozenset(ahead & behind)


def _reached(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    """What can be reached from `start`, itself only where an edge leads back to it."""
    found: set[str] = set()
    left = [start]
    while left:
        for one in edges.get(left.pop(), ()):
            if one not in found:
                found.add(one)
                left.append(one)
    return found
