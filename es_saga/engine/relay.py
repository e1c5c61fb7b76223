"""Publishing what was committed, and remembering how far that has got.

The log is the outbox. Commands are published straight from the committed batch; the position up to
which the broker has confirmed everything is written down now and then. A new owner of the part
reads the log from there and publishes again what is still in flight, under the same message ids.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

import structlog

from es_saga.core.errors import InvalidInput
from es_saga.core.messages import Envelope
from es_saga.engine.outgoing import Outgoing
from es_saga.engine.ports import Transport

MAX_UNCONFIRMED = 2_000
"""Publishes of one part that may await the broker's word; then the part waits."""

MAX_LEFT = 10_000
"""Events of one part that are read again, at most, for what an owner had to leave unpublished."""

_log = structlog.get_logger("es_saga.relay")


class _Batch:
    """The publishes up to one position."""

    __slots__ = ("position", "waiting")

    def __init__(self, position: int) -> None:
        self.position = position
        self.waiting = 0


class Relay:
    """The outbox of one part."""

    def __init__(
        self, transport: Transport, undeliverable: Callable[[Envelope, str], None]
    ) -> None:
        self._transport = transport
        self._undeliverable = undeliverable
        self._batches: deque[_Batch] = deque()
        self._unconfirmed = 0
        self._changed = asyncio.Event()
        self._behind = 0
        self.position = 0
        """Everything up to here has been published and confirmed."""

    def send(self, position: int, messages: Iterable[Outgoing]) -> None:
        """Publish what the events up to `position` ask for; positions come in order."""
        batch = _Batch(position)
        for subject, envelope, ttl in messages:
            batch.waiting += 1
            self._unconfirmed += 1
            future = self._transport.publish(subject, envelope, ttl=ttl)
            future.add_done_callback(
                lambda done, batch=batch, envelope=envelope: self._confirmed(done, batch, envelope)  # type: ignore[misc]
            )
        self._batches.append(batch)
        self._advance()

    def leave(self) -> None:
        """Let the position be: something after it is not ours to publish, but the next owner's."""
        self._behind = MAX_LEFT

    def _confirmed(self, done: asyncio.Future[None], batch: _Batch, envelope: Envelope) -> None:
        self._unconfirmed -= 1
        batch.waiting -= 1
        if done.cancelled():
            return  # closed: the next owner publishes it
        error = done.exception()
        if isinstance(error, InvalidInput):
            self._undeliverable(envelope, error.message)
        elif error is not None:
            _log.warning("not_published", message=envelope.id, error=str(error))
            batch.waiting += 1  # holds the position back: the next owner publishes it
        self._advance()

    def _advance(self) -> None:
        batches = self._batches
        while batches and batches[0].waiting == 0:
            self.position = max(self.position, batches.popleft().position - self._behind)
        self._changed.set()

    async def room(self) -> None:
        """Wait until the broker has confirmed enough that more may be published."""
        await self._until(lambda: self._unconfirmed < MAX_UNCONFIRMED)

    async def drained(self) -> None:
        """Wait until everything is confirmed."""
        await self._until(lambda: not self._batches)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()
