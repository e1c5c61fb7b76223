"""Diagrams: of saga types, and of sagas that ran."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Response

from es_saga.diagrams import (
    definition_dot,
    definition_mermaid,
    definition_svg,
    sequence_mermaid,
    sequence_svg,
    timeline_svg,
)
from es_saga.diagrams.plan import Source
from es_saga.web.api.definitions import TypeName, TypeVersion
from es_saga.web.api.inputs import SagaId
from es_saga.web.callers import Here, Reader

router = APIRouter(tags=["diagrams"])

SVG: Final = "image/svg+xml"
MERMAID: Final = "text/vnd.mermaid"
DOT: Final = "text/vnd.graphviz"


def _pictures(*media: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {one: {"schema": {"type": "string"}} for one in media}}}


@router.get(
    "/definitions/{saga_type}/{version}/diagram",
    response_class=Response,
    responses=_pictures(SVG, MERMAID, DOT),
)
async def diagram_of_definition(
    saga_type: TypeName,
    version: TypeVersion,
    desk: Here,
    _caller: Reader,
    format: Annotated[
        Literal["svg", "mermaid", "dot"], Query(description="SVG, Mermaid or Graphviz.")
    ] = "svg",
) -> Response:
    """A saga type as a graph: its steps, what undoes them, and the point of no return."""
    row = await desk.ask(desk.queries.definition, saga_type, version)
    draw: Callable[[Source], str]
    draw, media = {
        "svg": (definition_svg, SVG),
        "mermaid": (definition_mermaid, MERMAID),
        "dot": (definition_dot, DOT),
    }[format]
    source = desk.code.get((saga_type, version)) or row.shape
    return Response(await desk.think(draw, source), media_type=media)


@router.get("/sagas/{saga_id}/diagram", response_class=Response, responses=_pictures(SVG, MERMAID))
async def diagram_of_saga(
    saga_id: SagaId,
    desk: Here,
    _caller: Reader,
    format: Annotated[
        Literal["sequence", "mermaid", "timeline"],
        Query(description="Who said what, as SVG or Mermaid; or attempts over time, as SVG."),
    ] = "sequence",
) -> Response:
    """How one saga ran; sensitive values are hidden."""
    replay = await desk.replay(saga_id)
    if format == "mermaid":
        text = await desk.think(sequence_mermaid, saga_id, replay.events)
        return Response(text, media_type=MERMAID)
    if format == "sequence":
        return Response(await desk.think(sequence_svg, saga_id, replay.events), media_type=SVG)
    origin = replay.state.origin
    row = await desk.ask(desk.queries.definition, origin.saga_type, origin.definition)
    drawn = await desk.think(timeline_svg, saga_id, replay.events, row.shape)
    return Response(drawn, media_type=SVG)
