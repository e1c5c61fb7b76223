"""Runs the views that follow behind the log: each at its own pace, none in another's way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from es_saga.core.errors import NotFound, Unavailable
from es_saga.engine.following import Following, Halt, Named, Undigested
from es_saga.engine.ports import Clock

MAX_EVENTS: Final = 1_000
"""Events in one step; fewer while it is looked for the one that cannot be taken in."""

IDLE_SECONDS: Final = 0.25
"""How often an idle view looks for events that another process wrote."""

GATHER_SECONDS: Final = 0.01
"""What comes in so short a time after the last step is taken in together."""

ELSEWHERE_SECONDS: Final = 0.05
"""How soon we look again at a view that another process is just moving on."""

FAILED_SECONDS: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Waits after a view raised; the last one repeats."""

MAX_ERROR_CHARS: Final = 500

_log = structlog.get_logger("es_saga.projector")


@dataclass(slots=True)
class Doing:
    """How one view is doing in this process."""

    events: int = 0
    """Taken in since the start."""
    left: int = 0
    """Events that were there when it was last looked at, and not taken in."""
    halt: Halt | None = None
    """Why it stands still, if it does."""


class Projector:
    """Keeps views up to date until stopped. A view that fails stands still alone, and retries."""

    def __init__(self, views: Sequence[Named], catch_up: Following, clock: Clock) -> None:
        self._views = tuple(views)
        self._catch_up = catch_up
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []
        self._news = {view.name: asyncio.Event() for view in self._views}
        self._moved = {view.name: asyncio.Condition() for view in self._views}
        self._unsure = {view.name for view in self._views}
        """Views of which other processes may still be told that they stand still."""
        self.doing = {view.name: Doing() for view in self._views}
        """By name of the view."""

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
        """Take in everything there is by now; the number of events.

        Raises:
            Undigested: the view raised, or an event cannot be read.
            Unavailable: the database is out of reach.
        """
        await self._catch_up.prepare(view)
        total = 0
        while True:
            step = await self._catch_up.advance(view, MAX_EVENTS)
            total += step.taken
            if step.elsewhere:
                await self._clock.sleep(ELSEWHERE_SECONDS)
            elif not step.taken:
                return total

    async def wait(self, name: str, saga_id: str, version: int, *, timeout: float) -> bool:
        """Whether a view has taken in a saga's event by then; as soon as it has.

        Raises:
            NotFound: there is no such view here, or no such event.
            Unavailable: the database is out of reach.
        """
        moved = self._moved.get(name)
        if moved is None:
            raise NotFound(f"There is no view {name!r} here.")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                async with moved:
                    while not await self._catch_up.reached(name, saga_id, version):
                        await moved.wait()
                return True
        return False

    # ── one view ─────────────────────────────────────────────────────────────────────────────────

    async def _follow(self, view: Named) -> None:
        doing, news = self.doing[view.name], self._news[view.name]
        limit, prepared = MAX_EVENTS, False
        while True:
            try:
                if not prepared:
                    await self._catch_up.prepare(view)
                    prepared = True
                news.clear()
                elsewhere = await self._step(view, limit)
                limit = min(2 * limit, MAX_EVENTS)
            except Undigested as error:
                _log.warning("view_failed", view=view.name, error=_text(error), events=error.events)
                if error.events > 1:
                    # One of them is at fault; those before it are taken in.
                    limit = error.events // 2
                    continue
                await self._stand_still(view, error, error.part, error.position)
                limit = 1
            except Exception as error:  # whatever it is, it is this view's own trouble
                _log.warning("view_failed", view=view.name, error=_text(error))
                await self._stand_still(view, error)
            else:
                if elsewhere:
                    # Who is at it has perhaps not seen what we were woken for.
                    await self._clock.sleep(ELSEWHERE_SECONDS)
                elif not doing.left:
                    await self._rest(news)

    async def _step(self, view: Named, limit: int) -> bool:
        """Take some events in; whether another process is at it instead."""
        doing = self.doing[view.name]
        step = await self._catch_up.advance(view, limit)
        doing.events += step.taken
        doing.left = step.left
        if step.taken:
            async with self._moved[view.name]:
                self._moved[view.name].notify_all()
        # What an earlier process could not take in is known to all, until somebody takes it in.
        if not step.elsewhere and (doing.halt is not None or view.name in self._unsure):
            await self._catch_up.report(view.name, None)
            self._unsure.discard(view.name)
            doing.halt = None
        return step.elsewhere

    async def _rest(self, news: asyncio.Event) -> None:
        """Until there is something to do; what comes together is then taken in together."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                await news.wait()
        await self._clock.sleep(GATHER_SECONDS)

    async def _stand_still(
        self, view: Named, error: Exception, part: int | None = None, position: int | None = None
    ) -> None:
        """Say why, and wait before it is tried again."""
        doing = self.doing[view.name]
        failures = doing.halt.failures + 1 if doing.halt else 1
        doing.halt = Halt(_text(error), failures, part, position)
        if not isinstance(error, Unavailable):
            # Who cannot be told is told when it fails the next time.
            with contextlib.suppress(Unavailable):
                await self._catch_up.report(view.name, doing.halt)
        await self._clock.sleep(FAILED_SECONDS[min(failures, len(FAILED_SECONDS)) - 1])


def _text(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, Undigested) and error.__cause__ else error
    return f"{type(cause).__name__}: {cause}"[:MAX_ERROR_CHARS]
