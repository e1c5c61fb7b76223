"""The network: a memory transport as the broker, and what befalls messages on their way."""

from __future__ import annotations

import asyncio
import zlib
from collections import defaultdict
from contextvars import Context

from es_saga.adapters.memory import DUPLICATE_WINDOW_SECONDS, MemoryTransport
from es_saga.core.messages import Envelope
from es_saga.engine.ports import Consumer, Delivery, Handler, Subscription
from es_saga.testing.faults import Kind
from es_saga.testing.simulation.journal import Journal, What
from es_saga.testing.simulation.loop import LoopClock, SimulatedLoop
from es_saga.testing.simulation.process import Process

LATENCIES = 8
"""A message takes 1 to so many milliseconds."""

_MILLISECOND = 0.001


class Network(MemoryTransport):
    """Everything between the processes. How long a message takes depends on its id and the seed."""

    def __init__(self, loop: SimulatedLoop, journal: Journal, seed: int) -> None:
        super().__init__(clock=LoopClock(loop))
        self.loop = loop
        self.journal = journal
        self.travelling = 0
        """Messages that are on their way."""
        self.unsettled: set[tuple[str, str]] = set()
        """Consumer and message id of what was handed over and not acknowledged."""
        self._mix = (seed * 0x9E3779B1) & 0xFFFFFFFF
        self._sent: dict[str, float] = {}
        self._taps: defaultdict[str, list[_Tap]] = defaultdict(list)
        self._doubles: dict[str, float] = {}

    @property
    def quiet(self) -> bool:
        """Whether no message will arrive any more."""
        return not self.travelling and not self.unsettled

    def carry(self, who: str, subject: str, envelope: Envelope) -> None:
        """Take a message; it arrives in a while, if it does."""
        journal = self.journal
        journal.note(who, What.SENT, envelope)
        self._see(envelope.id)
        seconds = self._latency(envelope.id)
        for fault in journal.travelling.pop(envelope.id, ()):
            journal.strikes(fault, "network")
            if fault.kind is Kind.LOST:
                return
            if fault.kind is Kind.DELAYED:
                seconds += fault.seconds
            else:
                self._doubles[envelope.id] = fault.seconds
        self.travelling += 1
        self.loop.after(seconds, self._arrive, subject, envelope)

    def _latency(self, message_id: str) -> float:
        mixed = ((zlib.crc32(message_id.encode()) ^ self._mix) * 0x85EBCA6B) & 0xFFFFFFFF
        return _MILLISECOND * (1 + (mixed >> 16) % LATENCIES)

    def _see(self, message_id: str) -> None:
        """Count what is sent once more under the same id."""
        now, before = self.loop.now, self._sent.get(message_id)
        self._sent[message_id] = now
        if before is not None:
            inside = now < before + DUPLICATE_WINDOW_SECONDS
            self.journal.met[f"sent again {'inside' if inside else 'outside'} the window"] += 1

    def _arrive(self, subject: str, envelope: Envelope) -> None:
        self.travelling -= 1
        self.publish(subject, envelope)

    # ── to and from its consumers ────────────────────────────────────────────────────────────────

    async def tap(self, process: Process, consumer: Consumer, handler: Handler) -> Subscription:
        """Have messages delivered to a process, as long as it lives."""
        tap = _Tap(self, process, consumer.name, handler)
        subscription = await self.consume(consumer, tap.take)
        self._taps[consumer.name].append(tap)
        process.subscriptions.append(subscription)
        return subscription

    def handed(self, consumer: str, delivery: Delivery) -> None:
        """A message was handed over; perhaps it will be once more."""
        message_id = delivery.envelope.id
        self.unsettled.add((consumer, message_id))
        if message_id in self._doubles:
            self.travelling += 1
            seconds = self._doubles.pop(message_id)
            self.loop.after(seconds, self._hand_again, consumer, delivery.envelope)

    def _hand_again(self, consumer: str, envelope: Envelope) -> None:
        self.travelling -= 1
        taps = self._taps[consumer] = [tap for tap in self._taps[consumer] if tap.process.alive]
        if taps:
            taps[-1].handler(_Copy(envelope))

    def bury(self, who: str, subject: str, envelope: Envelope, reason: str, detail: str) -> None:
        """Put a message aside, see `MemoryTransport`."""
        super().bury(who, subject, envelope, reason, detail)
        self.unsettled.discard((who, envelope.id))


class Link:
    """A process's connection: a `Transport` that dies with it."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._process = process
        self._done: asyncio.Future[None] = process.loop.create_future()
        self._done.set_result(None)

    @property
    def connected(self) -> bool:
        return self._process.alive

    def publish(
        self, subject: str, envelope: Envelope, *, ttl: float | None = None
    ) -> asyncio.Future[None]:
        """See `Transport.publish`."""
        process, network = self._process, self._network
        if not process.alive:
            return process.never()
        faults = network.journal.publishing.pop(envelope.id, ())
        for fault in faults:
            if fault.kind is Kind.DIES_BEFORE_PUBLISH:
                network.journal.strikes(fault, process.name)
                process.die(fault.seconds)
                return process.never()
        network.carry(process.name, subject, envelope)
        for fault in faults:
            network.journal.strikes(fault, process.name)
            process.die(fault.seconds)
            return process.never()
        return self._done

    def tell(self, address: str, envelope: Envelope) -> None:
        """See `Transport.tell`."""
        if self._process.alive:
            self._network.tell(address, envelope)

    async def request(self, subject: str, envelope: Envelope, *, timeout: float) -> Envelope:
        """See `Transport.request`."""
        return await self._network.request(subject, envelope, timeout=timeout)

    async def consume(self, consumer: Consumer, handler: Handler) -> Subscription:
        """See `Transport.consume`."""
        return await self._network.tap(self._process, consumer, handler)

    async def close(self) -> None:
        """Nothing is buffered."""


class _Tap:
    """One process's share of a consumer."""

    __slots__ = ("consumer", "handler", "network", "process")

    def __init__(self, network: Network, process: Process, consumer: str, handler: Handler) -> None:
        self.network = network
        self.process = process
        self.consumer = consumer
        self.handler = handler

    def take(self, delivery: Delivery) -> None:
        self.network.handed(self.consumer, delivery)
        if self.process.alive:  # what the dead are handed comes again when nobody settles it
            self.handler(_Handed(self, delivery))


class _Handed:
    """A delivery that the dead cannot settle any more."""

    __slots__ = ("_delivery", "_tap", "delivered", "envelope")

    def __init__(self, tap: _Tap, delivery: Delivery) -> None:
        self._tap = tap
        self._delivery = delivery
        self.envelope: Envelope = delivery.envelope
        self.delivered: int = delivery.delivered

    def ack(self) -> None:
        tap, message_id = self._tap, self.envelope.id
        process, journal = tap.process, tap.network.journal
        if not process.alive:
            return
        faults = journal.settling.pop(message_id, ())
        if not any(fault.kind is Kind.DIES_BEFORE_ACK for fault in faults):
            self._delivery.ack()
            tap.network.unsettled.discard((tap.consumer, message_id))
        for fault in faults:
            journal.strikes(fault, process.name)
            process.die(fault.seconds)

    def nak(self, delay: float = 0.0) -> None:
        if self._tap.process.alive:
            Context().run(self._delivery.nak, delay)  # the broker's work, and not the process's

    def reject(self, reason: str, detail: str = "") -> None:
        if self._tap.process.alive:
            self._delivery.reject(reason, detail)


class _Copy:
    """A second delivery of a message; how it is settled is of no interest."""

    __slots__ = ("envelope",)

    delivered = 2

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope

    def ack(self) -> None: ...

    def nak(self, delay: float = 0.0) -> None: ...

    def reject(self, reason: str, detail: str = "") -> None: ...
