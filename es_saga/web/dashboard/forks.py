"""What if somebody had answered otherwise: the other ending of a saga, told in memory only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from es_saga.core.compiled import Definition
from es_saga.core.errors import SagaError
from es_saga.core.gist import gist
from es_saga.core.sensitive import SensitiveFields
from es_saga.diagrams import timeline_svg
from es_saga.replay import Fork, refusals_of, what_if
from es_saga.web.dashboard.page import Context, Pages

ANSWERS = ("done", "fail", "timeout")
"""What every step may have been answered with, besides refusals."""


async def fork_of(
    pages: Pages, definition: Definition, saga_id: str, query: Mapping[str, str]
) -> Context:
    """What the page shows of a fork: the choice, and the other ending if one was asked for."""
    known = sorted(refusals_of(definition))
    step, answer = query.get("if", ""), query.get("says", "")
    found: Context = {
        "steps": [*definition.steps],
        "answers": [*known, *ANSWERS],
        "step": step,
        "answer": answer,
        "told": None,
        "error": None,
    }
    if not step or not answer:
        return found
    try:
        real = await pages.desk.history(saga_id)
        fork = await pages.desk.think(what_if, definition, real, {step: answer})
        found["told"] = await pages.desk.think(_told, definition, fork)
    except SagaError as error:  # it says why that cannot have been
        found["error"] = error
    return found


def _told(definition: Definition, fork: Fork) -> dict[str, Any]:
    hidden = SensitiveFields(definition.sensitive)
    events = [hidden.event(event) for event in fork.replay.events]
    state = fork.replay.state
    began, at = events[0].at, fork.version or len(events) + 1
    return {
        "status": state.status.value,
        "reason": state.failure,
        "version": fork.version,
        "notes": fork.notes,
        "events": [
            {
                "version": number,
                "kind": type(event).__name__,
                "step": getattr(event, "step", None),
                "since": event.at - began,
                "gist": gist(event),
            }
            for number, event in enumerate(events, 1)
            if number >= at
        ],
        "picture": timeline_svg(fork.replay.saga_id, events, definition),
    }
