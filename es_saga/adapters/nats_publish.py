"""Publishing that does not stop: pipelined, and sent again under the same id until confirmed.

    publish ─► waiting ─► in flight (at most WINDOW) ─► confirmed
                              ▲      │ no answer in time: sent again
                              └──────┤ refused: sent again after a pause
                                     │ no such stream: sent again once there is

nats-py's own ways raise in an outage, or never end after one.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
from nats.aio.msg import Msg

from es_saga.adapters.nats_link import Link
from es_saga.core.errors import InvalidInput, Unavailable

WINDOW: Final = 2_048
"""Messages sent and not confirmed. Further ones wait for their turn; callers bound how many."""

CONFIRM_SECONDS: Final = 5.0
"""After that an unconfirmed message is sent again."""

LOOK_SECONDS: Final = 0.5
"""How often the unconfirmed are looked through."""

PAUSE_SECONDS: Final = (0.05, 2.0)
"""Before a refused message is sent again: at first, and at most; doubled from one to the next."""

BATCH: Final = 100
"""Messages of one atomic batch."""

BATCHES_IN_FLIGHT: Final = 2
"""Atomic batches of one stream sent and not confirmed; while they are, the next one grows."""

MSG_ID: Final = "Nats-Msg-Id"
TTL: Final = "Nats-TTL"

_TOO_LARGE: Final = 10054
_TTL_DISABLED: Final = 10166
_log = structlog.get_logger("es_saga.nats")


class Outgoing:
    """A message on its way to a stream."""

    __slots__ = ("confirm_by", "future", "headers", "pauses", "payload", "stream", "subject")

    def __init__(
        self,
        stream: str,
        subject: str,
        payload: bytes,
        headers: dict[str, str],
        future: asyncio.Future[None],
    ) -> None:
        self.stream = stream
        self.subject = subject
        self.payload = payload
        self.headers = headers
        self.future = future
        self.confirm_by = 0.0
        self.pauses = 0


class _Lane:
    """One stream's messages; a full stream does not hold up another one."""

    __slots__ = ("held", "sendings", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Outgoing] = deque()
        self.held = 0
        """Messages in flight, paused or homeless: what counts against the window."""
        self.sendings = 0
        """Messages sent alone, and batches, that are not confirmed."""


class Publisher:
    """Sends to the streams. `need_streams` is called when one turns out to be missing."""

    def __init__(self, link: Link, need_streams: Callable[[], None], *, batches: bool) -> None:
        self._link = link
        self._need_streams = need_streams
        self._batches = batches
        self._loop = asyncio.get_running_loop()
        self._lanes: defaultdict[str, _Lane] = defaultdict(_Lane)
        self._flight: dict[int, list[Outgoing]] = {}
        """By token, the oldest first: one message, or an atomic batch."""
        self._paused: set[Outgoing] = set()
        self._homeless: list[Outgoing] = []
        self._token = 0
        self._ready = False
        self._pumping = False
        self._look: asyncio.TimerHandle | None = None
        self._refused = ""
        self._closed = False
        self._prefix = ""

    async def open(self) -> None:
        """Listen for confirmations."""
        self._prefix = f"{self._link.new_inbox()}."
        self._cut = len(self._prefix)
        self._batch_id = self._prefix.split(".")[1]
        await self._link.listen(f"{self._prefix}*", self._confirmed)

    @property
    def backlog(self) -> int:
        """Messages not confirmed yet."""
        return sum(len(lane.waiting) + lane.held for lane in self._lanes.values())

    def publish(
        self, stream: str, subject: str, payload: bytes, headers: dict[str, str]
    ) -> asyncio.Future[None]:
        """Send until confirmed. To be given up, the future is cancelled."""
        future: asyncio.Future[None] = self._loop.create_future()
        if self._closed:
            future.set_exception(Unavailable("The transport is closed."))
            return future
        self._lanes[stream].waiting.append(Outgoing(stream, subject, payload, headers, future))
        if not self._pumping:
            self._pump_soon()
        return future

    def pause(self) -> None:
        """The connection is gone: keep everything until `resume`."""
        self._ready = False

    def resume(self) -> None:
        """The streams are there: send everything that is not confirmed."""
        self._ready = True
        flight, self._flight = self._flight, {}
        homeless, self._homeless = self._homeless, []
        for lane in self._lanes.values():
            lane.sendings = 0
        self._take_back([*(item for items in flight.values() for item in items), *homeless])
        self._pump()

    async def close(self, within: float) -> None:
        """Wait up to `within` seconds for what is not confirmed, then give it up."""
        deadline = self._loop.time() + within
        while self._ready and self._loop.time() < deadline:
            futures = [item.future for item in self._everything() if not item.future.done()]
            if not futures:
                break
            await asyncio.wait(futures, timeout=min(deadline - self._loop.time(), LOOK_SECONDS))
        self._closed, self._ready = True, False
        if self._look is not None:
            self._look.cancel()
        for item in self._everything():
            if not item.future.done():
                item.future.set_exception(
                    Unavailable("The transport was closed before the message was confirmed.")
                )
        await self._link.unlisten(f"{self._prefix}*")

    def _everything(self) -> list[Outgoing]:
        flying = [item for items in self._flight.values() for item in items]
        waiting = [item for lane in self._lanes.values() for item in lane.waiting]
        return [*waiting, *flying, *self._paused, *self._homeless]

    # ── out ──────────────────────────────────────────────────────────────────────────────────────

    def _pump_soon(self) -> None:
        """Once a turn of the loop: what comes together goes together."""
        if self._ready and not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        if not self._ready:
            return
        for lane in self._lanes.values():
            waiting = lane.waiting
            if self._batches:
                while waiting and lane.held < WINDOW and lane.sendings < BATCHES_IN_FLIGHT:
                    batch = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]
                    self._launch(lane, batch)
            else:
                while waiting and lane.held < WINDOW:
                    self._launch(lane, [waiting.popleft()])
        if self._flight and self._look is None:
            self._look = self._loop.call_later(LOOK_SECONDS, self._look_through)

    def _launch(self, lane: _Lane, items: list[Outgoing]) -> None:
        self._token += 1
        lane.held += len(items)
        lane.sendings += 1
        if len(items) == 1:
            self._send(self._token, items)
            return
        token = self._token
        items[0].confirm_by = self._loop.time() + CONFIRM_SECONDS
        self._flight[token] = items
        reply = f"{self._prefix}{token}"
        batch = f"{self._batch_id}-{token}"
        for number, item in enumerate(items, 1):
            last = number == len(items)
            headers = {
                **item.headers,
                "Nats-Batch-Id": batch,
                "Nats-Batch-Sequence": str(number),
                **({"Nats-Batch-Commit": "1"} if last else {}),
            }
            self._link.send(item.subject, item.payload, reply if last else "", headers)

    def _send(self, token: int, items: list[Outgoing]) -> None:
        item = items[0]
        item.confirm_by = self._loop.time() + CONFIRM_SECONDS
        self._flight[token] = items
        self._link.send(item.subject, item.payload, f"{self._prefix}{token}", item.headers)

    # ── back ─────────────────────────────────────────────────────────────────────────────────────

    async def _confirmed(self, message: Msg) -> None:
        items = self._flight.pop(int(message.subject[self._cut :]), None)
        if items is None:
            return  # the confirmation of an earlier sending
        lane = self._land(items)
        if not message.data:
            self._homeless += items  # "no responders": nobody stores this subject
            lane.held += len(items)
            self._need_streams()
        elif b'"error"' in message.data:
            error: dict[str, Any] = json.loads(message.data).get("error", {})
            if len(items) > 1:
                self._one_by_one(lane, items)
            else:
                self._again(lane, items[0], error)
        else:
            self._refused = ""
            for item in items:
                if not item.future.done():
                    item.future.set_result(None)
        if not self._pumping:
            self._pump_soon()

    def _land(self, items: list[Outgoing]) -> _Lane:
        lane = self._lanes[items[0].stream]
        lane.held -= len(items)
        lane.sendings -= 1
        return lane

    def _one_by_one(self, lane: _Lane, items: list[Outgoing]) -> None:
        """A batch is refused whole for the sake of one, often an id the server knows already."""
        for item in items:
            if not item.future.done():
                self._launch(lane, [item])

    def _again(self, lane: _Lane, item: Outgoing, error: dict[str, Any]) -> None:
        code, text = error.get("err_code", 0), error.get("description", "")
        if code == _TOO_LARGE:
            if not item.future.done():
                item.future.set_exception(InvalidInput(f"NATS refuses {item.subject}: {text}."))
            return
        if code == _TTL_DISABLED:
            item.headers.pop(TTL, None)
        if text != self._refused:  # once for many: a full stream refuses them all
            self._refused = text
            _log.warning("publish_refused", subject=item.subject, code=code, error=text)
        first, most = PAUSE_SECONDS
        pause = min(most, first * 2.0 ** min(item.pauses, 10)) * random.uniform(0.75, 1.25)
        item.pauses += 1
        self._paused.add(item)
        lane.held += 1
        self._loop.call_later(pause, self._unpause, item)

    def _unpause(self, item: Outgoing) -> None:
        if item in self._paused:
            self._paused.discard(item)
            self._take_back([item])
            self._pump()

    def _take_back(self, items: Sequence[Outgoing]) -> None:
        """Back to the front of those that wait, without those nobody waits for any more."""
        for item in reversed(items):
            lane = self._lanes[item.stream]
            lane.held -= 1
            if not item.future.done():
                lane.waiting.appendleft(item)

    def _look_through(self) -> None:
        """Send again what has not been confirmed in time."""
        self._look = None
        now = self._loop.time()
        late: list[int] = []
        for token, items in self._flight.items():
            if items[0].confirm_by > now:
                break  # the oldest come first
            late.append(token)
        if late and self._ready:
            _log.warning("publish_unconfirmed", messages=len(late))
            for token in late:
                items = self._flight.pop(token)
                if len(items) > 1:
                    self._one_by_one(self._land(items), items)
                elif items[0].future.done():
                    self._land(items)
                else:
                    # Under its old token: a server slower than our patience still gets through.
                    self._send(token, items)
        self._pump()
        if self._flight and self._look is None and not self._closed:
            self._look = self._loop.call_later(LOOK_SECONDS, self._look_through)
