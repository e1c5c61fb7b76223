"""The one stream of a page: its live regions, whenever the log has moved.

Each message is the regions that changed, and its id is the place in the log that they are true for;
a browser that comes back says the last one, and goes on from there. At most four a second: what
happens in between is seen together. A browser that hides the page hangs up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from es_saga.core.errors import InvalidInput, SagaError, Unavailable
from es_saga.projections.news import Positions
from es_saga.web.dashboard.page import Pages, Screen, Visit
from es_saga.web.dashboard.shield import HEADERS
from es_saga.web.faults import come_back
from es_saga.web.feed import Listener, Wanted

LEAST_SECONDS: Final = 0.25
"""Between two messages."""

RETRY_MILLISECONDS: Final = 1_000
"""When a browser comes back after it lost us, at first."""


class LiveStream(Response):
    """The stream of a page."""

    media_type = "text/event-stream"

    def __init__(self, pages: Pages, screen: Screen, request: Request) -> None:
        super().__init__()
        self._pages = pages
        self._screen = screen
        self._request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._pages.caller(self._request) is None:
            await Response(status_code=401)(scope, receive, send)
            return
        try:
            async with self._listening() as listener:
                told = StreamingResponse(
                    self._told(listener), media_type=self.media_type, headers=dict(HEADERS)
                )
                await told(scope, receive, send)
        except Unavailable as error:  # before anything was sent: afterwards they end the stream
            wait = come_back(error.retry_after)
            await Response(status_code=503, headers=wait)(scope, receive, send)

    @asynccontextmanager
    async def _listening(self) -> AsyncGenerator[Listener, None]:
        """From the place that the browser was at; if that is none, from now on."""
        feed = self._pages.desk.feed
        wanted = Wanted(saga_id=self._request.path_params.get("saga_id"))
        async with AsyncExitStack() as stack:
            try:
                last = self._request.headers.get("last-event-id")
                seen = Positions.read(last) if last else None
                listener = await stack.enter_async_context(feed.listening(wanted, seen))
            except InvalidInput:
                listener = await stack.enter_async_context(feed.listening(wanted))
            yield listener

    async def _told(self, listener: Listener) -> AsyncGenerator[str, None]:
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        async for message in _messages(self._pages, self._screen, self._request, listener):
            yield message


async def _messages(
    pages: Pages, screen: Screen, request: Request, listener: Listener
) -> AsyncGenerator[str, None]:
    clock = asyncio.get_running_loop().time
    shown: dict[str, str] | None = None
    earliest = 0.0
    while not listener.over:
        caller = pages.caller(request)
        if caller is None:  # logged out, or the session has ended
            return
        # The first one is told at once: something may have happened since the page was made.
        page = None if shown is None else await listener.page(screen.refresh)
        while page is not None and (left := earliest - clock()) > 0:
            page = await listener.page(left)
        try:
            regions = await pages.regions(screen, Visit(request, caller))
        except SagaError:
            await asyncio.sleep(1.0)
            continue
        before = shown or {}
        fresh = {name: text for name, text in regions.items() if before.get(name) != text}
        shown = regions
        if fresh:
            yield message(listener.seen.written(), fresh)
        else:
            yield ": still here\n\n"
        earliest = clock() + LEAST_SECONDS


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
