"""The one stream of a page: its live regions, whenever the log has moved.

Each message is the regions that changed, and its id is the place in the log that they are true for;
a browser that comes back says the last one, and goes on from there. At most four a second: what
happens in between is seen together. A browser that hides the page hangs up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from es_saga.core.errors import InvalidInput, SagaError
from es_saga.projections.news import Positions
from es_saga.web.dashboard.page import Pages, Screen, Visit
from es_saga.web.dashboard.shield import HEADERS
from es_saga.web.feed import Listener, Wanted

LEAST_SECONDS: Final = 0.25
"""Between two messages."""

REFRESH_SECONDS: Final = 5.0
"""A page is looked at again after this long though nothing happened: figures fade with time."""

RETRY_MILLISECONDS: Final = 1_000
"""When a browser comes back after it lost us, at first."""


async def stream(pages: Pages, screen: Screen, request: Request) -> Response:
    """The stream of a page."""
    caller = pages.caller(request)
    if caller is None:
        return Response(status_code=401)
    last = request.headers.get("last-event-id") or request.query_params.get("at", "")
    try:
        seen = Positions.read(last) if last else None
    except InvalidInput:
        seen = None
    wanted = Wanted(saga_id=request.path_params.get("saga_id"))
    listening = pages.desk.feed.listening(wanted, seen)
    try:
        listener = await listening.__aenter__()
    except SagaError:
        return Response(status_code=503, headers={"Retry-After": "1"})

    async def body() -> AsyncGenerator[str, None]:
        try:
            yield f"retry: {RETRY_MILLISECONDS}\n\n"
            async for message in _messages(pages, screen, request, listener):
                yield message
        finally:
            await listening.__aexit__(None, None, None)

    return StreamingResponse(body(), media_type="text/event-stream", headers=dict(HEADERS))


async def _messages(
    pages: Pages, screen: Screen, request: Request, listener: Listener
) -> AsyncGenerator[str, None]:
    clock = asyncio.get_running_loop().time
    shown: dict[str, str] = {}
    earliest = 0.0
    while not listener.over:
        caller = pages.caller(request)
        if caller is None:  # logged out, or the session has ended
            return
        # The first one is told at once: something may have happened since the page was made.
        page = await listener.page(REFRESH_SECONDS) if shown else None
        while page is not None and (left := earliest - clock()) > 0:
            page = await listener.page(left)
        earliest = clock() + LEAST_SECONDS
        try:
            regions = await pages.regions(screen, Visit(request, caller))
        except SagaError:
            await asyncio.sleep(1.0)
            continue
        fresh = {name: text for name, text in regions.items() if shown.get(name) != text}
        shown = regions
        if fresh:
            yield message(listener.seen.written(), fresh)
        else:
            yield ": still here\n\n"


def message(place: str, regions: dict[str, str]) -> str:
    """Regions as htmx takes them: each with the element it belongs into.

    >>> print(message("0.1", {"live_counts": "<b>2</b>"}), end="")
    id: 0.1
    data: <hx-partial hx-target="#live_counts" hx-swap="innerMorph"><b>2</b></hx-partial>
    <BLANKLINE>
    """
    text = Markup("").join(
        Markup('<hx-partial hx-target="#{}" hx-swap="innerMorph">{}</hx-partial>').format(
            name, Markup(region)
        )
        for name, region in regions.items()
    )
    lines = "\n".join(f"data: {line}" for line in text.splitlines())
    return f"id: {place}\n{lines}\n\n"
