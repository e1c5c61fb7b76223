"""One saga over time: its lane forward, the mirrored lane back, attempts, waits, the pivot."""

from __future__ import annotations

from collections.abc import Sequence

from es_saga.diagrams import timeline_svg
from es_saga.web.dashboard import saga
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit


def screens(pages: Pages) -> Sequence[Screen]:
    """The first page of a saga."""

    async def gather(visit: Visit) -> Context:
        desk = pages.desk
        around = await saga.head(pages, visit, "timeline")
        row = around["saga"]
        replay = await desk.replay(row.saga_id)
        shape = await pages.shapes.of(row.type, row.definition)
        picture = await desk.think(timeline_svg, row.saga_id, replay.events, shape)
        return around | {"picture": picture, "steps": saga.steps_of(row)}

    return [Screen("/sagas/{saga_id}", "timeline.html", "sagas", gather)]
