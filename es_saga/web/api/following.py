"""The stream of what happens."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from es_saga.projections.news import Positions
from es_saga.web.api.inputs import Missing, Name, OptionalId
from es_saga.web.callers import Here, Reader
from es_saga.web.feed import Wanted
from es_saga.web.stream import EventStream

router = APIRouter(tags=["events"])

Place = Annotated[str, Field(pattern=r"^[0-9a-z]{1,12}(\.[0-9a-z]{1,12}){15}$")]
"""The id of an event, see `es_saga.projections.news.Positions`."""

_EXAMPLE: Final = (
    "event: saga\nid: 0.0.0.0.0.0.0.0.0.0.0.0.0.7.0.0\n"
    'data: {"saga_id": "order-1", "type": "order", "version": 7, "kind": "StepSucceeded", '
    '"step": "charge", "at": 1700000000.0, "status": "running", "part": 13, "position": 7}\n\n'
)


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events, until the client has enough.",
            "content": {"text/event-stream": {"example": _EXAMPLE}},
        }
    },
)
async def events(
    desk: Here,
    _caller: Reader,
    saga: Annotated[OptionalId, Query(description="Only what happens to this saga.")] = None,
    type: Annotated[
        Name | Missing,
        Query(description="Only sagas of this type."),
    ] = None,
    coalesce: Annotated[
        bool,
        Query(description="At most four messages a second, each with the sagas that changed."),
    ] = False,
    after: Annotated[
        Place | Missing, Query(description="As Last-Event-ID, for a first connection.")
    ] = None,
    last_event_id: Annotated[
        Place | Missing, Header(description="Id of the last event that was seen.")
    ] = None,
) -> Response:
    """What happens from now on, or since `Last-Event-ID`: nothing is missed, nothing comes twice.

    `event: saga` tells of one event of a saga; with `coalesce`, `event: changes` names the sagas
    that changed. An id is how far each part of the log has been told. A client that does not read
    is dropped; it comes back with its last id.
    """
    given = last_event_id or after
    place = Positions.read(given) if given else None
    return EventStream(desk.feed, Wanted(saga, type), place, coalesced=coalesce)
