"""The audit trail of one saga: what happened, when, because of what, and through whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from es_saga.core.events import EVENTS
from es_saga.core.gist import gist
from es_saga.projections.queries import AuditRow
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit
from es_saga.web.dashboard.rendering import link, saga_path
from es_saga.web.dashboard.saga import head

EVENTS_SHOWN: Final = 200
"""Events on a page."""


def screens(pages: Pages) -> Sequence[Screen]:
    """The trail."""

    async def gather(visit: Visit) -> Context:
        desk, saga_id = pages.desk, visit.saga_id()
        after = _number(visit.query.get("after", "0"))
        around = await head(pages, visit, "history")
        rows = await desk.ask(desk.queries.history, saga_id, after=after, limit=EVENTS_SHOWN)
        began = around["saga"].created
        path = saga_path(saga_id, "history")
        more = rows[-1].version < around["saga"].version if rows else False
        return around | {
            "rows": [_row(row, began) for row in rows],
            "to_first": path if after else None,
            "to_next": link(path, after=rows[-1].version) if more else None,
        }

    return [Screen("/sagas/{saga_id}/history", "history.html", "sagas", gather)]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _row(row: AuditRow, began: float) -> dict[str, Any]:
    return {
        "event": row,
        "since": row.at - began,
        "gist": gist(EVENTS[row.kind].model_validate(row.payload)) if row.kind in EVENTS else "",
        "payload": {
            key: value
            for key, value in row.payload.items()
            if key not in ("at", "cause") and value is not None
        },
    }
