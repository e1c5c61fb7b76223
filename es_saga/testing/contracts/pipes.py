"""What the suite of transports uses: messages, a handler that remembers, and patience."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Protocol

from es_saga.core.errors import Unavailable
from es_saga.core.messages import Envelope, Subjects
from es_saga.engine.ports import Consumer, Delivery, Transport


class Pipe(Transport, Protocol):
    """A transport, and what operators may ask of it."""

    @property
    def subjects(self) -> Subjects: ...

    async def dead_letters(
        self, *, after: int = 0, limit: int = 100
    ) -> list[tuple[int, Envelope]]: ...


class Seen:
    """A handler that remembers, and settles as it is told: `ack`, `keep`, or a function."""

    def __init__(self, settle: Callable[[Delivery], None] | None = None) -> None:
        self.deliveries: list[Delivery] = []
        self.settle = settle or acknowledge

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self.settle(delivery)

    @property
    def ids(self) -> list[str]:
        return [delivery.envelope.id for delivery in self.deliveries]

    @property
    def distinct(self) -> set[str]:
        return set(self.ids)


def acknowledge(delivery: Delivery) -> None:
    delivery.ack()


def keep(delivery: Delivery) -> None:
    """Neither ack nor nak: as a consumer does that dies."""


def message(message_id: str, **fields: object) -> Envelope:
    fields = {"source": "test", "type": "ReserveStock", "data": {"sku": "tea"}} | fields
    return Envelope.model_validate({"id": message_id, **fields})


def stock(
    pipe: Pipe,
    *,
    max_ack_pending: int = 256,
    ack_wait: float = 30.0,
    backoff: tuple[float, ...] = (),
    max_deliver: int | None = None,
) -> Consumer:
    """A consumer of the commands to the service `stock`."""
    return Consumer(
        "svc-stock",
        "CMD",
        pipe.subjects.commands_of("stock"),
        max_ack_pending=max_ack_pending,
        ack_wait=ack_wait,
        backoff=backoff,
        max_deliver=max_deliver,
    )


def to_stock(pipe: Pipe) -> str:
    return pipe.subjects.command("stock", 3, "ReserveStock")


async def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until it holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


async def dead_letters(pipe: Pipe, count: int, seconds: float = 20.0) -> list[Envelope]:
    """The dead letters, once there are so many."""
    deadline = time.monotonic() + seconds
    letters: list[tuple[int, Envelope]] = []
    while len(letters) < count:
        assert time.monotonic() < deadline, f"{len(letters)} dead letters"
        with contextlib.suppress(Unavailable):
            letters = await pipe.dead_letters()
        await asyncio.sleep(0.01)
    return [letter for _, letter in letters]
