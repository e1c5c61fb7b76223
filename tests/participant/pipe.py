"""A transport under the test's control: it delivers when told, and confirms when told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from es_saga.core.messages import Envelope
from es_saga.engine.ports import Consumer, Handler


class Letter:
    """A delivery that remembers how it was settled."""

    def __init__(self, envelope: Envelope, delivered: int) -> None:
        self.envelope = envelope
        self.delivered = delivered
        self.settled: list[tuple[object, ...]] = []

    def ack(self) -> None:
        self.settled.append(("ack",))

    def nak(self, delay: float = 0.0) -> None:
        self.settled.append(("nak", delay))

    def reject(self, reason: str, detail: str = "") -> None:
        self.settled.append(("reject", reason, detail))


class Pipe:
    """Confirms what is published at once, unless `confirming` is off."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Envelope]] = []
        self.told: list[tuple[str, Envelope]] = []
        self.confirming = True
        self.on_publish: Callable[[], None] = lambda: None
        self.stopped = False
        self._unconfirmed: list[asyncio.Future[None]] = []
        self.consumer: Consumer | None = None
        self._handler: Handler | None = None

    @property
    def connected(self) -> bool:
        return True

    def publish(
        self, subject: str, envelope: Envelope, *, ttl: float | None = None
    ) -> asyncio.Future[None]:
        self.on_publish()
        self.published.append((subject, envelope))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unconfirmed.append(future)
        if self.confirming:
            self.confirm()
        return future

    def confirm(self, error: Exception | None = None) -> None:
        for future in self._unconfirmed:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
        self._unconfirmed.clear()

    def tell(self, address: str, envelope: Envelope) -> None:
        self.told.append((address, envelope))

    async def request(self, subject: str, envelope: Envelope, *, timeout: float) -> Envelope:
        raise NotImplementedError

    async def consume(self, consumer: Consumer, handler: Handler) -> Pipe:
        self.consumer, self._handler = consumer, handler
        return self

    async def stop(self) -> None:
        self.stopped = True

    async def close(self) -> None:
        pass

    def deliver(self, envelope: Envelope, delivered: int = 1) -> Letter:
        assert self._handler is not None
        letter = Letter(envelope, delivered)
        self._handler(letter)
        return letter
