"""What went wrong, grouped by cause: a hundred sagas that failed alike are one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from es_saga.core.errors import InvalidInput
from es_saga.projections.incidents import Incident
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit
from es_saga.web.dashboard.rendering import link

SPANS: Final = {"1h": 3_600.0, "24h": 86_400.0, "7d": 7 * 86_400.0, "30d": 30 * 86_400.0}
"""How far back one may look, in seconds."""

USUALLY: Final = "24h"


def screens(pages: Pages) -> Sequence[Screen]:
    """The page."""

    async def gather(visit: Visit) -> Context:
        desk, query = pages.desk, visit.query
        span = query.get("since", USUALLY)
        if span not in SPANS:
            raise InvalidInput(f"{span[:40]!r} is no span.", hint=f"One of: {', '.join(SPANS)}.")
        saga_type = query.get("type")
        found = await desk.ask(
            desk.queries.incidents, since=visit.now - SPANS[span], saga_type=saga_type
        )
        most = max((one.count for one in found.rows), default=1)
        return {
            "incidents": [_shown(one, span, most) for one in found.rows],
            "total": sum(one.count for one in found.rows),
            "looked_back_to": found.looked_back_to,
            "span": span,
            "spans": SPANS,
            "type": saga_type,
            "types": await desk.ask(desk.queries.types),
        }

    return [Screen("/incidents", "incidents.html", "incidents", gather)]


def _shown(one: Incident, span: str, most: int) -> dict[str, Any]:
    piece = max(one.cause.split("…"), key=len).strip()
    since = span if span in ("1h", "24h", "7d") else None
    failing = "compensating,stuck,compensated,compensated-with-exceptions"
    return {
        "incident": one,
        "share": round(100 * one.count / most, 1),
        "path": link("/sagas", type=one.type, status=failing, reason=piece[:200], since=since),
    }
