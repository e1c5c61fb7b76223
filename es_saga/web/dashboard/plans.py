"""Which steps a saga has by its definition, as far as the log remembers it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from es_saga.projections.definitions import DefinitionRow
from es_saga.projections.pending import PendingWork
from es_saga.projections.queries import SagaRow
from es_saga.web.dashboard.costly import Costly
from es_saga.web.dashboard.pictures import Planned

Key = tuple[str, int]
"""Type and version."""

Shape = Mapping[str, Any]


class Shapes:
    """The shapes of definitions, which a version never changes."""

    def __init__(self, every: Costly[list[DefinitionRow]]) -> None:
        self._every = every
        self._known: dict[Key, Shape] = {}

    async def of(self, saga_type: str, version: int) -> Shape | None:
        """The shape of one definition; None if the log does not know it."""
        key = (saga_type, version)
        if key not in self._known:
            rows = await self._every.answer()
            self._known = {(row.type, row.version): row.shape for row in rows}
        return self._known.get(key)

    async def plan(self, saga_type: str, version: int) -> tuple[Planned, ...]:
        """The steps of one definition; none if the log does not know it."""
        shape = await self.of(saga_type, version)
        return () if shape is None else planned(shape)

    async def plans(self, rows: Iterable[SagaRow | PendingWork]) -> dict[Key, tuple[Planned, ...]]:
        """The steps of every definition that these sagas run on."""
        keys = {(row.type, row.definition) for row in rows}
        return {key: await self.plan(*key) for key in keys}


def planned(shape: Mapping[str, Any]) -> tuple[Planned, ...]:
    """The steps of a shape.

    >>> steps = [{"name": "pay", "kind": "pivot", "after": [], "undo": None},
    ...          {"name": "ship", "kind": "retriable", "after": ["pay"], "undo": None}]
    >>> [one.after_pivot for one in planned({"steps": steps})]
    [False, True]
    """
    behind: set[str] = set()
    found: list[Planned] = []
    for step in shape["steps"]:  # a step comes after those that it waits for
        name, pivot = step["name"], step["kind"] == "pivot"
        after = step["kind"] == "retriable" or not behind.isdisjoint(step["after"])
        if pivot or after:
            behind.add(name)
        found.append(
            Planned(
                name,
                pivot,
                after,
                undo=step["undo"],
                asks=step.get("command", ""),
                waits=step["kind"] == "wait",
                expected=step.get("expected", False),
                ways=step.get("ways"),
            )
        )
    return tuple(found)
