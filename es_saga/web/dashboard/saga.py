"""What every page of one saga begins with: how it stands, and the way to the other pages."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final

from es_saga.core.errors import IllegalOperation, SagaError
from es_saga.projections.queries import SagaRow
from es_saga.projections.waiting import awaited, way
from es_saga.web.dashboard.page import Context, Pages, Visit
from es_saga.web.dashboard.pending import stuck_at
from es_saga.web.dashboard.pictures import Planned, track
from es_saga.web.dashboard.sagas import why
from es_saga.web.dashboard.steps import Told, told, went_another_way
from es_saga.web.desk import Line

UNSERVED_SECONDS: Final = 1.0
"""How long the broker may take to say who is there; the page waits for it."""


async def head(pages: Pages, visit: Visit, tab: str) -> Context:
    """Everything about a saga but the page itself.

    Raises:
        NotFound: there is no such saga.
    """
    row = await pages.desk.ask(pages.desk.queries.status, visit.saga_id())
    steps = await pages.shapes.plan(row.type, row.definition)
    shape = await pages.shapes.of(row.type, row.definition)
    lists = (await pages.desk.ask(pages.desk.queries.lists, [row])).get(row.saga_id, ())
    asked = await pages.desk.ask(pages.desk.queries.asked, row)
    return {
        "saga": row,
        "kin": await pages.desk.ask(pages.desk.queries.kin, row.saga_id),
        "plan": steps,
        "track": track(row.steps, steps, lists),
        "lists": lists,
        "why": why(row),
        "stuck_at": stuck_at(row, steps)["at"] if row.status == "stuck" else [],
        "waits": [*awaited(shape, row.steps)] if shape and row.closed is None else [],
        "way": way(shape, row.steps) if shape else None,
        "asked": asked,
        "unserved": await _unserved(pages.desk.line, set(asked.values())),
        "took": (row.closed or visit.now) - row.created,
        "tab": tab,
    }


async def _unserved(line: Line, services: Collection[str]) -> Collection[str]:
    """Those whose commands nobody takes; none where that cannot be known, or not soon."""
    with suppress(SagaError, TimeoutError):
        async with asyncio.timeout(UNSERVED_SECONDS):
            return await line.unserved(services) if services else ()
    return ()


async def begun(pages: Pages, row: SagaRow, plan: Sequence[Planned]) -> list[Told]:
    """The steps that a saga has begun, those of ways that were given up among them."""
    past = None
    if went_another_way(row):
        with suppress(IllegalOperation):  # too long to be gone through here
            past = (await pages.desk.replay(row.saga_id)).state.past
    return told(row, plan, past)
