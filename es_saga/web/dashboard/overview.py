"""The first page: what takes a human stands first, then how many there are of what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from es_saga.projections.listing import SagaFilter
from es_saga.web.dashboard.looks import STATUSES
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit
from es_saga.web.dashboard.pending import stuck_at
from es_saga.web.dashboard.pictures import share
from es_saga.web.dashboard.sagas import why

FEW: Final = 5
"""Sagas of one kind that are named; the page of their own has the others."""

Counts = Mapping[str, Mapping[str, int]]


def screens(pages: Pages) -> Sequence[Screen]:
    """The page."""

    async def gather(_visit: Visit) -> Context:
        desk = pages.desk
        counts = await pages.counts.answer()
        total = _total(counts)
        stuck = await desk.ask(desk.queries.page, SagaFilter(status=("stuck",)), limit=FEW)
        owing = SagaFilter(status=("compensated-with-exceptions",))
        owed = await desk.ask(desk.queries.page, owing, limit=FEW)
        latest = await desk.ask(desk.queries.page, None, limit=2 * FEW)
        steps = await pages.shapes.plans(stuck.rows)
        return {
            "counts": total,
            "total": sum(total.values()),
            "share": share((name, total.get(name, 0)) for name in STATUSES),
            "types": [_type(name, counts[name]) for name in sorted(counts)],
            "stuck": [stuck_at(row, steps[row.type, row.definition]) for row in stuck.rows],
            "owed": owed.rows,
            "latest": [{"saga": row, "why": why(row)} for row in latest.rows],
        }

    return [Screen("/", "overview.html", "overview", gather)]


def _total(counts: Counts) -> dict[str, int]:
    found: dict[str, int] = {}
    for own in counts.values():
        for status, number in own.items():
            found[status] = found.get(status, 0) + number
    return found


def _type(name: str, counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "name": name,
        "total": sum(counts.values()),
        "open": sum(counts.get(one, 0) for one in ("running", "waiting", "compensating", "stuck")),
        "stuck": counts.get("stuck", 0),
        "share": share((status, counts.get(status, 0)) for status in STATUSES),
    }
