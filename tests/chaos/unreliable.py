"""A pipe that duplicates, delays and loses some of what it is given, by a seeded die."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

from es_saga.core.messages import Envelope
from es_saga.engine.ports import Consumer, Handler, Subscription, Transport

LOST = 0.01
"""Share of the messages that are confirmed and never sent: only a timer repairs that."""

DOUBLED = 0.05
DELAYED = 0.05
COPY = "~"
"""What parts the id of a copy from the number of the copy."""

MOST_SECONDS = 0.7
"""Longest delay: long enough to overtake, and be overtaken by, the rest of a saga."""


class Unreliable:
    """A transport over another one. What it did is noted in a file, a letter each."""

    def __init__(self, transport: Transport, seed: str, notes: Path) -> None:
        self._transport = transport
        self._die = random.Random(seed)
        self._notes = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._copies = 0

    @property
    def connected(self) -> bool:
        return self._transport.connected

    def publish(
        self, subject: str, envelope: Envelope, *, ttl: float | None = None
    ) -> asyncio.Future[None]:
        """Send, or do something else and say that it was sent."""
        roll = self._die.random()
        if envelope.commandid is None:
            # Nobody asks for an event again, and a copy under another id would be another event.
            roll = max(roll, LOST + DOUBLED)
        if roll < LOST:
            os.write(self._notes, b"l")
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        if roll < LOST + DOUBLED:
            os.write(self._notes, b"d")
            self._copies += 1
            # Under another id, which the broker cannot know for a copy.
            copy = envelope.model_copy(update={"id": f"{envelope.id}{COPY}{self._copies}"})
            self._transport.publish(subject, copy, ttl=ttl)
        elif roll < LOST + DOUBLED + DELAYED:
            os.write(self._notes, b"w")
            return asyncio.ensure_future(self._late(subject, envelope, ttl))
        return self._transport.publish(subject, envelope, ttl=ttl)

    async def _late(self, subject: str, envelope: Envelope, ttl: float | None) -> None:
        await asyncio.sleep(self._die.uniform(0, MOST_SECONDS))
        await self._transport.publish(subject, envelope, ttl=ttl)

    def tell(self, address: str, envelope: Envelope) -> None:
        self._transport.tell(address, envelope)

    async def request(self, subject: str, envelope: Envelope, *, timeout: float) -> Envelope:
        return await self._transport.request(subject, envelope, timeout=timeout)

    async def consume(self, consumer: Consumer, handler: Handler) -> Subscription:
        return await self._transport.consume(consumer, handler)

    async def close(self) -> None:
        await self._transport.close()
