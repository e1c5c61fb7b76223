"""What was said between the process manager and the participants, as a sequence diagram."""

from __future__ import annotations

from collections.abc import Sequence

from es_saga.diagrams import sequence_mermaid, sequence_svg
from es_saga.web.dashboard import saga
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit


def screens(pages: Pages) -> Sequence[Screen]:
    """The page."""

    async def gather(visit: Visit) -> Context:
        desk, saga_id = pages.desk, visit.saga_id()
        around = await saga.head(pages, visit, "messages")
        replay = await desk.replay(saga_id)
        return around | {
            "picture": await desk.think(sequence_svg, saga_id, replay.events),
            "mermaid": await desk.think(sequence_mermaid, saga_id, replay.events),
        }

    return [Screen("/sagas/{saga_id}/messages", "messages.html", "sagas", gather)]
