"""The pipe inside one process: the same contract as NATS, without a broker.

Envelopes are passed as they are, not copied: what they carry must be JSON values, as it is on the
wire. What no consumer has asked for yet is kept for the first one that will.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog
from pydantic_core import PydanticSerializationError, to_json

from es_saga.adapters.clock import SystemClock
from es_saga.adapters.cloudevents import encode
from es_saga.adapters.dead_letters import dead_letter
from es_saga.adapters.memory_consumer import Durable, Message
from es_saga.adapters.memory_store import MemoryStore
from es_saga.core.errors import InvalidInput, Unavailable
from es_saga.core.messages import MAX_PAYLOAD_BYTES, Envelope, Subjects, is_token
from es_saga.engine.ports import Clock, Consumer, Endpoint, Handler, Subscription

__all__ = ["MemoryStore", "MemoryTransport"]

DUPLICATE_WINDOW_SECONDS: Final = 120.0
"""How long a stream remembers the ids of messages."""

MAX_UNCLAIMED: Final = 100_000
"""Messages a stream keeps for consumers that do not exist yet; beyond, the oldest go."""

MAX_DEAD_LETTERS: Final = 10_000
"""Dead letters kept; beyond, the oldest go."""

MAX_ROUTES: Final = 65_536
"""Subjects whose consumers are remembered."""

_ENVELOPE_BYTES: Final = 16 * 1024
"""More than an envelope takes without its data."""

_log = structlog.get_logger("es_saga.memory")


class _Stream:
    """One of a tenant's streams."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.durables: dict[str, Durable] = {}
        self.unclaimed: deque[Message] = deque(maxlen=MAX_UNCLAIMED)
        self.ids: dict[str, float] = {}
        """When each id is forgotten, the first one first."""
        self.routes: dict[str, tuple[Durable, ...]] = {}

    def is_duplicate(self, message_id: str, now: float) -> bool:
        """Whether the id was seen inside the window; it is from now on."""
        ids = self.ids
        while ids:
            first = next(iter(ids))
            if ids[first] > now:
                break
            del ids[first]
        if message_id in ids:
            return True
        ids[message_id] = now + DUPLICATE_WINDOW_SECONDS
        return False

    def claim(self, durable: Durable) -> None:
        """Hand what nobody has asked for to a consumer that does."""
        kept, self.unclaimed = self.unclaimed, deque(maxlen=MAX_UNCLAIMED)
        for message in kept:
            if durable.matches(message.subject):
                durable.offer(message)
            else:
                self.unclaimed.append(message)

    def store(
        self, subject: str, envelope: Envelope, done: Callable[[], None] | None = None
    ) -> int:
        """Hand a message to every consumer that matches, or keep it; how many those are.

        `done` is called by each of them that is done with it.
        """
        routes = self.routes.get(subject)
        if routes is None:
            if len(self.routes) >= MAX_ROUTES:
                self.routes.clear()
            routes = tuple(d for d in self.durables.values() if d.matches(subject))
            self.routes[subject] = routes
        if not routes:
            self.unclaimed.append(Message(subject, envelope))
        for durable in routes:
            durable.offer(Message(subject, envelope, done))
        return len(routes)


class _Subscription:
    """Messages being delivered to a handler."""

    def __init__(self, durable: Durable, handler: Handler) -> None:
        self._durable = durable
        self._handler = handler

    async def stop(self) -> None:
        """Deliver no more. What was delivered can still be settled."""
        # By identity: one handler may be subscribed twice.
        if self._handler in self._durable.handlers:
            self._durable.handlers.remove(self._handler)


class _Serving:
    """Questions being answered."""

    def __init__(self, served: dict[str, list[Endpoint]], endpoints: Sequence[Endpoint]) -> None:
        self._served = served
        self._endpoints = endpoints

    async def stop(self) -> None:
        """Answer no more. Stopping twice is fine."""
        for endpoint in self._endpoints:
            serving = self._served.get(endpoint.subject, [])
            serving[:] = [other for other in serving if other is not endpoint]


class MemoryTransport:
    """A `Transport` inside one process, see `es_saga.engine.ports`.

    With a simulated `clock`, redelivery happens in simulated time. The duplicate window bounds the
    ids that are remembered by time only.
    """

    def __init__(self, *, tenant: str = "main", clock: Clock | None = None) -> None:
        self.subjects = Subjects(tenant)
        self.clock: Clock = clock or SystemClock()
        self._streams = {kind: _Stream(kind) for kind in ("CMD", "RPL", "EVT")}
        self._prefixes = {f"{self.subjects.root}.{kind.lower()}.": kind for kind in self._streams}
        self._cut = len(self.subjects.root) + 5
        self._held: Counter[str] = Counter()
        """By an event's id, who is not done with it."""
        self._dead: deque[tuple[int, Envelope]] = deque(maxlen=MAX_DEAD_LETTERS)
        self._numbers = itertools.count(1)
        self._served: dict[str, list[Endpoint]] = {}
        self._inboxes: dict[str, asyncio.Future[Envelope]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """Until it is closed."""
        return not self._closed

    # ── the port ─────────────────────────────────────────────────────────────────────────────────

    def publish(
        self, subject: str, envelope: Envelope, *, ttl: float | None = None
    ) -> asyncio.Future[None]:
        """Store at once, see `Transport.publish`; `ttl` is not acted upon, as brokers may.

        `InvalidInput` also for a subject that none of the tenant's streams takes.
        """
        kind = self._prefixes.get(subject[: self._cut])
        try:
            if kind is None:
                raise InvalidInput(f"{subject[:200]!r} is no subject of this tenant's streams.")
            if self._closed:
                raise Unavailable("The transport is closed.")
            _check(envelope)
        except (InvalidInput, Unavailable) as error:
            refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            return refused
        stream = self._streams[kind]
        if not stream.is_duplicate(envelope.id, self.clock.now()):
            self._store(stream, subject, envelope)
        if self._done is None:
            self._done = asyncio.get_running_loop().create_future()
            self._done.set_result(None)
        return self._done  # nothing can change about a future that is done: one serves for all

    def _store(self, stream: _Stream, subject: str, envelope: Envelope) -> None:
        """An event is held until it is handled, also where it was passed on to a saga's inbox."""
        event = envelope.id if stream.kind == "EVT" else envelope.causationid
        if event is None or (stream.kind != "EVT" and event not in self._held):
            stream.store(subject, envelope)
        else:
            if consumers := stream.store(subject, envelope, partial(self._let_go, event)):
                self._held[event] += consumers

    def _let_go(self, event: str) -> None:
        self._held[event] -= 1
        if not self._held[event]:
            del self._held[event]

    def holds(self, event: str) -> bool:
        """Whether somebody is not done with the event of this id; see `HoldingRelay`."""
        return event in self._held

    def tell(self, address: str, envelope: Envelope) -> None:
        """Send to whoever listens right now, see `Transport.tell`."""
        waiting = self._inboxes.get(address)
        if waiting is not None and not waiting.done():
            waiting.set_result(envelope)
        elif address[: self._cut] in self._prefixes:
            self.publish(address, envelope).exception()  # a stream listens to it, as with NATS

    async def request(
        self,
        subject: str,
        envelope: Envelope,
        *,
        timeout: float,  # the port's: an answer is what is waited for
    ) -> Envelope:
        """Publish and wait for the answer, see `Transport.request`."""
        address = f"_INBOX.memory.{next(self._numbers)}"
        answer: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._inboxes[address] = answer
        alarm = self.later(timeout, lambda: answer.done() or answer.cancel())
        try:
            await self.publish(subject, envelope.model_copy(update={"replyto": address}))
            await asyncio.wait((answer,))
            if answer.cancelled():
                raise Unavailable(
                    f"No answer to {envelope.type} within {timeout:g} s.",
                    hint="It may still be handled.",
                )
            return answer.result()
        finally:
            alarm.cancel()
            del self._inboxes[address]

    async def ask(self, subject: str, question: bytes, *, timeout: float) -> bytes:
        """See `Questions.ask`."""
        serving = self._served.get(subject)
        if not serving:
            raise Unavailable(f"Nobody answers at {subject}.", hint="Does it run?")
        asked = asyncio.ensure_future(serving[0].answer(question))
        alarm = self.later(timeout, asked.cancel)
        try:
            await asyncio.wait((asked,))
            if asked.cancelled():
                raise Unavailable(f"No answer within {timeout:g} s.")
            return asked.result()
        finally:
            alarm.cancel()
            asked.cancel()

    async def serve(self, name: str, endpoints: Sequence[Endpoint]) -> Subscription:
        """See `Questions.serve`."""
        for endpoint in endpoints:
            self._served.setdefault(endpoint.subject, []).append(endpoint)
        return _Serving(self._served, endpoints)

    async def consume(self, consumer: Consumer, handler: Handler) -> Subscription:
        """Deliver what matches, see `Transport.consume`.

        Raises:
            InvalidInput: such a consumer cannot be.
        """
        stream = self._streams.get(consumer.stream)
        if stream is None or not is_token(consumer.name):
            raise InvalidInput(f"{consumer.name!r} on {consumer.stream!r} cannot be a consumer.")
        durable = stream.durables.get(consumer.name)
        if durable is None:
            durable = stream.durables[consumer.name] = Durable(self, consumer)
        else:
            durable.update(consumer)
        stream.routes.clear()
        stream.claim(durable)
        durable.handlers.append(handler)
        durable.pump_soon()
        return _Subscription(durable, handler)

    async def close(self) -> None:
        """Deliver nothing more. Closing twice is fine."""
        self._closed = True
        for stream in self._streams.values():
            for durable in stream.durables.values():
                durable.handlers.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ── for operators and tests ──────────────────────────────────────────────────────────────────

    async def dead_letters(self, *, after: int = 0, limit: int = 100) -> list[tuple[int, Envelope]]:
        """Dead letters with their numbers, the oldest first, from the one after `after`."""
        return [(number, letter) for number, letter in self._dead if number > after][:limit]

    # ── for its consumers ────────────────────────────────────────────────────────────────────────

    def later(self, seconds: float, work: Callable[[], object]) -> asyncio.Task[None]:
        """Do something once the clock has moved that far."""

        async def wait() -> None:
            await self.clock.sleep(seconds)
            work()

        task = asyncio.get_running_loop().create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def bury(self, who: str, subject: str, envelope: Envelope, reason: str, detail: str) -> None:
        """Add a dead letter."""
        letter = dead_letter(
            who, reason, detail, subject=subject, body=encode(envelope), envelope=envelope
        )
        _log.warning("put_aside", consumer=who, reason=letter.reason, subject=subject)
        number = next(self._numbers)
        self._dead.append((number, letter.to_envelope(f"{who}/{number}")))


def _check(envelope: Envelope) -> None:
    """The limits of the wire, without writing the whole envelope for each message."""
    if envelope.data is None:
        return
    try:
        size = len(to_json(envelope.data))
    except PydanticSerializationError as error:
        raise InvalidInput(f"{envelope.type} cannot be written as JSON: {error}") from error
    if size > MAX_PAYLOAD_BYTES - _ENVELOPE_BYTES:
        encode(envelope)
