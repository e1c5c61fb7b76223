"""A durable consumer in memory: delivers, redelivers, and lets several handlers share."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from es_saga.adapters.dead_letters import MAX_DELIVER
from es_saga.adapters.subjects import covers
from es_saga.core.messages import Envelope
from es_saga.engine.ports import Clock, Consumer, Handler

FAILED_SECONDS: Final = 5.0
"""Before a message is delivered again whose handler raised."""

_log = structlog.get_logger("es_saga.memory")


class Place(Protocol):
    """What a consumer needs of the transport around it."""

    @property
    def clock(self) -> Clock: ...

    def later(self, seconds: float, work: Callable[[], object]) -> asyncio.Task[None]:
        """Do something once the clock has moved that far."""
        ...

    def bury(self, who: str, subject: str, envelope: Envelope, reason: str, detail: str) -> None:
        """Add a dead letter."""
        ...


class Message:
    """A stored message, as one consumer sees it."""

    __slots__ = ("delivered", "done", "envelope", "subject")

    def __init__(
        self, subject: str, envelope: Envelope, done: Callable[[], None] | None = None
    ) -> None:
        self.subject = subject
        self.envelope = envelope
        self.delivered = 0
        self.done = done
        """Called when it will never be delivered again."""


class MemoryDelivery:
    """A delivered message, see `es_saga.engine.ports.Delivery`."""

    __slots__ = ("_durable", "delivered", "due", "envelope", "message")

    def __init__(self, durable: Durable, message: Message, due: float) -> None:
        self._durable: Durable | None = durable
        self.message = message
        self.envelope: Envelope = message.envelope
        self.delivered: int = message.delivered
        self.due = due
        """When it is delivered again if nobody settles it."""

    @property
    def settled(self) -> bool:
        """Whether it has been acked, put back or put aside, or delivered again."""
        return self._durable is None

    def ack(self) -> None:
        """Done with it."""
        durable, self._durable = self._durable, None
        if durable is not None:
            durable.release(self.message)

    def nak(self, delay: float = 0.0) -> None:
        """Deliver it again, `delay` seconds from now; after the last delivery put it aside."""
        durable, self._durable = self._durable, None
        if durable is not None:
            durable.put_back(self.message, delay)

    def reject(self, reason: str, detail: str = "") -> None:
        """Put it among the dead letters, and never see it again."""
        durable, self._durable = self._durable, None
        if durable is not None:
            durable.put_aside(self.message, reason, detail)

    def expire(self) -> None:
        """Nobody settled it in time."""
        self.nak()


class Durable:
    """A durable consumer: its messages, and those who share them."""

    def __init__(self, place: Place, consumer: Consumer) -> None:
        self.handlers: list[Handler] = []
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._pending: deque[Message] = deque()
        self._unsettled = 0
        self._next = 0
        self._pumping = False
        # One queue for each waiting time: within one, the first delivered is the first due.
        self._deliveries: defaultdict[float, deque[MemoryDelivery]] = defaultdict(deque)
        self._sweeper: tuple[float, asyncio.Task[None]] | None = None
        self.update(consumer)

    def update(self, consumer: Consumer) -> None:
        """Take on settings, perhaps new ones."""
        self.consumer = consumer
        self.matches = _matcher(consumer.filter)
        self._waits = consumer.backoff or (consumer.ack_wait,)

    def offer(self, message: Message) -> None:
        """A new message."""
        self._pending.append(message)
        self.pump_soon()

    def release(self, message: Message) -> None:
        """A delivery is settled, for good."""
        self._unsettled -= 1
        if message.done is not None:
            message.done()
        if self._pending:
            self.pump_soon()

    def put_back(self, message: Message, delay: float) -> None:
        """Deliver again, or no more."""
        most = self.consumer.max_deliver
        if most is not None and message.delivered >= most:
            self.put_aside(message, MAX_DELIVER, f"delivered {message.delivered} times")
        elif delay > 0:
            # Still unsettled, as with NATS: what is to come back counts against the limit.
            self._place.later(delay, lambda: self._again(message))
        else:
            self._again(message)

    def put_aside(self, message: Message, reason: str, detail: str) -> None:
        """Never deliver again."""
        self.release(message)
        self._place.bury(self.consumer.name, message.subject, message.envelope, reason, detail)

    def _again(self, message: Message) -> None:
        self._unsettled -= 1
        self._pending.appendleft(message)
        self.pump_soon()

    def pump_soon(self) -> None:
        """Once a turn of the loop: what comes together is delivered together."""
        if not self._pumping and self.handlers:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        now = self._place.clock.now()
        most = self.consumer.max_ack_pending
        while self._pending and self.handlers and self._unsettled < most:
            message = self._pending.popleft()
            message.delivered += 1
            wait = self._waits[min(message.delivered, len(self._waits)) - 1]
            delivery = MemoryDelivery(self, message, now + wait)
            self._unsettled += 1
            waiting = self._deliveries[wait]
            while waiting and waiting[0].settled:
                waiting.popleft()
            waiting.append(delivery)
            self._next = (self._next + 1) % len(self.handlers)
            try:
                self.handlers[self._next](delivery)
            except Exception:
                _log.exception("handler_failed", consumer=self.consumer.name)
                delivery.nak(FAILED_SECONDS)
        self._watch(now)

    def _watch(self, now: float) -> None:
        """Be awake when the first delivery is due."""
        if not self._unsettled:
            return
        due = min((queue[0].due for queue in self._deliveries.values() if queue), default=None)
        if due is None or (self._sweeper is not None and self._sweeper[0] <= due):
            return
        if self._sweeper is not None:
            self._sweeper[1].cancel()
        self._sweeper = (due, self._place.later(max(0.0, due - now), self._sweep))

    def _sweep(self) -> None:
        self._sweeper = None
        now = self._place.clock.now()
        for waiting in self._deliveries.values():
            while waiting and (waiting[0].settled or waiting[0].due <= now):
                waiting.popleft().expire()
        self._watch(now)


def _matcher(filter: str) -> Callable[[str], bool]:
    if filter.endswith(".>") and "*" not in filter:
        prefix = filter[:-1]
        return lambda subject: subject.startswith(prefix) and len(subject) > len(prefix)
    return lambda subject: covers(filter, subject)
