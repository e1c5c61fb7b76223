"""The read models: how far each has come in the log, and why it stands still if it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from es_saga.projections.progress import Progress
from es_saga.web.dashboard.looks import Look
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit

STANDS = Look("bad", "stuck", "stands still")
FOLLOWS = Look("run", "run", "catching up")
UP_TO_DATE = Look("good", "done", "up to date")


def screens(pages: Pages) -> Sequence[Screen]:
    """The page. How to make one anew is told, not done: that takes the database's owner."""

    async def gather(_visit: Visit) -> Context:
        desk = pages.desk
        found = await desk.ask(desk.progresses.of, [*desk.views])
        return {"projections": [_shown(one, inline=desk.views[one.name]) for one in found]}

    return [Screen("/projections", "projections.html", "projections", gather)]


def _shown(one: Progress, *, inline: bool) -> dict[str, Any]:
    look = STANDS if one.error else FOLLOWS if one.behind else UP_TO_DATE
    return {
        "progress": one,
        "inline": inline,
        "look": look,
        "share": 100.0 if not one.head else round(100 * one.position / one.head, 2),
        "waiting": [part for part in one.parts if part.position < part.head],
    }
