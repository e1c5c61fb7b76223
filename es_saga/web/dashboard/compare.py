"""Two runs side by side: attempt by attempt, and where they part."""

from __future__ import annotations

from collections.abc import Sequence

from es_saga.core.errors import InvalidInput
from es_saga.replay import compare
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit


def screens(pages: Pages) -> Sequence[Screen]:
    """The page; without two ids it asks for them."""

    async def gather(visit: Visit) -> Context:
        a, b = (visit.query.get(name, "").strip() for name in "ab")
        context: Context = {"a": a, "b": b, "found": None, "longest": 0.0}
        if not a and not b:
            return context
        if not a or not b:
            raise InvalidInput("It takes two sagas to compare.", hint="Give both ids.")
        one, other = await pages.desk.replay(a), await pages.desk.replay(b)
        found = await pages.desk.think(compare, one, other)
        ends = [
            side.begin + (side.seconds or 0.0)
            for row in found.rows
            for side in (row.a, row.b)
            if side is not None
        ]
        return context | {"found": found, "longest": max(ends, default=0.0) or 1.0}

    return [Screen("/compare", "compare.html", "compare", gather, live=False)]
