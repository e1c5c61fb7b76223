"""Processes that die without warning, and come back."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, Final, NoReturn

from es_saga.testing.simulation.journal import Journal, What
from es_saga.testing.simulation.loop import OWNER, SimulatedLoop

EXIT_SECONDS: Final = 1.0
"""How long a process is away that has ended itself."""


class Died(BaseException):
    """The process died while it was at work. Nobody handles that."""


class Process:
    """One life of a manager or of a participant. Nothing that it holds acts after its death.

    Args:
        again: begins the next life.
    """

    def __init__(
        self, name: str, loop: SimulatedLoop, journal: Journal, again: Callable[[], object]
    ) -> None:
        self.name = name
        self.alive = True
        self.readers: list[Callable[[], None]] = []
        """How it leaves each of the queues that it reads."""
        self.loop = loop
        self.journal = journal
        self._again = again
        self._tasks: list[asyncio.Task[Any]] = []

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Have it do something; that ends with its life."""

        def begin() -> None:
            OWNER.set(self._tasks)
            _RUNNING.set(self)
            self.loop.create_task(work).add_done_callback(self._ended)

        copy_context().run(begin)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.journal.troubles.append(f"{self.name}: {type(error).__name__}: {error}")

    def die(self, seconds: float) -> None:
        """`kill -9`; the next life begins `seconds` later."""
        if not self.alive:
            return
        self.alive = False
        self.journal.note(self.name, What.LIFE, "dies")
        for task in self._tasks:
            task.cancel()
        for leave in self.readers:
            leave()
        self.loop.after(seconds, self._come_back)

    def _come_back(self) -> None:
        self.journal.note(self.name, What.LIFE, "is back")
        self._again()

    def never(self) -> asyncio.Future[Any]:
        """What the dead wait for."""
        return self.loop.create_future()


_RUNNING: ContextVar[Process | None] = ContextVar("_RUNNING", default=None)
"""The process whose code runs right now."""


@contextmanager
def exits_are_deaths() -> Generator[None]:
    """Have `os._exit` end the simulated process that calls it, and not this one."""
    leave, thread = os._exit, threading.get_ident()

    def ended(status: int) -> NoReturn:
        process = _RUNNING.get() if threading.get_ident() == thread else None
        if process is None:
            leave(status)
        process.die(EXIT_SECONDS)
        raise Died

    os._exit = ended
    try:
        yield
    finally:
        os._exit = leave
