"""The list of sagas: filters in the URL, a page at a time, the most recently changed first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from es_saga.core.errors import InvalidInput
from es_saga.projections.listing import Cursor, SagaFilter
from es_saga.projections.lists import UnderWay, folded
from es_saga.projections.queries import SagaRow
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit
from es_saga.web.dashboard.pictures import Planned, track
from es_saga.web.dashboard.rendering import link

ROWS: Final = 50
"""Sagas on a page."""

SPANS: Final = {"15m": 900, "1h": 3_600, "24h": 86_400, "7d": 7 * 86_400}
"""What "changed within" offers, in seconds."""

FILTERS: Final = ("q", "status", "type", "step", "reason", "since")
"""Parameters of the URL that choose sagas."""

_SINCE = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def screens(pages: Pages) -> Sequence[Screen]:
    """The list."""

    async def gather(visit: Visit) -> Context:
        return await _gather(pages, visit)

    return [Screen("/sagas", "sagas.html", "sagas", gather)]


def chosen(query: Mapping[str, str], now: float) -> SagaFilter:
    """The filter that a URL means.

    >>> chosen({"status": "stuck", "since": "1h"}, now=10_000.0).since
    6400.0

    Raises:
        InvalidInput: a parameter does not do.
    """
    since = query.get("since")
    span = _SINCE.fullmatch(since) if since else None
    if since and span is None:
        raise InvalidInput(f"{since[:40]!r} is no span of time.", hint="Write 30s, 15m, 1h or 7d.")
    statuses = query.get("status", "")
    return SagaFilter(
        search=query.get("q", "").strip() or None,
        status=tuple(filter(None, statuses.split(","))),
        type=query.get("type"),
        step=query.get("step"),
        reason=query.get("reason"),
        since=None if span is None else now - int(span[1]) * _SECONDS[span[2]],
    )


async def _gather(pages: Pages, visit: Visit) -> Context:
    desk, query = pages.desk, visit.query
    wanted = chosen(query, visit.now)
    after = Cursor.read(query["after"]) if "after" in query else None
    page = await desk.ask(desk.queries.page, wanted, after=after, limit=ROWS)
    count = await desk.ask(desk.queries.count, wanted)
    kept = {name: query[name] for name in FILTERS if name in query}
    steps = await pages.shapes.plans(page.rows)
    lists = await desk.ask(desk.queries.lists, page.rows)
    return {
        "rows": [_row(row, steps, lists.get(row.saga_id, ()), visit.now) for row in page.rows],
        "count": count,
        "types": await desk.ask(desk.queries.types),
        "query": {name: query.get(name, "") for name in FILTERS},
        "kept": kept,
        "first": after is None,
        "to_first": link("/sagas", **kept),
        "to_next": link("/sagas", **kept, after=page.next.written()) if page.next else None,
        "looked_back_to": page.looked_back_to,
        "spans": SPANS,
        "still": after is not None,
    }


def _row(
    row: SagaRow,
    steps: Mapping[tuple[str, int], tuple[Planned, ...]],
    lists: Sequence[UnderWay],
    now: float,
) -> dict[str, Any]:
    return {
        "saga": row,
        "track": track(row.steps, steps[row.type, row.definition], lists),
        "version": f" v{row.definition}" if row.definition != 1 else "",
        "why": why(row, lists),
        "took": (row.closed or now) - row.created,
    }


def why(row: SagaRow, lists: Sequence[UnderWay] = ()) -> str:
    """Why a saga is not on its way to completion, else which steps it is at."""
    if not row.reason:
        held = row.status == "waiting" and not row.current
        return "held by the saga that runs it" if held else ", ".join(folded(row.current, lists))
    return f"{row.reason_step}: {row.reason}" if row.reason_step else row.reason
