"""A continuous puller: pull requests are kept open at a durable consumer, watched by heartbeats.

nats-py's `fetch` costs more than twice as much a message, sits out its timeout after an outage, and
returns nothing, without a word, once its consumer is gone.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
from nats.aio.msg import Msg

from es_saga.adapters.cloudevents import Unreadable, decode
from es_saga.adapters.dead_letters import MAX_DELIVER
from es_saga.adapters.nats_link import Link
from es_saga.core.messages import Envelope
from es_saga.engine.ports import Consumer, Handler

BATCH: Final = 256
"""Messages one pull request asks for, at most; two are kept open."""

EXPIRES_SECONDS: Final = 30.0
"""Life of a pull request."""

HEARTBEAT_SECONDS: Final = 5.0
"""How often the server shows that a pull request is still open."""

SILENCE: Final = 2.5
"""Heartbeats missed until the pull requests count as lost."""

REFUSED_SECONDS: Final = 1.0
"""Pause after the server had too many pull requests."""

FAILED_SECONDS: Final = 5.0
"""Before a message is delivered again whose handler raised."""

MAX_HELD: Final = 10_000
"""Settlements kept during an outage; the messages of lost ones are delivered again."""

_NS: Final = 1_000_000_000
_log = structlog.get_logger("es_saga.nats")


class Arrival:
    """A message as it came, and what is needed to settle it."""

    __slots__ = ("_puller", "created", "message")

    def __init__(self, puller: Puller, message: Msg, created: str) -> None:
        self._puller: Puller | None = puller
        self.message = message
        self.created = created
        """When its stream was created: in another stream its number means another message."""

    @property
    def delivered(self) -> int:
        """How often it has been delivered, this time included."""
        return self._number(4)

    @property
    def sequence(self) -> int:
        """Its number in the stream."""
        return self._number(5)

    def _number(self, place: int) -> int:
        # $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.… are nine tokens; a server that knows
        # domains puts domain and account before the stream.
        tokens = self.message.reply.split(".")
        return int(tokens[place if len(tokens) == 9 else place + 2])

    def _take(self) -> Puller | None:
        """The puller, to whoever settles first: a message is settled once."""
        puller, self._puller = self._puller, None
        return puller


class NatsDelivery(Arrival):
    """A readable message from JetStream, see `es_saga.engine.ports.Delivery`."""

    __slots__ = ("envelope",)

    def __init__(self, puller: Puller, message: Msg, created: str, envelope: Envelope) -> None:
        self._puller = puller
        self.message = message
        self.created = created
        self.envelope: Envelope = envelope

    def ack(self) -> None:
        """Done with it."""
        puller = self._take()
        if puller is not None:
            puller.settle(self, b"")

    def nak(self, delay: float = 0.0) -> None:
        """Deliver it again, `delay` seconds from now; after the last delivery put it aside."""
        puller = self._take()
        if puller is None:
            return
        most = puller.consumer.max_deliver
        if most is not None and self.delivered >= most:
            puller.put_aside(self, MAX_DELIVER, f"delivered {self.delivered} times", self.envelope)
        else:
            puller.put_back(self, delay)

    def reject(self, reason: str, detail: str = "") -> None:
        """Put it among the dead letters, and never see it again."""
        puller = self._take()
        if puller is not None:
            puller.put_aside(self, reason, detail, self.envelope)


PutAside = Callable[["Puller", Arrival, str, str, Envelope | None], None]
"""Publishes a dead letter (reason, detail, what could be read), then terminates the message."""


class Puller:
    """Feeds one handler from one durable consumer. `need_heal` is called when it is in trouble."""

    def __init__(
        self,
        link: Link,
        consumer: Consumer,
        stream: str,
        handler: Handler,
        *,
        put_aside: PutAside,
        need_heal: Callable[[], None],
    ) -> None:
        self.consumer = consumer
        self.stream = stream
        self.troubled = True
        """It delivers nothing until `restart`."""
        self.epoch = 0
        """The connection it pulls over, as the link counts them."""
        self._link = link
        self._handler = handler
        self._put_aside = put_aside
        self._need_heal = need_heal
        self._loop = asyncio.get_running_loop()
        self._batch = max(1, min(BATCH, consumer.max_ack_pending))
        self._request = json.dumps(
            {
                "batch": self._batch,
                "expires": int(EXPIRES_SECONDS * _NS),
                "idle_heartbeat": int(HEARTBEAT_SECONDS * _NS),
            }
        ).encode()
        self._where = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer.name}"
        self._inbox = ""
        self._owed = 0
        """Messages that open pull requests may still bring."""
        self._heard = 0.0
        self._look: asyncio.TimerHandle | None = None
        self._created = ""
        self._held: deque[tuple[str, bytes]] = deque(maxlen=MAX_HELD)
        self._stopped = False

    # ── its life ─────────────────────────────────────────────────────────────────────────────────

    async def restart(self, created: str, epoch: int) -> None:
        """Pull anew, from a stream that was created then; the consumer is there."""
        self.epoch = epoch
        if self._inbox:
            # Earlier pull requests may have survived; what they bring must not be lost.
            self._link.unlisten_later(self._inbox, EXPIRES_SECONDS + HEARTBEAT_SECONDS)
        if created != self._created:
            self._held.clear()
        self._created = created
        self._inbox = self._link.new_inbox()
        await self._link.listen(self._inbox, partial(self._arrived, self._inbox))
        if self._stopped:
            await self._link.unlisten(self._inbox)
            return
        self.troubled = False
        while self._held:
            self._link.send(*self._held.popleft())
        self._owed = 0
        self._heard = self._loop.time()
        self._top_up()
        if self._look is None:
            self._look = self._loop.call_later(HEARTBEAT_SECONDS, self._look_for_life)

    def pause(self) -> None:
        """The connection is gone: keep what is settled until `restart`."""
        self.troubled = True

    async def stop(self) -> None:
        """Deliver no more. What is on its way is put back at once."""
        self._stopped = True
        if self._look is not None:
            self._look.cancel()
        if self._inbox:
            await self._link.unlisten(self._inbox)

    def _fail(self, why: str) -> None:
        if not self.troubled and not self._stopped:
            _log.warning("pull_interrupted", consumer=self.consumer.name, why=why)
            self.troubled = True
            self._need_heal()

    def _look_for_life(self) -> None:
        self._look = None
        if self._stopped:
            return
        if self._loop.time() - self._heard > SILENCE * HEARTBEAT_SECONDS:
            self._fail("silence")
        self._look = self._loop.call_later(HEARTBEAT_SECONDS, self._look_for_life)

    # ── in ───────────────────────────────────────────────────────────────────────────────────────

    def _top_up(self) -> None:
        while self._owed <= self._batch and not (self.troubled or self._stopped):
            self._owed += self._batch
            self._link.send(self._where, self._request, self._inbox)

    async def _arrived(self, inbox: str, message: Msg) -> None:
        if inbox == self._inbox:
            self._heard = self._loop.time()
            if not message.reply:
                self._hear(message.headers or {})
                return
            self._owed -= 1
            if self._owed <= self._batch:
                self._top_up()
        elif not message.reply:
            return  # about a pull request from before the trouble
        try:
            envelope = decode(message.data, message.headers)
        except Unreadable as error:
            arrival = Arrival(self, message, self._created)
            self.put_aside(arrival, error.reason, error.message, None)
            return
        delivery = NatsDelivery(self, message, self._created, envelope)
        if self._stopped:
            self.put_back(delivery, 0.0)
            return
        most = self.consumer.max_deliver
        if most is not None and delivery.delivered > most:
            delivery.reject(MAX_DELIVER, f"delivered {most} times")
            return
        try:
            self._handler(delivery)
        except Exception:
            _log.exception("handler_failed", consumer=self.consumer.name, message=envelope.id)
            delivery.nak(FAILED_SECONDS)

    def _hear(self, headers: dict[str, str]) -> None:
        """The server speaks about a pull request: a heartbeat, or how it ended."""
        status = headers.get("Status", "")
        if status == "100":
            return
        about = headers.get("Description", "").strip()
        if status in ("404", "408"):
            self._owed = max(0, self._owed - int(headers.get("Nats-Pending-Messages", self._batch)))
            self._top_up()
        elif status == "409" and "exceeded" in about.lower():
            _log.warning("pull_refused", consumer=self.consumer.name, why=about)
            self._owed = max(0, self._owed - self._batch)
            self._loop.call_later(REFUSED_SECONDS, self._top_up)
        else:
            self._fail(f"{status} {about}")

    # ── out ──────────────────────────────────────────────────────────────────────────────────────

    def settle(self, arrival: Arrival, answer: bytes) -> None:
        """Tell the server what became of a message."""
        if arrival.created != self._created:
            return
        if self.troubled:
            self._held.append((arrival.message.reply, answer))
        else:
            self._link.send(arrival.message.reply, answer)

    def put_back(self, arrival: Arrival, delay: float) -> None:
        """Have a message delivered again after `delay` seconds."""
        pause = int(max(0.0, delay) * _NS)
        self.settle(arrival, b'-NAK {"delay": %d}' % pause if pause else b"-NAK")

    def put_aside(
        self, arrival: Arrival, reason: str, detail: str, envelope: Envelope | None
    ) -> None:
        """Make a message a dead letter, then have the server forget it."""
        self._put_aside(self, arrival, reason, detail, envelope)
