"""The floor under the system: commands and replies through JetStream, and nothing else.

The same messages in the same streams, with the same acknowledgements, sent and answered by nats-py
itself from the same two processes. No database, no decision, no envelope is read.

    python -m es_saga.bench.pipe_floor URL        the process that answers
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg

from es_saga.adapters import cloudevents
from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_publish import MSG_ID
from es_saga.bench.cost import Clocks, Figures, cpu_of, own_cpu, read
from es_saga.bench.load import DRAIN_SECONDS, WARM_UP
from es_saga.bench.orders import app
from es_saga.bench.process import child, run, until_told
from es_saga.core.messages import PARTS, Envelope, Outcome, Subjects, part_of
from es_saga.engine.ports import Consumer, Delivery
from es_saga.engine.requests import new_id

TENANT: Final = "floor"

BATCH: Final = 256
"""Messages one pull request asks for; two are open."""

REQUEST: Final = b'{"batch": %d, "expires": 3600000000000}' % BATCH

SUBJECTS: Final = Subjects(TENANT)


class Exchange(NamedTuple):
    """One step: a command, and the reply to it, as bytes of the size they really have."""

    step: str
    service: str
    command_type: str
    command: bytes
    reply: bytes


def _exchange(
    step: str, service: str, kind: str, data: object, answer: str, reply: object
) -> Exchange:
    saga_id = new_id()
    key = f"{saga_id}/{step}/do"
    command = Envelope(
        id=f"{key}/1",
        source="pm/bench",
        type=kind,
        sagaid=saga_id,
        sagatype="order",
        step=step,
        commandid=key,
        replyto=SUBJECTS.inbox(app.name, saga_id),
        deadline=time.time(),
        direction="REQUEST",
        data=data,
    )
    answered = command.model_copy(
        update={
            "id": f"{key}/1/r",
            "source": f"svc/{service}",
            "type": answer,
            "replyto": None,
            "deadline": None,
            "outcome": Outcome.SUCCEEDED,
            "causationid": f"{key}/1",
            "data": reply,
        }
    )
    return Exchange(step, service, kind, cloudevents.encode(command), cloudevents.encode(answered))


def exchanges() -> tuple[Exchange, ...]:
    """The three steps of an order."""
    saga_id = new_id()
    reservation = f"r-{saga_id}"
    return (
        _exchange(
            "reserve",
            "stock",
            "ReserveStock",
            {"order_id": saga_id, "sku": "teapot"},
            "StockReserved",
            {"reservation": reservation},
        ),
        _exchange(
            "charge",
            "payments",
            "ChargeCard",
            {"order_id": saga_id, "pence": 4_999},
            "CardCharged",
            {"charge": f"c-{saga_id}"},
        ),
        _exchange(
            "ship",
            "carrier",
            "ShipParcel",
            {"reservation": reservation, "grams": 750},
            "ParcelShipped",
            {"parcel": f"p-{reservation}"},
        ),
    )


class Pipe:
    """The bare client: continuous pulls, and publishing that is confirmed by call-back."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.prefix = f"{client.new_inbox()}."
        self._numbers = itertools.count()
        self._confirmed: dict[str, Callable[[], Awaitable[None]]] = {}

    @classmethod
    async def connect(cls, url: str) -> Pipe:
        """A pipe that is ready."""
        client = Client()
        await client.connect(url)
        pipe = cls(client)
        await pipe.listen(f"{pipe.prefix}*", pipe._on_confirmed)
        return pipe

    async def listen(self, subject: str, callback: Callable[[Msg], Awaitable[None]]) -> None:
        """Have what is sent to a subject handed to `callback`."""
        # nats-py leaves the type of a future open that we do not use.
        await self.client.subscribe(  # pyright: ignore[reportUnknownMemberType]
            subject, cb=callback, pending_msgs_limit=0, pending_bytes_limit=0
        )

    async def _on_confirmed(self, message: Msg) -> None:
        await self._confirmed.pop(message.subject)()

    async def publish(
        self, subject: str, payload: bytes, message_id: str, then: Callable[[], Awaitable[None]]
    ) -> None:
        """Publish; `then` is called once the server has it."""
        reply = f"{self.prefix}{next(self._numbers)}"
        self._confirmed[reply] = then
        await self.client.publish(subject, payload, reply, {MSG_ID: message_id})

    async def pull(
        self, stream: str, consumer: str, handler: Callable[[Msg], Awaitable[None]]
    ) -> None:
        """Have everything that comes to a durable consumer handed to `handler`."""
        inbox = self.client.new_inbox()
        where = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        owed = 2 * BATCH

        async def arrived(message: Msg) -> None:
            nonlocal owed
            owed -= 1
            if owed <= BATCH:
                owed += BATCH
                await self.client.publish(where, REQUEST, inbox)
            await handler(message)

        await self.listen(inbox, arrived)
        for _ in range(2):
            await self.client.publish(where, REQUEST, inbox)


async def _nothing() -> None:
    """What follows a confirmation that nobody waits for."""


async def answer(url: str) -> None:
    """The process that answers."""
    pipe = await Pipe.connect(url)
    replies = {exchange.service: exchange.reply for exchange in exchanges()}

    async def on_command(service: str, message: Msg) -> None:
        message_id = (message.headers or {})[MSG_ID]
        address = SUBJECTS.inbox(app.name, message_id.partition("/")[0])
        acknowledge = partial(pipe.client.publish, message.reply)
        await pipe.publish(address, replies[service], f"{message_id}/r", acknowledge)

    for service in replies:
        await pipe.pull(f"ES_{TENANT}_CMD", f"svc-{service}", partial(on_command, service))
    await until_told()
    await pipe.client.drain()


class _Asking:
    """The process that asks: three commands one after the other, for so many sagas at once."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._steps = exchanges()
        self._places = {exchange.step: place for place, exchange in enumerate(self._steps)}
        self.sagas = 0
        self.going = True
        """Whether a saga that is through is followed by another one."""
        self.through = asyncio.Event()
        """Set when nothing is in flight any more."""
        self._in_flight = 0

    async def begin(self) -> None:
        self._in_flight += 1
        await self.ask(new_id(), 0)

    async def ask(self, saga_id: str, place: int) -> None:
        step = self._steps[place]
        subject = SUBJECTS.command(step.service, part_of(saga_id), step.command_type)
        message_id = f"{saga_id}/{step.step}/do/1"
        await self._pipe.publish(subject, step.command, message_id, _nothing)

    async def on_reply(self, message: Msg) -> None:
        assert message.headers is not None
        saga_id, step, *_ = message.headers[MSG_ID].split("/")
        place = self._places[step] + 1
        if place < len(self._steps):
            await self.ask(saga_id, place)
        else:
            self.sagas += 1
            self._in_flight -= 1
            if self.going:
                await self.begin()
            elif not self._in_flight:
                self.through.set()
        await self._pipe.client.publish(message.reply)


async def measure(url: str, broker: int, in_flight: int, seconds: float) -> Figures:
    """How many sagas' worth of messages go through in a second, and what they take.

    Args:
        broker: the server's process id.
    """
    await _make_consumers(url)
    async with child("es_saga.bench.pipe_floor", [url]) as answering:
        pipe = await Pipe.connect(url)
        asking = _Asking(pipe)
        for part in range(PARTS):
            await pipe.pull(f"ES_{TENANT}_RPL", f"pm-{part}", asking.on_reply)
        clocks: Clocks = {
            "asking": own_cpu,
            "answering": partial(cpu_of, answering.pid),
            "broker": partial(cpu_of, broker),
        }
        for _ in range(in_flight):
            await asking.begin()
        await asyncio.sleep(WARM_UP * seconds)
        sagas, cpu, since = asking.sagas, read(clocks), time.perf_counter()
        await asyncio.sleep(seconds)
        elapsed = time.perf_counter() - since
        used = {name: now - cpu[name] for name, now in read(clocks).items()}
        sagas = max(1, asking.sagas - sagas)
        asking.going = False
        async with asyncio.timeout(DRAIN_SECONDS):
            await asking.through.wait()
        await pipe.client.drain()
    by_process: Figures = {name: round(1e3 * cpu / sagas, 3) for name, cpu in used.items()}
    return {
        "sagas_per_s": round(sagas / elapsed, 1),
        "cpu_ms_per_saga": round(1e3 * sum(used.values()) / sagas, 3),
        "cpu_ms_per_saga_by_process": by_process,
        "in_flight": in_flight,
    }


async def _make_consumers(url: str) -> None:
    """Streams and consumers as the system has them."""
    transport = await NatsTransport.connect(url, tenant=TENANT)

    def ignore(delivery: Delivery) -> None:
        delivery.nak()

    services = [
        Consumer(f"svc-{name}", "CMD", SUBJECTS.commands_of(name), max_ack_pending=512)
        for name in app.participants
    ]
    parts = [
        Consumer(f"pm-{part}", "RPL", SUBJECTS.inbox_of_part(app.name, part))
        for part in range(PARTS)
    ]
    for consumer in [*services, *parts]:
        await (await transport.consume(consumer, ignore)).stop()
    await transport.close()


if __name__ == "__main__":
    run(answer(sys.argv[1]))
