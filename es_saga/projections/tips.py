"""Where the hash chains of sagas end, so that the next event is linked without asking.

What is not remembered is read: from the trail, or, where that has no row, from the log. An end is
right only if the events that led to it were committed; who rolls back, forgets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from es_saga.core.errors import CorruptHistory
from es_saga.engine.ports import Recorded
from es_saga.projections.chain import GENESIS, link

MAX_TIPS: Final = 20_000
"""Sagas remembered of each database, in each of two generations; the older one is dropped."""

MAX_IDS: Final = 500
"""Sagas asked for in one statement."""

Tip = tuple[int, str]
"""The number of a saga's last event, and its hash."""


class Tips:
    """The ends of the chains in one table of each database that it is used with."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._known: WeakKeyDictionary[sa.Pool, _Generations] = WeakKeyDictionary()

    def before(self, connection: sa.Connection, events: Sequence[Recorded]) -> dict[str, str]:
        """For each saga, the hash before its first event in the batch.

        Raises:
            CorruptHistory: the log has not the event before.
        """
        known = self._of(connection)
        found: dict[str, str] = {}
        unknown: dict[str, int] = {}
        for recorded in events:
            saga_id = recorded.saga_id
            if saga_id in found or saga_id in unknown:
                continue
            last = recorded.version - 1
            tip = known.get(saga_id)
            if last == 0:
                found[saga_id] = GENESIS
            elif tip is not None and tip[0] == last:
                found[saga_id] = tip[1]
            else:
                unknown[saga_id] = last
        if unknown:
            found |= self._read(connection, unknown)
        return found

    def keep(self, connection: sa.Connection, tips: Mapping[str, Tip]) -> None:
        """Remember where chains end, if the transaction is committed."""
        self._of(connection).keep(tips)

    def forget(self, saga_ids: Iterable[str]) -> None:
        """Have these read when they are needed next."""
        ids = list(saga_ids)
        for known in self._known.values():
            known.forget(ids)

    def _of(self, connection: sa.Connection) -> _Generations:
        pool = connection.engine.pool
        known = self._known.get(pool)
        if known is None:
            known = self._known[pool] = _Generations()
        return known

    def _read(self, connection: sa.Connection, unknown: Mapping[str, int]) -> dict[str, str]:
        found: dict[str, str] = {}
        pairs = list(unknown.items())
        for first in range(0, len(pairs), MAX_IDS):
            found |= _kept(connection, self._table, pairs[first : first + MAX_IDS])
        for saga_id, version in pairs:
            if saga_id not in found:
                found[saga_id] = _computed(connection, saga_id, version)
        return found


class _Generations:
    def __init__(self) -> None:
        self._young: dict[str, Tip] = {}
        self._old: dict[str, Tip] = {}

    def get(self, saga_id: str) -> Tip | None:
        return self._young.get(saga_id) or self._old.get(saga_id)

    def keep(self, tips: Mapping[str, Tip]) -> None:
        self._young.update(tips)
        if len(self._young) > MAX_TIPS:
            self._old, self._young = self._young, {}

    def forget(self, saga_ids: Iterable[str]) -> None:
        for saga_id in saga_ids:
            self._young.pop(saga_id, None)
            self._old.pop(saga_id, None)


def _kept(
    connection: sa.Connection, table: str, pairs: Sequence[tuple[str, int]]
) -> dict[str, str]:
    """What the trail has of these events."""
    driver: Any = connection.connection.driver_connection
    ids, versions = [saga_id for saga_id, _ in pairs], [version for _, version in pairs]
    if connection.dialect.name == "sqlite":
        rows = driver.execute(
            f"SELECT a.saga_id, a.hash FROM json_each(?) AS w JOIN {table} AS a"
            " ON a.saga_id = json_extract(w.value, '$[0]')"
            " AND a.version = json_extract(w.value, '$[1]')",
            (json.dumps(pairs),),
        ).fetchall()
        return dict(rows)
    with driver.cursor(binary=True) as cursor:
        cursor.execute(
            f"SELECT a.saga_id, a.hash FROM unnest(%s::text[], %s::int[]) AS w (id, version)"
            f" JOIN {table} AS a ON a.saga_id = w.id AND a.version = w.version",
            (ids, versions),
        )
        return dict(cursor.fetchall())


_HISTORY: Final = sa.text(
    "SELECT originator_version, topic, state FROM es_events"
    " WHERE originator_id = :saga AND originator_version <= :version ORDER BY originator_version"
)


def _computed(connection: sa.Connection, saga_id: str, version: int) -> str:
    """The hash of an event out of the log itself, where the trail has no row of it."""
    hash, last = GENESIS, 0
    rows = connection.execute(_HISTORY, {"saga": saga_id, "version": version})
    for last, topic, payload in rows:
        hash = link(hash, saga_id, last, topic, payload)
    if last != version:
        raise CorruptHistory(f"saga {saga_id!r}: event {version} is missing.")
    return hash
