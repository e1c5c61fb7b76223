"""What waits for a human, for an answer, or for its next attempt; what is closed and still owes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from es_saga.projections.listing import Cursor, SagaFilter
from es_saga.projections.pending import PendingWork
from es_saga.projections.queries import SagaRow
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit
from es_saga.web.dashboard.pictures import Planned
from es_saga.web.dashboard.rendering import link
from es_saga.web.dashboard.sagas import why
from es_saga.web.dashboard.steps import told
from es_saga.web.dashboard.verbs import VERBS, Offer, for_step, planned_of

SHOWN: Final = 50
"""Sagas of each kind on the page."""


def screens(pages: Pages) -> Sequence[Screen]:
    """The page."""

    async def gather(visit: Visit) -> Context:
        return await _gather(pages, visit)

    return [Screen("/pending", "pending.html", "pending", gather)]


async def _gather(pages: Pages, visit: Visit) -> Context:
    desk, query = pages.desk, visit.query
    after = Cursor.read(query["after"]) if "after" in query else None
    stuck = await desk.ask(desk.queries.page, SagaFilter(status=("stuck",)), limit=SHOWN)
    owing = SagaFilter(status=("compensated-with-exceptions",))
    owed = await desk.ask(desk.queries.page, owing, limit=SHOWN)
    load, whole = await desk.ask(desk.queries.load)
    work = await desk.ask(
        desk.queries.pending,
        saga_type=query.get("type"),
        step=query.get("step"),
        after=after,
        limit=SHOWN,
    )
    steps = await pages.shapes.plans([*stuck.rows, *work.rows])
    kept = {name: query[name] for name in ("type", "step") if name in query}
    return {
        "stuck": [stuck_at(row, steps[row.type, row.definition]) for row in stuck.rows],
        "more_stuck": stuck.next is not None,
        "owed": owed.rows,
        "more_owed": owed.next is not None,
        "load": load,
        "whole": whole,
        "work": [_waiting(one, steps[one.type, one.definition]) for one in work.rows],
        "kept": kept,
        "to_first": link("/pending", **kept) if after else None,
        "to_next": link("/pending", **kept, after=work.next.written()) if work.next else None,
        "still": after is not None,
    }


def stuck_at(row: SagaRow, plan: Sequence[Planned]) -> dict[str, Any]:
    """A stuck saga with what it is stuck at: work that was given up."""
    found: list[dict[str, Any]] = []
    for one in told(row, plan):
        offers = for_step(row, one.name, plan)
        if offers:
            error = (one.undo or one.do).error
            found.append({"step": one.name, "look": one.now, "error": error, "offers": offers})
    return {"saga": row, "at": found, "why": why(row)}


def _waiting(work: PendingWork, plan: Sequence[Planned]) -> dict[str, Any]:
    verb = VERBS["resend" if work.in_flight else "resume"]
    status = "started" if work.in_flight else "backoff"
    planned = planned_of(work.step, plan)
    return {
        "work": work,
        "look": planned.look(status, undo=work.direction.value == "undo"),
        "offer": None if planned.passive else Offer(verb, work.step, work.direction.value),
    }
