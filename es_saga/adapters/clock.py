"""Time: the machine's, or one that a test moves."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Final

SETTLE_TURNS: Final = 50
"""Turns of the event loop that a simulated clock gives the sleepers it has woken."""


class SystemClock:
    """The wall clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait in real time."""
        await asyncio.sleep(seconds)


class SimulatedClock:
    """Time that stands still until it is moved: `await clock.advance(30)`.

    Sleepers wake in the order of their times, each at its own time, and before the next one wakes
    the event loop runs `SETTLE_TURNS` turns. Work in threads is not waited for.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        """Simulated seconds since the epoch."""
        return self._now

    @property
    def next_wake(self) -> float | None:
        """When the first sleeper wakes; None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), sleeper))
        await sleeper

    async def advance(self, seconds: float) -> None:
        """Move the clock, and let happen what happens on the way."""
        assert seconds >= 0, "time does not run backwards"
        target = self._now + seconds
        await self._settle()
        while (due := self.next_wake) is not None and due <= target:
            _, _, sleeper = heapq.heappop(self._sleepers)
            self._now = max(self._now, due)
            sleeper.set_result(None)
            await self._settle()
        self._now = target
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)
