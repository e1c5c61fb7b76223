"""The first page: what takes a human stands first, then how many there are, and how fast."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from es_saga.engine.alerts import AlertKind
from es_saga.projections.listing import OPEN, SagaFilter
from es_saga.projections.vitals import TypeVitals
from es_saga.web.dashboard.figures import LINES, USUALLY, WINDOWS, Courses, Figures, chart, total
from es_saga.web.dashboard.looks import STATUSES
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit
from es_saga.web.dashboard.pending import stuck_at
from es_saga.web.dashboard.pictures import lines, share, spark
from es_saga.web.dashboard.sagas import why

FEW: Final = 5
"""Sagas of one kind that are named; the page of their own has the others."""


def screens(pages: Pages) -> Sequence[Screen]:
    """The page."""

    async def gather(visit: Visit) -> Context:
        window = visit.query.get("within", USUALLY)
        figures = await pages.observatory.of(window)
        counts = total(await pages.observatory.sagas())
        latest = await pages.desk.ask(pages.desk.queries.page, None, limit=2 * FEW)
        courses = await pages.observatory.courses()
        shown = chart(figures)
        return {
            "window": window,
            "windows": WINDOWS,
            "per": WINDOWS[window].per,
            "counts": counts,
            "total": sum(counts.values()),
            "share": share((name, counts.get(name, 0)) for name in STATUSES),
            "types": [_type(one, figures, courses) for one in figures.vitals.types],
            "chart": json.dumps(shown),
            "picture": lines([(line["tone"], line["values"]) for line in shown["lines"]]),
            "lines": LINES,
            "sums": {name: sum(figures.lines[name]) for name, _, _ in LINES},
            "latest": [{"saga": row, "why": why(row)} for row in latest.rows],
            **await _attention(pages),
        }

    return [Screen("/", "overview.html", "overview", gather)]


_TIMED: Final = (AlertKind.DEADLINE, AlertKind.IDLE, AlertKind.DOUBT, AlertKind.SLOT)
"""Alerts that no other list shows."""


async def _attention(pages: Pages) -> Context:
    """What needs a human, the latest of each kind."""
    desk = pages.desk
    stuck = await desk.ask(desk.queries.page, SagaFilter(status=("stuck",)), limit=FEW)
    owing = SagaFilter(status=("compensated-with-exceptions",))
    owed = await desk.ask(desk.queries.page, owing, limit=FEW)
    alerts = [await desk.ask(desk.queries.alerts, kind=kind, limit=FEW) for kind in _TIMED]
    plans = await pages.shapes.plans(stuck.rows)
    return {
        "stuck": [stuck_at(row, plans[row.type, row.definition]) for row in stuck.rows],
        "owed": owed.rows,
        "alerts": [row for page in alerts for row in page.rows],
        "more": stuck.next or owed.next or any(page.next for page in alerts),
    }


def _type(one: TypeVitals, figures: Figures, courses: Courses) -> dict[str, Any]:
    started = figures.started.get(one.type)
    begun = one.counts["started"]
    return {
        "name": one.type,
        "open": sum(one.sagas.get(status, 0) for status in OPEN),
        "stuck": one.sagas.get("stuck", 0),
        "started": begun,
        "turned": one.counts["turned"],
        "turned_share": one.counts["turned"] / begun if begun else None,
        "spark": spark(started, label=f"{one.type}: started") if started else None,
        "p50": one.completed.p50,
        "p95": one.completed.p95,
        "course": courses.of(one.type, "", "completed"),
    }
