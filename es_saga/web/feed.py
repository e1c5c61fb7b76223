"""The log as it grows, for everybody who follows it from here: one reader, many listeners.

One task reads what is new and keeps the last pages in memory. A listener is a place in the log and
no buffer: one that is quick is served from these pages, one that fell behind, or comes back to an
earlier place, reads from the database until it has caught up. So nobody waits for anybody, and a
slow one costs no memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, ParamSpec, Protocol, TypeVar

import structlog

from es_saga.core.errors import InvalidInput, Unavailable
from es_saga.projections.news import Happening, News, Page, Positions

POLL_SECONDS: Final = 0.05
"""How often the end of the log is looked at while somebody listens."""

OUTAGE_SECONDS: Final = 1.0
"""How often, while the database is out of reach."""

KEPT: Final = 5_000
"""Events kept in memory; whoever is further behind reads from the database."""

MAX_LISTENERS: Final = 200
"""Streams at once; beyond, the answer is 503."""

MAX_WATCHING: Final = 1_000
"""Requests that wait for a saga at once; beyond, the answer is 503."""

BUSY_SECONDS: Final = 5.0
"""When somebody who found no room should come back."""

P = ParamSpec("P")
R = TypeVar("R")

_log = structlog.get_logger("es_saga.web")


class Ask(Protocol):
    """How a blocking question is asked, see `es_saga.web.desk.Desk.ask`."""

    async def __call__(
        self, question: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...


class Wanted(NamedTuple):
    """Which events a listener wants: of one saga, of one type, or all."""

    saga_id: str | None = None
    saga_type: str | None = None

    def takes(self, happening: Happening) -> bool:
        """Whether this is one of them."""
        return self.saga_id in (None, happening.saga_id) and self.saga_type in (
            None,
            happening.saga_type,
        )


class _Kept(NamedTuple):
    """A page in memory, and what had been read before it."""

    number: int
    before: Positions
    page: Page


class Feed:
    """Follows the log while anybody listens."""

    def __init__(self, news: News, ask: Ask) -> None:
        self.closed = False
        self.news = news
        self._ask = ask
        self._listeners: set[Listener] = set()
        self._listening = 0
        self._watching: dict[str, set[asyncio.Event]] = {}
        self._watchers = 0
        self._entering = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._reached: Positions | None = None
        self._kept: deque[_Kept] = deque()
        self._count = 0
        """Events in the pages kept."""
        self._number = 0
        """Of the next page."""

    @property
    def listeners(self) -> int:
        """Streams that are open."""
        return self._listening

    @property
    def watchers(self) -> int:
        """Requests that wait for a saga."""
        return self._watchers

    @property
    def reading(self) -> bool:
        """Whether the log is being followed."""
        return self._reader is not None

    # ── for those who follow ─────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def listening(
        self, wanted: Wanted, after: Positions | None = None
    ) -> AsyncGenerator[Listener, None]:
        """Follow the log from `after` on; without it, from now on.

        Raises:
            Unavailable: the database is out of reach, or too many listen already.
            InvalidInput: `after` is beyond the log's end.
        """
        if self._listening >= MAX_LISTENERS:
            raise Unavailable(
                f"{MAX_LISTENERS} streams are open already.", retry_after=BUSY_SECONDS
            )
        self._listening += 1
        try:
            reached = await self._follow()
            if after is not None and not reached.covers(after):
                end = await self._ask(self.news.end)
                if not end.covers(after):
                    raise InvalidInput(
                        "That place is beyond the log's end.", hint="Begin anew, without an id."
                    )
            listener = Listener(self, wanted, after or reached)
            self._listeners.add(listener)
            try:
                yield listener
            finally:
                self._listeners.discard(listener)
        finally:
            self._listening -= 1
            self._rest()

    @asynccontextmanager
    async def watching(self, saga_id: str) -> AsyncGenerator[asyncio.Event, None]:
        """An event that is set whenever something happens to a saga from now on.

        Raises:
            Unavailable: the database is out of reach, or too many wait already.
        """
        if self._watchers >= MAX_WATCHING:
            raise Unavailable(
                f"{MAX_WATCHING} requests wait for sagas already.", retry_after=BUSY_SECONDS
            )
        changed = asyncio.Event()
        self._watchers += 1
        self._watching.setdefault(saga_id, set()).add(changed)
        try:
            await self._follow()
            yield changed
        finally:
            self._watchers -= 1
            self._watching[saga_id].discard(changed)
            if not self._watching[saga_id]:
                del self._watching[saga_id]
            self._rest()

    async def close(self) -> None:
        """Let everybody who listens or waits end."""
        self.closed = True
        for listener in self._listeners:
            listener.news.set()
        for waiting in self._watching.values():
            for changed in waiting:
                changed.set()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    async def _follow(self) -> Positions:
        """Make sure that the log is being read; how far it has been."""
        if self.closed:
            raise Unavailable("The server is stopping.", retry_after=BUSY_SECONDS)
        async with self._entering:
            if self._reached is None:
                self._reached = await self._ask(self.news.end)
            if self._reader is None:
                self._reader = asyncio.create_task(self._read())
            return self._reached

    def _rest(self) -> None:
        """Stop reading when nobody is left; what is kept would be old when somebody comes."""
        if self._listening or self._watchers or self._reader is None:
            return
        self._reader.cancel()
        self._reader = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._reached = None
        self._kept.clear()
        self._count = 0
        self._number += 1  # a gap: nobody goes on from a page before it without looking

    async def _read(self) -> None:
        failing = False
        while True:
            try:
                if self._reached is None:
                    self._reached = await self._ask(self.news.end)
                before = self._reached
                page = await self._ask(self.news.after, before)
            except InvalidInput:  # the log is another one, as after a restore
                self._begin_anew()
                for listener in self._listeners:
                    listener.end()
                continue
            except Exception as error:  # whatever it is, the listeners stay and it is tried again
                if not failing:
                    _log.warning("feed_interrupted", error=f"{type(error).__name__}: {error}")
                failing = True
                await asyncio.sleep(OUTAGE_SECONDS)
                continue
            failing = False
            self._reached = page.positions
            if page.happenings:
                self._keep(before, page)
            else:
                await asyncio.sleep(POLL_SECONDS)

    def _keep(self, before: Positions, page: Page) -> None:
        self._kept.append(_Kept(self._number, before, page))
        self._number += 1
        self._count += len(page.happenings)
        while self._count > KEPT and len(self._kept) > 1:
            self._count -= len(self._kept.popleft().page.happenings)
        for listener in self._listeners:
            listener.news.set()
        for happening in page.happenings:
            for changed in self._watching.get(happening.saga_id, ()):
                changed.set()

    # ── for listeners ────────────────────────────────────────────────────────────────────────────

    def kept(self, number: int) -> Page | None:
        """The page of that number, if it is in memory."""
        if not self._kept:
            return None
        index = number - self._kept[0].number
        return self._kept[index].page if 0 <= index < len(self._kept) else None

    def joins(self, seen: Positions) -> int | None:
        """The number of the page that goes on from `seen`; None: memory begins later than that."""
        if self._reached is not None and seen.covers(self._reached):
            return self._number
        return next(
            (page.number for page in reversed(self._kept) if seen.covers(page.before)), None
        )

    async def older(self, seen: Positions, wanted: Wanted) -> Page:
        """What is behind `seen`, from the database."""
        return await self._ask(
            self.news.after, seen, saga_id=wanted.saga_id, saga_type=wanted.saga_type
        )


class Listener:
    """A place in the log that moves on."""

    def __init__(self, feed: Feed, wanted: Wanted, seen: Positions) -> None:
        self.news = asyncio.Event()
        self.seen = seen
        """Everything up to here was handed out."""
        self._feed = feed
        self._wanted = wanted
        self._next: int | None = None
        self._ended = False

    @property
    def over(self) -> bool:
        """Whether nothing will come any more."""
        return self._ended or self._feed.closed

    def end(self) -> None:
        """Nothing more: it has lasted long enough, or the log is not the one it was."""
        self._ended = True
        self.news.set()

    async def page(self, patience: float) -> Page | None:
        """What happened next of what is wanted; None when nothing did for `patience` seconds.

        A page may be empty: then others' events were passed, and the place has moved.

        Raises:
            Unavailable: the database is out of reach, and what is wanted is not in memory.
            InvalidInput: the log is not the one it was.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not self.over:
                    self.news.clear()
                    page = await self._take()
                    if page is not None:
                        self.seen = page.positions
                        return page
                    await self.news.wait()
        return None

    async def _take(self) -> Page | None:
        page = None if self._next is None else self._feed.kept(self._next)
        if page is None:
            self._next = self._feed.joins(self.seen)
            if self._next is None:
                return await self._feed.older(self.seen, self._wanted)
            page = self._feed.kept(self._next)
            if page is None:
                return None
        assert self._next is not None, "it was found by its number"
        self._next += 1
        seen = self.seen.of
        fresh = tuple(
            one
            for one in page.happenings
            if one.position > seen[one.part] and self._wanted.takes(one)
        )
        return Page(fresh, Positions(tuple(map(max, seen, page.positions.of))))
