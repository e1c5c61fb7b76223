"""Server-sent events: the log as it grows, over one HTTP answer that does not end.

Every message has an id that says how far the log has been told; a client that comes back with the
last one it saw (`Last-Event-ID`, which browsers send by themselves) misses nothing and gets nothing
twice. One message an event of a saga, or, for those who draw, at most four messages a second that
say which sagas changed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, Final

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from es_saga.core.errors import SagaError
from es_saga.projections.news import Happening, Positions
from es_saga.web import faults
from es_saga.web.feed import Feed, Listener, Wanted

HEARTBEAT_SECONDS: Final = 15.0
"""A line at least so often, so that nobody in between takes the connection for dead."""

COALESCED_SECONDS: Final = 0.25
"""Time between two messages for those who draw."""

MAX_CHANGED: Final = 500
"""Sagas named in one such message; when there are more it says so."""

RETRY_MILLISECONDS: Final = 2_000
"""When a browser that lost the connection should come back."""

LIFETIME_SECONDS: Final = 3_600.0
"""How long a stream lasts; the client comes back, and shows again that it may."""


class EventStream(Response):
    """An answer of server-sent events.

    Raises, before anything is sent:
        Unavailable: the database is out of reach, or there is no room for another stream.
        InvalidInput: `after` is beyond the log's end.
    """

    media_type = "text/event-stream"

    def __init__(
        self, feed: Feed, wanted: Wanted, after: Positions | None, *, coalesced: bool
    ) -> None:
        super().__init__()
        self._feed = feed
        self._wanted = wanted
        self._after = after
        self._tell = _changes if coalesced else _happenings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._feed.listening(self._wanted, self._after) as listener:
            told = StreamingResponse(
                _to_the_end(listener, self._tell(listener)),
                media_type=self.media_type,
                headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            )
            await told(scope, receive, send)


async def _to_the_end(
    listener: Listener, told: AsyncGenerator[str, None]
) -> AsyncGenerator[str, None]:
    loop = asyncio.get_running_loop()
    end = loop.call_later(LIFETIME_SECONDS, listener.end)
    yield f"retry: {RETRY_MILLISECONDS}\n{_place(listener)}"
    try:
        async for message in told:
            yield message
    except SagaError as error:  # the client comes back, and is told by a status then
        yield f"event: error\ndata: {faults.event(faults.fault_of(error))}\n\n"
    finally:
        end.cancel()


async def _happenings(listener: Listener) -> AsyncGenerator[str, None]:
    """Every event, one message each."""
    while not listener.over:
        before = listener.seen
        page = await listener.page(HEARTBEAT_SECONDS)
        if page is None or not page.happenings:
            if page is None and not listener.over:
                yield f": still here\n{_place(listener)}"
            continue
        # In the order of time, parts alternate: the place is known after each one of them.
        place = before
        for happening in page.happenings[:-1]:
            place = place.after(happening.part, happening.position)
            yield _message("saga", place, _shown(happening))
        yield _message("saga", listener.seen, _shown(page.happenings[-1]))


async def _changes(listener: Listener) -> AsyncGenerator[str, None]:
    """Which sagas changed, at most every COALESCED_SECONDS."""
    loop = asyncio.get_running_loop()
    changed: dict[str, Happening] = {}
    events, more, earliest = 0, False, 0.0
    while not listener.over:
        patience = max(0.0, earliest - loop.time()) if events else HEARTBEAT_SECONDS
        page = await listener.page(patience)
        for happening in page.happenings if page else ():
            events += 1
            if happening.saga_id in changed or len(changed) < MAX_CHANGED:
                changed[happening.saga_id] = happening
            else:
                more = True
        if events and loop.time() >= earliest:
            sagas = [_changed(happening) for happening in changed.values()]
            yield _message(
                "changes", listener.seen, {"events": events, "more": more, "sagas": sagas}
            )
            changed, events, more = {}, 0, False
            earliest = loop.time() + COALESCED_SECONDS
        elif page is None and not events and not listener.over:
            yield f": still here\n{_place(listener)}"


def _place(listener: Listener) -> str:
    """An id without data: the client remembers it, and nobody is told of anything."""
    return f"id: {listener.seen.written()}\n\n"


def _message(name: str, place: Positions, data: dict[str, Any]) -> str:
    # JSON has no raw line breaks, so it is one line of data whatever stands in it.
    return f"event: {name}\nid: {place.written()}\ndata: {json.dumps(data)}\n\n"


def _shown(happening: Happening) -> dict[str, Any]:
    return {
        "saga_id": happening.saga_id,
        "type": happening.saga_type,
        "version": happening.version,
        "kind": happening.kind,
        "step": happening.step,
        "at": happening.at,
        "status": happening.status,
        "part": happening.part,
        "position": happening.position,
    }


def _changed(happening: Happening) -> dict[str, Any]:
    return {
        "saga_id": happening.saga_id,
        "type": happening.saga_type,
        "version": happening.version,
        "status": happening.status,
    }
