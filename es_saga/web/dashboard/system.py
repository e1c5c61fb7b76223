"""The system as this dashboard sees it: the log, the way to the process manager, and itself."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from es_saga.core.errors import SagaError
from es_saga.core.messages import PARTS
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit

LIBRARIES: Final = ("eventsourcing", "sqlalchemy", "pydantic", "nats-py", "fastapi")


def screens(pages: Pages) -> Sequence[Screen]:
    """The page."""

    async def gather(_visit: Visit) -> Context:
        desk = pages.desk
        end = await desk.ask(desk.feed.news.end)
        try:
            await desk.client()
            line: SagaError | None = None
        except SagaError as error:
            line = error
        return {
            "heads": [*enumerate(end.of)],
            "events": sum(end.of),
            "most": max(end.of, default=0) or 1,
            "parts": PARTS,
            "line": line,
            "streams": desk.feed.listeners,
            "watchers": desk.feed.watchers,
            "code": sorted(f"{name} v{number}" for name, number in desk.code),
            "versions": {"es-saga": version("es-saga"), "Python": platform.python_version()}
            | {name: version(name) for name in LIBRARIES},
        }

    return [Screen("/system", "system.html", "system", gather)]
