"""Where the log ends: remembered from one transaction to the next, so that nobody has to ask.

Only what was committed is remembered, and it is forgotten as soon as the database contradicts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from es_saga.adapters.jobs import AppendJob
from es_saga.adapters.statements import Statements

MAX_VERSIONS = 100_000
"""Sagas whose last version is remembered, in each of two generations."""


class Versions:
    """The last version of the sagas written lately: two generations, the older one is dropped."""

    def __init__(self, limit: int = MAX_VERSIONS) -> None:
        self._limit = limit
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}

    def get(self, saga_id: str) -> int | None:
        version = self._young.get(saga_id)
        return self._old.get(saga_id) if version is None else version

    def update(self, versions: Mapping[str, int]) -> None:
        self._young.update(versions)
        if len(self._young) > self._limit:
            self._old, self._young = self._young, {}

    def forget(self, saga_ids: Iterable[str]) -> None:
        for saga_id in saga_ids:
            self._young.pop(saga_id, None)
            self._old.pop(saga_id, None)


class LogEnd:
    """The last position of each part, and the last version of each saga written lately."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._heads: dict[int, int] = {}
        self._versions = Versions()

    def keep(self, heads: Mapping[int, int], versions: Mapping[str, int] | None = None) -> None:
        """What was committed, or read."""
        self._heads.update(heads)
        self._versions.update(versions or {})

    def forget(self, part: int, saga_ids: Iterable[str] = ()) -> None:
        """Have it read when it is needed next."""
        self._heads.pop(part, None)
        self._versions.forget(saga_ids)

    def heads(self, connection: sa.Connection, parts: set[int]) -> dict[int, int]:
        """The last position of each of these parts."""
        heads = {part: self._heads[part] for part in parts if part in self._heads}
        if len(heads) < len(parts):
            heads |= self._statements.heads(connection, sorted(parts - heads.keys()))
        return heads

    def versions(
        self, connection: sa.Connection, jobs: Sequence[AppendJob], *, certain: bool
    ) -> dict[str, int]:
        """The last version of each saga to be written; from memory where that cannot do harm."""
        known: dict[str, int] = {}
        unsure: set[str] = set()
        remembered = self._versions.get
        for job in jobs:
            for item in job.items:
                saga_id, expected = item.append.saga_id, item.append.version
                if saga_id in known:
                    continue
                version = remembered(saga_id)
                if version is None and expected == 0 and not certain:
                    # New, most likely; if it is not, its key is taken and we come back certain.
                    version = 0
                elif version is None or version < expected:
                    unsure.add(saga_id)
                    version = 0
                known[saga_id] = version
        if unsure:
            known |= self._statements.versions(connection, unsure)
        return known
