"""Which steps a saga has by its definition, as far as the log remembers it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from es_saga.core.errors import NotFound
from es_saga.projections.queries import SagaRow
from es_saga.web.dashboard.pictures import Planned
from es_saga.web.desk import Desk

Plans = dict[tuple[str, int], tuple[Planned, ...]]


async def plans(desk: Desk, rows: Iterable[SagaRow]) -> Plans:
    """The steps of every definition that these sagas run on, in order."""
    found: Plans = {}
    for row in rows:
        key = (row.type, row.definition)
        if key not in found:
            found[key] = await plan(desk, *key)
    return found


async def plan(desk: Desk, saga_type: str, version: int) -> tuple[Planned, ...]:
    """The steps of one definition; none if the log does not know it."""
    try:
        known = await desk.ask(desk.queries.definition, saga_type, version)
    except NotFound:
        return ()
    return planned(known.shape)


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
        after = not behind.isdisjoint(step["after"])
        if pivot or after:
            behind.add(name)
        found.append(Planned(name, pivot, after, step["undo"] is not None))
    return tuple(found)
