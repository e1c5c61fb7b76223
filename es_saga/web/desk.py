"""Everything that pages and endpoints may ask for; made in `es_saga.cli.compose`.

Reads go to the database of the log, in a few threads of their own. Whatever changes something goes
to the process manager, by message: this process never writes to the log. Read models it may make
anew from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa

from es_saga.core.compiled import Definition
from es_saga.core.errors import NotFound, Unavailable
from es_saga.engine.client import Client
from es_saga.engine.ports import Questions
from es_saga.projections.news import News
from es_saga.projections.progress import Progresses
from es_saga.projections.queries import Queries
from es_saga.replay import Replay
from es_saga.web import histories
from es_saga.web.access import Access
from es_saga.web.feed import Feed
from es_saga.web.histories import Log, NoLog
from es_saga.web.upkeep import Upkeep, Workshop

READERS: Final = 4
"""Threads that read from the database: one fewer than its pool has connections."""

MAX_QUESTIONS: Final = 256
"""Questions that may wait for a reader; beyond, whoever asks is told to come back."""

HARD_AT_ONCE: Final = 2
"""Of the threads, those that may be deep in thought."""

BUSY_SECONDS: Final = 1.0
"""When to come back, then."""

P = ParamSpec("P")
R = TypeVar("R")


class Line(Protocol):
    """The way to the process manager: connected when it is first needed, again when it broke."""

    async def client(self) -> Client:
        """A client of the app.

        Raises:
            Unavailable: the broker is out of reach, or no app runs.
        """
        ...

    async def questions(self) -> Questions:
        """The way to the participants.

        Raises:
            Unavailable: the broker is out of reach, or no app runs.
        """
        ...

    async def unserved(self, services: Collection[str]) -> Collection[str]:
        """Those of these services whose commands nobody takes now.

        Raises:
            Unavailable: the broker is out of reach, or no app runs.
        """
        ...

    @property
    def tenant(self) -> str:
        """Whose participants those are."""
        ...


class NoLine:
    """Nobody to send anything to: only what is in the log can be looked at."""

    async def client(self) -> Client:
        """There is none.

        Raises:
            Unavailable: always.
        """
        raise _nobody()

    async def questions(self) -> Questions:
        """There is none.

        Raises:
            Unavailable: always.
        """
        raise _nobody()

    async def unserved(self, services: Collection[str]) -> Collection[str]:
        """Nobody knows.

        Raises:
            Unavailable: always.
        """
        raise _nobody()

    @property
    def tenant(self) -> str:
        """Nobody's."""
        return "main"


def _nobody() -> Unavailable:
    return Unavailable(
        "There is no process manager to ask.",
        hint="Start it with `es-saga run APP`, then ask again.",
    )


class Desk:
    """The queries, the way to the process manager, the code, and who may ask.

    Args:
        engine: on the database of the log.
        line: the way to the process manager.
        definitions: the code, where an app was given; without it the log still has the shapes.
        access: whose tokens count.
        log: the log itself, for what takes the values that are hidden from everybody.
        views: the read models there are, and whether each is kept in step with the log.
        workshop: where they are verified and rebuilt.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        line: Line | None = None,
        definitions: Sequence[Definition] = (),
        access: Access | None = None,
        log: Log | None = None,
        views: Mapping[str, bool] | None = None,
        workshop: Workshop | None = None,
    ) -> None:
        self.queries = Queries(engine)
        """The read side of the log. Blocking: ask it by `ask`."""
        self.progresses = Progresses(engine)
        """How far the read models are. Blocking, too."""
        self.views = dict(views or {})
        self.upkeep = Upkeep(workshop)
        """What is being done about the read models."""
        self.line: Line = line or NoLine()
        self.code: Mapping[tuple[str, int], Definition] = {
            (definition.name, definition.version): definition for definition in definitions
        }
        self.access = access or Access()
        self.feed = Feed(News(engine), self.ask)
        """The log as it grows."""
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="desk")
        self._asked = 0
        self._log: Log = log or NoLog()
        self._hard = asyncio.Semaphore(HARD_AT_ONCE)

    async def ask(self, question: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The answer to a blocking question, asked in one of a few threads.

        Raises:
            Unavailable: too many are waiting already.
        """
        if self._asked >= READERS + MAX_QUESTIONS:
            raise Unavailable(
                f"{MAX_QUESTIONS} questions are waiting already.", retry_after=BUSY_SECONDS
            )
        self._asked += 1
        loop = asyncio.get_running_loop()
        asked = loop.run_in_executor(self._threads, partial(question, *args, **kwargs))
        asked.add_done_callback(self._answered)
        return await asked

    def _answered(self, _answer: object) -> None:
        self._asked -= 1

    async def think(self, question: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """As `ask`, for what takes long: a few at a time, so that the quick ones get through."""
        async with self._hard:
            return await self.ask(question, *args, **kwargs)

    async def replay(self, saga_id: str) -> Replay:
        """A saga's history, moment by moment, with sensitive values hidden.

        Raises:
            NotFound: there is no such saga.
            IllegalOperation: it is too long.
        """
        return await self.think(histories.shown, self.queries, saga_id)

    async def history(self, saga_id: str) -> Replay:
        """The same as it is, not to be shown. Raises as `replay` does, and without a key."""
        await self.ask(histories.check_length, self.queries, saga_id)
        await self.think(self.queries.verify, saga_id)
        return await histories.real(self._log, saga_id)

    async def client(self) -> Client:
        """Who to send starts and verbs to.

        Raises:
            Unavailable: the broker is out of reach, or no app runs.
        """
        return await self.line.client()

    def definition(self, saga_type: str, version: int) -> Definition:
        """The code of one version of a saga type.

        Raises:
            NotFound: it is not here.
        """
        try:
            return self.code[saga_type, version]
        except KeyError:
            raise NotFound(
                f"The code of {saga_type[:80]!r}, version {version}, is not here.",
                hint="Start it as `es-saga ui APP`, with the app that has it.",
            ) from None

    async def close(self) -> None:
        """End what does not end by itself; answer what was asked, then no more."""
        await self.feed.close()
        await self.upkeep.close()
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
