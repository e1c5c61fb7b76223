"""What every page of one saga begins with: how it stands, and the way to the other pages."""

from __future__ import annotations

from typing import Any, NamedTuple

from es_saga.projections.queries import SagaRow
from es_saga.web.dashboard.page import Context, Pages, Visit
from es_saga.web.dashboard.pictures import track
from es_saga.web.dashboard.sagas import why


async def head(pages: Pages, visit: Visit, tab: str) -> Context:
    """Everything about a saga but the page itself.

    Raises:
        NotFound: there is no such saga.
    """
    row = await pages.desk.ask(pages.desk.queries.status, visit.saga_id())
    steps = await pages.shapes.plan(row.type, row.definition)
    return {
        "saga": row,
        "kin": await pages.desk.ask(pages.desk.queries.kin, row.saga_id),
        "plan": steps,
        "track": track(row.steps, steps),
        "why": why(row),
        "took": (row.closed or visit.now) - row.created,
        "tab": tab,
    }


class Side(NamedTuple):
    """One direction of one step, as the status view has it."""

    status: str
    attempt: int
    started: float
    ended: float | None = None
    due: float | None = None
    reply: Any = None
    error: str | None = None


class Both(NamedTuple):
    """A step that was begun."""

    do: Side
    undo: Side | None


def steps_of(row: SagaRow) -> dict[str, Both]:
    """The steps of a saga that were begun, in order."""
    return {
        name: Both(_side(own), _side(own["undo"]) if "undo" in own else None)
        for name, own in row.steps.items()
    }


def _side(work: dict[str, Any]) -> Side:
    return Side(**{name: work[name] for name in Side._fields if name in work})
