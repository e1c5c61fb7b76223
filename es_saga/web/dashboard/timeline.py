"""One saga over time: its lane forward, the mirrored lane back, attempts, waits, the pivot."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from es_saga.diagrams import timeline_svg
from es_saga.web.dashboard import saga
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit
from es_saga.web.dashboard.steps import groups, told


def screens(pages: Pages) -> Sequence[Screen]:
    """The first page of a saga."""

    async def gather(visit: Visit) -> Context:
        desk = pages.desk
        around = await saga.head(pages, visit, "timeline")
        row = around["saga"]
        replay = await desk.replay(row.saga_id)
        shape = await pages.shapes.of(row.type, row.definition)
        draw = partial(timeline_svg, now=visit.now)
        picture = await desk.think(draw, row.saga_id, replay.events, shape)
        steps = told(row, around["plan"], replay.state.past)
        unfolded = visit.query.get("each", "")
        return around | {"picture": picture, "steps": [*groups(steps, unfolded)]}

    return [Screen("/sagas/{saga_id}", "timeline.html", "sagas", gather)]
