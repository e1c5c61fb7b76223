"""The services, as the sagas know them: what they are asked, and how they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from es_saga.core.errors import InvalidInput, SagaError
from es_saga.engine.condition import Condition, conditions_of
from es_saga.web.dashboard.figures import USUALLY, WINDOWS
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit
from es_saga.web.desk import Line

CONDITION_SECONDS: Final = 1.0
"""How long participants may take to say how they are; the page waits for them."""


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
        names = [one.service for one in found]
        return {
            "participants": found,
            "conditions": await _conditions(desk.line, names),
            "window": window,
            "windows": WINDOWS,
            "courses": courses,
        }

    return [Screen("/participants", "participants.html", "participants", gather)]


async def _conditions(line: Line, names: Sequence[str]) -> Mapping[str, Condition]:
    """What they say of themselves; who does not answer is left out."""
    try:
        questions = await line.questions()
    except SagaError:
        return {}
    return await conditions_of(names, questions, tenant=line.tenant, within=CONDITION_SECONDS)
