"""Runs the views that follow behind the log: each at its own pace, none in another's way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from es_saga.core.messages import PARTS
from es_saga.engine.ports import Clock

IDLE_SECONDS = 0.25
"""How often an idle view looks for events that another process wrote."""

FAILED_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Waits after a view raised; the last one repeats."""

_log = structlog.get_logger("es_saga.projector")


class Advancing(Protocol):
    """How a view is moved on: `es_saga.adapters.catch_up`."""

    async def prepare(self, view: Any) -> None: ...

    async def advance(self, view: Any, part: int) -> int: ...


class Named(Protocol):
    """Of a view, the projector needs no more than the name."""

    @property
    def name(self) -> str: ...


@dataclass(slots=True)
class Progress:
    """How one view is doing."""

    events: int = 0
    """Taken in since the start."""
    error: str | None = None
    """Why it stands still, if it does."""
    failures: int = 0
    """In a row."""


class Projector:
    """Keeps views up to date until stopped. A view that fails stands still alone, and retries."""

    def __init__(self, views: Sequence[Named], catch_up: Advancing, clock: Clock) -> None:
        self._views = tuple(views)
        self._catch_up = catch_up
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []
        self._news = {view.name: asyncio.Event() for view in self._views}
        self.progress = {view.name: Progress() for view in self._views}

    async def start(self) -> None:
        """Begin to follow the log."""
        self._tasks = [asyncio.create_task(self._follow(view)) for view in self._views]

    async def stop(self) -> None:
        """Stop where it is; what is written has its checkpoint."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def wake(self) -> None:
        """There are new events."""
        for news in self._news.values():
            news.set()

    async def catch_up(self, view: Named) -> int:
        """Take in everything there is by now; the number of events."""
        await self._catch_up.prepare(view)
        return await self._round(view)

    async def _follow(self, view: Named) -> None:
        progress, news = self.progress[view.name], self._news[view.name]
        prepared = False
        while True:
            try:
                if not prepared:
                    await self._catch_up.prepare(view)
                    prepared = True
                news.clear()
                await self._round(view)
                progress.error, progress.failures = None, 0
            except Exception as error:  # a user's view may raise anything: it alone stands still
                progress.error = f"{type(error).__name__}: {error}"[:500]
                wait = FAILED_SECONDS[min(progress.failures, len(FAILED_SECONDS) - 1)]
                progress.failures += 1
                _log.exception("view_failed", view=view.name, retry_in=wait)
                await self._clock.sleep(wait)
                continue
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await news.wait()
            except TimeoutError:
                pass

    async def _round(self, view: Named) -> int:
        total = 0
        for part in range(PARTS):
            while taken := await self._catch_up.advance(view, part):
                total += taken
                self.progress[view.name].events += taken
        return total
