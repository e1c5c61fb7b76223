"""The pipe over NATS JetStream: what the other `nats_*` files make together.

    nats_link      one connection, up or down          nats_publish   out: until confirmed
    nats_streams   streams and consumers               nats_pull      in: continuously
    nats_trim      removes what is settled             nats_server    a server of our own

Whatever breaks, one task mends: it makes sure of the streams, then of each consumer in trouble, and
only then lets messages flow again.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import re
from base64 import b64decode
from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

import structlog
from nats.aio.msg import Msg

from es_saga.adapters import nats_service, nats_trim
from es_saga.adapters.cloudevents import CONTENT_TYPE, STRUCTURED, Unreadable, decode, encode
from es_saga.adapters.dead_letters import dead_letter
from es_saga.adapters.nats_link import Link, Login
from es_saga.adapters.nats_publish import MSG_ID, TTL, Publisher
from es_saga.adapters.nats_pull import Arrival, Puller
from es_saga.adapters.nats_service import MicroService
from es_saga.adapters.nats_streams import BrokerError, StreamLimits, Streams, StreamStatus
from es_saga.core.errors import InvalidInput, SagaError, Unavailable
from es_saga.core.messages import Envelope, Subjects
from es_saga.engine.ports import Consumer, Endpoint, Handler, Subscription

MEND_SECONDS: Final = (0.1, 5.0)
"""Pause between two attempts to mend: at first, and at most; doubled from one to the next."""

CLOSE_SECONDS: Final = 5.0
"""How long `close` waits for confirmations."""

MAX_DEAD_LETTERS: Final = 1_000
"""Dead letters that are read at once."""

_LANES: Final = ("cmd", "rpl", "evt", "dlq", "alr")
_SPACE: Final = re.compile(r"\s")
_log = structlog.get_logger("es_saga.nats")


class _Subscription:
    """Messages being delivered to a handler."""

    def __init__(self, transport: NatsTransport, puller: Puller) -> None:
        self._transport = transport
        self._puller = puller

    async def stop(self) -> None:
        """Deliver no more. What was delivered can still be settled."""
        await self._transport.forget(self._puller)


class NatsTransport:
    """A `Transport` of one tenant, see `es_saga.engine.ports`. Made by `connect`."""

    def __init__(
        self,
        servers: Sequence[str],
        *,
        tenant: str,
        login: Login,
        name: str,
        limits: StreamLimits,
        sync_batches: bool,
    ) -> None:
        self.subjects = Subjects(tenant)
        self._servers, self._login = servers, login
        self._link = Link(servers, login, name=name, on_up=self._up, on_down=self._down)
        self._streams = Streams(self._link, self.subjects, limits)
        self._publisher = Publisher(self._link, self._mend_soon, batches=sync_batches)
        self._lanes = {f"{self.subjects.root}.{kind}.": kind for kind in _LANES}
        self._pullers: list[Puller] = []
        self._broken = asyncio.Event()
        self._mending = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._inbox = ""
        self._requests: dict[str, asyncio.Future[Envelope]] = {}
        self._numbers = itertools.count(1)

    @classmethod
    async def connect(
        cls,
        servers: str | Sequence[str],
        *,
        tenant: str = "main",
        login: Login | None = None,
        name: str = "es-saga",
        limits: StreamLimits | None = None,
        sync_batches: bool = False,
    ) -> NatsTransport:
        """Connect to a server, or to one of several, and make sure of the tenant's streams.

        `sync_batches` sends everything that waits as one atomic batch: right for a server that
        syncs every publish to disk (`sync_interval: always`), slower for any other.

        Raises:
            InvalidInput: the tenant's name cannot be one.
            Unavailable: no server can be reached, or JetStream is not on there.
            BrokerError: the server refuses the streams.
        """
        transport = cls(
            [servers] if isinstance(servers, str) else servers,
            tenant=tenant,
            login=login or Login(),
            name=name,
            limits=limits or StreamLimits(),
            sync_batches=sync_batches,
        )
        await transport._open()
        return transport

    async def _open(self) -> None:
        await self._link.open()
        try:
            await self._streams.ensure()
            await self._publisher.open()
            self._inbox = f"{self._link.new_inbox()}."
            await self._link.listen(f"{self._inbox}*", self._told)
        except BaseException:
            await self._link.close()
            raise
        self._publisher.resume()
        self._broken.clear()
        if not self._link.connected:
            self._down()
        self._tasks = [asyncio.create_task(self._keep()), asyncio.create_task(self._trim_often())]

    @property
    def connected(self) -> bool:
        """Whether there is a connection to a server now."""
        return self._link.connected

    @property
    def backlog(self) -> int:
        """Messages published and not confirmed yet."""
        return self._publisher.backlog

    # ── the port ─────────────────────────────────────────────────────────────────────────────────

    def publish(
        self, subject: str, envelope: Envelope, *, ttl: float | None = None
    ) -> asyncio.Future[None]:
        """Send durably, see `Transport.publish`. Cancel the future to give the message up.

        `InvalidInput` also for a subject that none of the tenant's streams takes.
        """
        lane = self._lanes.get(subject[: len(self.subjects.root) + 5])
        try:
            if lane is None or _SPACE.search(subject):
                raise InvalidInput(f"{subject[:200]!r} is no subject of this tenant's streams.")
            payload = encode(envelope)
            if len(payload) > self._link.max_payload:
                raise InvalidInput(f"The server takes {self._link.max_payload} bytes at most.")
        except InvalidInput as error:
            refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            return refused
        headers = {MSG_ID: envelope.id, CONTENT_TYPE: STRUCTURED}
        if ttl is not None:
            headers[TTL] = str(max(1, math.ceil(ttl)))
        return self._publisher.publish(lane, subject, payload, headers)

    def tell(self, address: str, envelope: Envelope) -> None:
        """Send to whoever listens right now, see `Transport.tell`."""
        try:
            self._link.send(address, encode(envelope))
        except InvalidInput as error:
            _log.warning("not_told", address=address, error=str(error))

    async def request(
        self,
        subject: str,
        envelope: Envelope,
        *,
        timeout: float,  # the port's: an answer is what is waited for
    ) -> Envelope:
        """Publish durably and wait for the answer, see `Transport.request`."""
        number = str(next(self._numbers))
        answer: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._requests[number] = answer
        published = self.publish(
            subject, envelope.model_copy(update={"replyto": f"{self._inbox}{number}"})
        )
        try:
            async with asyncio.timeout(timeout):
                await published
                return await answer
        except TimeoutError:
            sent = published.done() and not published.cancelled()
            raise Unavailable(
                f"No answer to {envelope.type} within {timeout:g} s"
                f"{'' if sent else ', nor did the broker confirm it'}.",
                hint="It may still be handled." if sent else "Is NATS up?",
            ) from None
        finally:
            del self._requests[number]
            published.cancel()

    async def ask(self, subject: str, question: bytes, *, timeout: float) -> bytes:
        """See `Questions.ask`."""
        return await nats_service.ask(self._link, subject, question, timeout)

    async def serve(self, name: str, endpoints: Sequence[Endpoint]) -> Subscription:
        """See `Questions.serve`: as a micro service, over a connection of its own."""
        service = MicroService(
            self._servers,
            self._login,
            name=f"es_saga-{name}",
            description=f"Questions that {name} answers.",
            metadata={"tenant": self.subjects.tenant},
            endpoints=endpoints,
        )
        await service.open()
        return service

    async def consume(self, consumer: Consumer, handler: Handler) -> Subscription:
        """Deliver what matches, see `Transport.consume`.

        Raises:
            InvalidInput: such a consumer cannot be.
            BrokerError: the server refuses it.
            Unavailable: the server does not answer. Once consuming, an outage is sat out.
        """
        puller = Puller(
            self._link,
            consumer,
            self._streams.name(consumer.stream),
            handler,
            put_aside=self._put_aside,
            need_heal=self._mend_soon,
        )
        async with self._mending:
            epoch = self._link.epoch
            await self._start(puller, await self._streams.ensure(), epoch)
            self._pullers.append(puller)
        if self._link.epoch != epoch or not self._link.connected:
            self._broken.set()
        return _Subscription(self, puller)

    async def forget(self, puller: Puller) -> None:
        """Stop a puller, for good."""
        if puller in self._pullers:
            self._pullers.remove(puller)
        await puller.stop()

    async def close(self) -> None:
        """Send what is buffered, then disconnect. Closing twice is fine."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks:
            for puller in list(self._pullers):
                await self.forget(puller)
            await self._publisher.close(CLOSE_SECONDS)
            await self._link.close()

    # ── for operators ────────────────────────────────────────────────────────────────────────────

    async def streams(self) -> list[StreamStatus]:
        """What the tenant's streams hold, and how far each consumer is.

        Raises:
            Unavailable: the server does not answer.
        """
        return await self._streams.status()

    async def unserved(self, services: Collection[str]) -> frozenset[str]:
        """See `Streams.unserved`."""
        return await self._streams.unserved(services)

    async def dead_letters(self, *, after: int = 0, limit: int = 100) -> list[tuple[int, Envelope]]:
        """Dead letters with their numbers, the oldest first, from the one after `after`.

        Raises:
            Unavailable: the server does not answer.
        """
        found: list[tuple[int, Envelope]] = []
        where = f"STREAM.MSG.GET.{self._streams.name('DLQ')}"
        while len(found) < min(limit, MAX_DEAD_LETTERS):
            try:
                answer = await self._streams.ask(where, {"seq": after + 1, "next_by_subj": ">"})
            except BrokerError:
                break  # no message found
            after = int(answer["message"]["seq"])
            try:
                found.append((after, decode(b64decode(answer["message"].get("data", "")))))
            except Unreadable:
                _log.warning("foreign_dead_letter", sequence=after)
        return found

    async def trim(self) -> int:
        """Remove what every consumer is done with; how many messages that were.

        Raises:
            BrokerError, Unavailable: the server refused, or did not answer.
        """
        return await nats_trim.trim(self._streams)

    # ── mending ──────────────────────────────────────────────────────────────────────────────────

    def _up(self) -> None:
        self._broken.set()

    def _down(self) -> None:
        self._publisher.pause()
        for puller in self._pullers:
            puller.pause()

    def _mend_soon(self) -> None:
        self._broken.set()

    async def _keep(self) -> None:
        """Mend whenever something is broken, until it is whole."""
        pause, most = MEND_SECONDS
        while True:
            await self._broken.wait()
            self._broken.clear()
            try:
                async with self._mending:
                    await self._mend()
                pause = MEND_SECONDS[0]
            except Unavailable as error:
                _log.warning("nats_not_ready", error=str(error))
                pause = min(most, 2 * pause)
                self._broken.set()
            except SagaError as error:
                _log.error("nats_refuses", error=str(error))
                pause = most
                self._broken.set()
            except Exception:
                _log.exception("mending_failed")
                pause = most
                self._broken.set()
            # Also after a success: what breaks again at once must not keep us busy.
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))

    async def _mend(self) -> None:
        if not self._link.connected:
            return  # mended when it comes up
        epoch = self._link.epoch
        created = await self._streams.ensure()
        if self._link.connected and self._link.epoch == epoch:
            self._publisher.resume()
        failed: SagaError | None = None
        for puller in list(self._pullers):
            if puller.troubled or puller.epoch != epoch:
                try:
                    await self._start(puller, created, epoch)
                except SagaError as error:  # the others shall not wait for this one
                    failed = error
        if failed is not None:
            raise failed

    async def _start(self, puller: Puller, created: dict[str, str], epoch: int) -> None:
        # Over a new connection nothing is in hand; over this one it was somebody else who began.
        await self._streams.ensure_consumer(puller.consumer, anew=puller.epoch != epoch)
        await puller.restart(created[puller.consumer.stream], epoch)

    async def _trim_often(self) -> None:
        while True:
            # Several processes do it; they shall not do it all at once.
            await asyncio.sleep(nats_trim.TRIM_SECONDS * random.uniform(0.8, 1.2))
            try:
                if self._link.connected:
                    await self.trim()
            except Exception as error:
                _log.warning("trim_failed", error=str(error))

    # ── back ─────────────────────────────────────────────────────────────────────────────────────

    def _put_aside(
        self, puller: Puller, arrival: Arrival, reason: str, detail: str, envelope: Envelope | None
    ) -> None:
        message, who = arrival.message, puller.consumer.name
        letter = dead_letter(
            who, reason, detail, subject=message.subject, body=message.data, envelope=envelope
        )
        _log.warning("put_aside", consumer=who, reason=letter.reason, subject=message.subject)
        # Put aside twice, by us or by another process, it is one dead letter.
        message_id = f"{who}/{arrival.created}/{arrival.sequence}"
        subject = self.subjects.dead_letter(who, letter.reason)
        published = self.publish(subject, letter.to_envelope(message_id))
        published.add_done_callback(partial(self._terminate, puller, arrival))

    def _terminate(self, puller: Puller, arrival: Arrival, published: asyncio.Future[None]) -> None:
        if not published.cancelled() and published.exception() is None:
            puller.settle(arrival, b"+TERM")

    async def _told(self, message: Msg) -> None:
        waiting = self._requests.get(message.subject[len(self._inbox) :])
        if waiting is None or waiting.done():
            return
        try:
            waiting.set_result(decode(message.data, message.headers))
        except Unreadable as error:
            _log.warning("unreadable_answer", error=error.message)
