"""The services, as the sagas know them: what they are asked, and how they answer."""

from __future__ import annotations

from collections.abc import Sequence

from es_saga.core.errors import InvalidInput
from es_saga.web.dashboard.figures import USUALLY, WINDOWS
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit


def screens(pages: Pages) -> Sequence[Screen]:
    """The page."""

    async def gather(visit: Visit) -> Context:
        window = visit.query.get("within", USUALLY)
        if window not in WINDOWS:
            known = ", ".join(WINDOWS)
            raise InvalidInput(f"{window[:40]!r} is no window of time.", hint=f"One of: {known}.")
        desk = pages.desk
        found = await desk.ask(
            desk.queries.participants, within=float(WINDOWS[window].seconds), now=visit.now
        )
        courses = await pages.observatory.courses()
        return {"participants": found, "window": window, "windows": WINDOWS, "courses": courses}

    return [Screen("/participants", "participants.html", "participants", gather)]
