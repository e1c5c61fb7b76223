"""The network of a simulated world: a broker with durable consumers, and what befalls messages.

It keeps what the `Transport` port promises, and no more: at least once, in no order, with a window
for duplicates. How long a message takes is a function of its id and the seed.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import defaultdict, deque
from typing import Final

from es_saga.adapters.subjects import covers
from es_saga.core.errors import Unavailable
from es_saga.core.messages import Envelope
from es_saga.engine.ports import Consumer, Handler, Subscription
from es_saga.testing.faults import DUPLICATE_WINDOW_SECONDS, Kind
from es_saga.testing.simulation.journal import Journal, What
from es_saga.testing.simulation.loop import TURN, SimulatedLoop
from es_saga.testing.simulation.process import Process

SPREADS: Final = (1, 2, 4, 8)
"""By the seed, a message takes up to so many turns. Where all take one, they come in great batches;
where they take up to eight, they overtake one another."""


class Network:
    """Everything between the processes."""

    def __init__(self, loop: SimulatedLoop, journal: Journal, seed: int) -> None:
        self.loop = loop
        self.journal = journal
        self.travelling = 0
        """Messages that are on their way."""
        self.unsettled = 0
        """Messages that arrived and are not acknowledged, or put aside."""
        self._spread = SPREADS[seed % len(SPREADS)]
        self._mix = (seed * 0x9E3779B1) & 0xFFFFFFFF
        self._queues: dict[str, _Queue] = {}
        self._routes: dict[str, list[_Queue]] = {}
        self._unclaimed: list[tuple[str, _Message]] = []
        self._seen: dict[str, float] = {}
        """When each message id was stored."""

    @property
    def quiet(self) -> bool:
        """Whether no message will arrive any more."""
        return not self.travelling and not self.unsettled

    def carry(self, who: str, subject: str, envelope: Envelope) -> None:
        """Take a message; it arrives in a while, if it does."""
        message_id = envelope.id
        self.journal.note(who, What.SENT, envelope)
        mixed = ((zlib.crc32(message_id.encode()) ^ self._mix) * 0x85EBCA6B) & 0xFFFFFFFF
        seconds = TURN * (1 + (mixed >> 16) % self._spread)
        message = _Message(envelope)
        for fault in self.journal.travelling.pop(message_id, ()):
            self.journal.strikes(fault, "network")
            if fault.kind is Kind.LOST:
                return
            if fault.kind is Kind.DELAYED:
                seconds += fault.seconds
            else:
                message.again = fault.seconds
        self.travelling += 1
        self.loop.after(seconds, self._arrive, subject, message)

    def _arrive(self, subject: str, message: _Message) -> None:
        self.travelling -= 1
        message_id, now = message.envelope.id, self.loop.now
        before = self._seen.get(message_id)
        if before is not None and now < before + DUPLICATE_WINDOW_SECONDS:
            self.journal.met["sent again inside the window"] += 1
            return
        if before is not None:
            self.journal.met["sent again outside the window"] += 1
        self._seen[message_id] = now
        place = subject.rpartition(".")[0]
        routes = self._routes.get(place)
        if routes is None:
            queues = self._queues.values()
            routes = [queue for queue in queues if covers(queue.consumer.filter, subject)]
            self._routes[place] = routes
        if not routes:
            self._unclaimed.append((subject, message))
        for queue in routes:
            queue.offer(message.copy())

    def join(self, process: Process, consumer: Consumer, handler: Handler) -> Subscription:
        """Have messages handed to a process, as long as it lives."""
        assert consumer.filter.endswith(".>"), "routes are remembered without the last token"
        queue = self._queues.get(consumer.name)
        if queue is None:
            queue = self._queues[consumer.name] = _Queue(self, consumer)
            self._routes.clear()
            unclaimed, self._unclaimed = self._unclaimed, []
            for subject, message in unclaimed:
                if covers(consumer.filter, subject):
                    queue.offer(message)
                else:
                    self._unclaimed.append((subject, message))
        reader = _Reader(queue, process, handler)
        queue.readers.append(reader)
        queue.hand_out()
        return reader


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
        """See `Transport.publish`; `ttl` is not acted upon, as brokers may."""
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
        """See `Transport.tell`: here nobody ever listens."""

    async def request(self, subject: str, envelope: Envelope, *, timeout: float) -> Envelope:
        """See `Transport.request`: here nobody ever answers."""
        raise Unavailable(f"Nobody answers {envelope.type} in a simulated world.")

    async def consume(self, consumer: Consumer, handler: Handler) -> Subscription:
        """See `Transport.consume`."""
        return self._network.join(self._process, consumer, handler)

    async def close(self) -> None:
        """Nothing is buffered."""


class _Message:
    """A message, as its consumer sees it."""

    __slots__ = ("again", "delivered", "envelope")

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.delivered = 0
        self.again: float | None = None
        """It is handed over once more, so many seconds after the first time."""

    def copy(self) -> _Message:
        """The same, for one of several consumers."""
        own = _Message(self.envelope)
        own.again = self.again
        return own


class _Queue:
    """A durable consumer: what it is still to be handed, and those who share it."""

    def __init__(self, network: Network, consumer: Consumer) -> None:
        self.consumer = consumer
        self.readers: deque[_Reader] = deque()
        self.network = network
        self._waits = consumer.backoff or (consumer.ack_wait,)
        self._waiting: deque[_Message] = deque()
        self._handed = 0
        self._handing_out = False
        # One queue for each wait: within one, the first to be handed over is the first to be due.
        self._due: defaultdict[float, deque[tuple[float, _Delivery]]] = defaultdict(deque)

    def offer(self, message: _Message) -> None:
        """A message for it has arrived."""
        self.network.unsettled += 1
        self._waiting.append(message)
        self.hand_out()

    def hand_out(self) -> None:
        """Hand over what is waiting, in turns to those who live."""
        if self._handing_out:  # a reader that settles at once makes room for the next one
            return
        self._handing_out = True
        waiting, readers, most = self._waiting, self.readers, self.consumer.max_ack_pending
        while waiting and readers and self._handed < most:
            message, reader = waiting.popleft(), readers[0]
            readers.rotate()
            message.delivered += 1
            self._handed += 1
            delivery = _Delivery(self, reader.process, message)
            self._expect(delivery)
            if message.again is not None:
                seconds, message.again = message.again, None
                self.network.travelling += 1
                self.network.loop.after(seconds, self._hand_again, message)
            reader.handler(delivery)
        self._handing_out = False

    def _hand_again(self, message: _Message) -> None:
        """The same message once more, whatever became of it."""
        self.network.travelling -= 1
        copy = _Message(message.envelope)
        copy.delivered = message.delivered
        self.offer(copy)

    def _expect(self, delivery: _Delivery) -> None:
        """See that it is delivered again if nobody settles it."""
        wait = self._waits[min(delivery.delivered, len(self._waits)) - 1]
        due = self._due[wait]
        while due and due[0][1].settled:
            due.popleft()
        when = self.network.loop.now + wait
        if not due:
            self.network.loop.at(when, self._sweep, wait)
        due.append((when, delivery))

    def _sweep(self, wait: float) -> None:
        due, now = self._due[wait], self.network.loop.now
        while due and (due[0][1].settled or due[0][0] <= now):
            delivery = due.popleft()[1]
            if not delivery.settled:
                delivery.settled = True
                self.put_back(delivery.message)
        if due:
            self.network.loop.at(due[0][0], self._sweep, wait)

    def put_back(self, message: _Message) -> None:
        """Hand it over once more, unless that is enough."""
        most = self.consumer.max_deliver
        if most is not None and message.delivered >= most:
            self.put_aside(message, f"delivered {message.delivered} times")
            return
        self._handed -= 1
        self._waiting.appendleft(message)
        self.hand_out()

    def put_aside(self, message: _Message, why: str) -> None:
        """Among the dead letters."""
        self.network.journal.note(
            self.consumer.name, What.DEAD_LETTER, f"puts {message.envelope.id} aside: {why}"
        )
        self.done()

    def done(self) -> None:
        """One is settled."""
        self._handed -= 1
        self.network.unsettled -= 1
        if self._waiting:
            self.hand_out()


class _Reader:
    """One process's share of a consumer."""

    def __init__(self, queue: _Queue, process: Process, handler: Handler) -> None:
        self.process = process
        self.handler = handler
        self._queue = queue
        process.readers.append(self.leave)

    def leave(self) -> None:
        """Be handed nothing more."""
        if self in self._queue.readers:
            self._queue.readers.remove(self)

    async def stop(self) -> None:
        """See `Subscription.stop`."""
        self.leave()


class _Delivery:
    """A message that was handed over, see `Delivery`. The dead cannot settle it any more."""

    __slots__ = ("_process", "_queue", "delivered", "envelope", "message", "settled")

    def __init__(self, queue: _Queue, process: Process, message: _Message) -> None:
        self._queue = queue
        self._process = process
        self.message = message
        self.envelope: Envelope = message.envelope
        self.delivered: int = message.delivered
        self.settled = False
        """Acknowledged, put back or put aside; or delivered again since."""

    def ack(self) -> None:
        process = self._process
        if self.settled or not process.alive:
            return
        journal = self._queue.network.journal
        faults = journal.settling.pop(self.envelope.id, ())
        if not any(fault.kind is Kind.DIES_BEFORE_ACK for fault in faults):
            self.settled = True
            self._queue.done()
        for fault in faults:
            journal.strikes(fault, process.name)
            process.die(fault.seconds)

    def nak(self, delay: float = 0.0) -> None:
        if not self.settled and self._process.alive:
            self.settled = True
            self._queue.network.loop.after(delay, self._queue.put_back, self.message)

    def reject(self, reason: str, detail: str = "") -> None:
        if not self.settled and self._process.alive:
            self.settled = True
            self._queue.put_aside(self.message, f"{reason} {detail}".strip())
