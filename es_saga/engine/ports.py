"""The engine's contracts with the world: a log, a pipe, a clock, and who owns which part.

Few methods each. The adapters in `es_saga.adapters` implement them for one technology a file, the
memory adapters among them, and all pass the same contract tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from es_saga.core.aggregate import SagaState
from es_saga.core.events import SagaEvent
from es_saga.core.messages import Envelope

# ── the log ──────────────────────────────────────────────────────────────────────────────────────


class Recorded(NamedTuple):
    """One committed event, where it stands in the log."""

    part: int
    position: int
    """1, 2, 3, … within the part, without gaps."""
    saga_id: str
    version: int
    """1, 2, 3, … within the saga, without gaps."""
    event: SagaEvent
    payload: bytes
    """The event as it is stored: JSON."""
    topic: str | None = None
    """The name it is stored under, where that may not be its class's: an older event was lifted."""


class Append(NamedTuple):
    """What one reaction adds to one saga's history."""

    saga_id: str
    version: int
    """Events the saga already has; the first new one gets `version + 1`."""
    events: Sequence[SagaEvent]
    state: SagaState
    """The saga after these events."""
    before: SagaState | None = None
    """The saga before them, where it is at hand; else the log is read if a view asks."""


class Store(Protocol):
    """The saga log. Optimistic: a taken version or position refuses the write."""

    def append(self, part: int, batch: Sequence[Append]) -> asyncio.Future[list[int | None]]:
        """Append in one transaction; must be called from the event loop's thread.

        Returns, for each item, the position of its last event, or None where its version was
        already taken (nothing of that item was written). Batches of one part commit in the order
        of the calls. Inline views and the log commit together.

        Raises (through the future):
            Unavailable: the database is out of reach; it may or may not have committed.
        """
        ...

    async def load(self, saga_ids: Collection[str]) -> Mapping[str, Sequence[SagaEvent]]:
        """Whole histories, oldest event first; absent ids are absent. Any number of ids.

        Raises:
            CorruptHistory: versions have a gap, or an event cannot be read.
            Unavailable: the database is out of reach.
        """
        ...

    async def read(self, part: int, *, after: int, limit: int) -> Sequence[Recorded]:
        """Up to `limit` events of a part with positions above `after`, in order."""
        ...

    async def head(self, part: int) -> int:
        """Position of the part's last event; 0 when it has none."""
        ...

    async def claim(self, part: int) -> int:
        """Forget what is remembered of a part's position, as its new owner must; its head."""
        ...

    async def open_sagas(self, part: int) -> Sequence[tuple[str, float | None]]:
        """Id and next due time of every saga of the part that is not closed."""
        ...

    async def checkpoint(self, name: str, part: int) -> int:
        """How far the named reader has come in a part; 0 when it has not begun."""
        ...

    async def advance(self, name: str, positions: Mapping[int, int]) -> None:
        """Move the named reader forward (part to position); never moves backward."""
        ...

    async def close(self) -> None:
        """Write what was submitted, then let go of the database."""
        ...


# ── the pipe ─────────────────────────────────────────────────────────────────────────────────────


class Delivery(Protocol):
    """One message handed to us, to be settled exactly once: acked, put back, or put aside."""

    @property
    def envelope(self) -> Envelope: ...

    @property
    def delivered(self) -> int:
        """How often it has been delivered, this time included."""
        ...

    def ack(self) -> None:
        """Done with it. Cheap; the ack may be lost and the message come again."""
        ...

    def nak(self, delay: float = 0.0) -> None:
        """Deliver it again, `delay` seconds from now."""
        ...

    def reject(self, reason: str, detail: str = "") -> None:
        """Put it among the dead letters under `reason` (a subject token) and never see it again."""
        ...


Handler = Callable[[Delivery], None]
"""Takes a delivery and returns at once: it only enqueues."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who reads what. Durable: several processes with one name share the messages."""

    name: str
    """`pm-<app>-<part>`, `svc-<service>` or `evt-<listener>--<service>`; also who stands in the
    dead letters."""
    stream: str
    """`CMD`, `RPL` or `EVT`."""
    filter: str
    """Subject filter, with `*` and `>`."""
    max_ack_pending: int = 256
    ack_wait: float = 30.0
    """Seconds after which an unsettled message is delivered again."""
    backoff: tuple[float, ...] = ()
    """Seconds before the second, third, … delivery; replaces `ack_wait` where given."""
    max_deliver: int | None = None
    """Deliveries after which a message becomes a dead letter; None: never."""
    in_order: bool = False
    """After a restart or an outage, what was delivered and not settled comes before what follows
    it, and some that was settled comes again."""


class Subscription(Protocol):
    """Messages being delivered to a handler."""

    async def stop(self) -> None:
        """Deliver no more. What was delivered can still be settled."""
        ...


class Transport(Protocol):
    """A redelivering pipe: at least once, no order across messages, loss possible."""

    @property
    def connected(self) -> bool:
        """Whether the broker is within reach right now."""
        ...

    def publish(
        self, subject: str, envelope: Envelope, *, ttl: float | None = None
    ) -> asyncio.Future[None]:
        """Send durably; done when the broker has it, however long that takes.

        Sent again by itself, under the same id, until the broker confirms. `ttl` in seconds: after
        that the broker may drop it. The future fails only when the transport is closed, or with
        InvalidInput when the message is over the size limit.
        """
        ...

    def tell(self, address: str, envelope: Envelope) -> None:
        """Send to whoever listens right now; nobody may. Never raises, never waits."""
        ...

    async def request(self, subject: str, envelope: Envelope, *, timeout: float) -> Envelope:
        """Publish durably with a private `replyto`, and wait for the one who tells it.

        Raises:
            Unavailable: no answer within `timeout` seconds; the message may still be handled.
        """
        ...

    async def consume(self, consumer: Consumer, handler: Handler) -> Subscription:
        """Have everything that matches delivered to `handler`, until stopped."""
        ...

    async def close(self) -> None:
        """Send what is buffered, then disconnect."""
        ...


# ── questions ────────────────────────────────────────────────────────────────────────────────────


class Endpoint(NamedTuple):
    """One question that somebody answers."""

    name: str
    subject: str
    answer: Callable[[bytes], Awaitable[bytes]]
    """From JSON to JSON. A SagaError is told to whoever asked, with its code."""


class Questions(Protocol):
    """Asking, and being asked: nothing is stored, and nobody may be there."""

    async def ask(self, subject: str, question: bytes, *, timeout: float) -> bytes:
        """The answer of one of those who serve the subject.

        Raises:
            Unavailable: nobody is there, or no answer came within `timeout` seconds.
            SagaError: of the class whose code the answer has.
        """
        ...

    async def serve(self, name: str, endpoints: Sequence[Endpoint]) -> Subscription:
        """Answer what is asked at these, until stopped; several who serve share the questions.

        Raises:
            Unavailable: the broker is out of reach.
        """
        ...


# ── time and ownership ───────────────────────────────────────────────────────────────────────────


class Clock(Protocol):
    """Wall time. Simulations bring their own."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Leases(Protocol):
    """Which parts are ours. Efficiency only: correctness rests on the log's keys."""

    async def held(self) -> frozenset[int]:
        """Renew, take and give back as is fair; the parts held now. Called every few seconds.

        Raises:
            Unavailable: nobody can tell for now; what was held may be kept.
        """
        ...

    async def release(self, parts: Iterable[int]) -> None:
        """Give parts back, so that another process may take them at once."""
        ...
