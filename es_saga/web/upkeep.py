"""Keeping read models true: compared with what the log says, or made anew from it.

Both go through the whole log, so they are done in the background, one after the other, and each
read model waits for one piece of work at most. What came of the last one is remembered as long as
this process lives. The work itself is somebody else's, who knows the database, see `Workshop`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

import structlog

from es_saga.core.errors import ConflictError, NotFound, SagaError, Unavailable

AT_ONCE: Final = 1
"""Pieces of work that are done at the same time; the others wait for their turn."""

Told = Callable[[int, int], None]
"""Is told how many events are done, and how many there are."""

_log = structlog.get_logger("es_saga.web")


class Work(StrEnum):
    """What can be done about a read model."""

    VERIFY = "verify"
    """Made anew beside the one in use and compared with it, row by row."""
    REBUILD = "rebuild"
    """Made anew, and put in the place of the one in use."""


class Difference(NamedTuple):
    """A row that is not what the log says."""

    table: str
    row: str
    what: str


class Finding(NamedTuple):
    """What came of a piece of work."""

    events: int
    """Taken in anew."""
    rows: int | None = None
    """Compared; None: it was rebuilt."""
    drifted: int = 0
    """Rows that are not what the log says."""
    first: Difference | None = None
    stopped_seconds: float = 0.0
    """How long nobody could write, while the two were exchanged."""


class Workshop(Protocol):
    """Where the work is done; blocking."""

    @property
    def names(self) -> Collection[str]:
        """The read models that it knows."""
        ...

    def carry_out(self, work: Work, name: str, told: Told) -> Finding:
        """Do it. What `told` raises ends it, and nothing is left behind.

        Raises:
            SagaError: it cannot be done.
        """
        ...


@dataclass(slots=True)
class Job:
    """A piece of work and how far it has come. One thread writes it, pages read it."""

    work: Work
    actor: str
    asked: float
    begun: bool = False
    done: int = 0
    of: int = 0
    ended: float | None = None
    finding: Finding | None = None
    error: SagaError | None = None


class Upkeep:
    """The work of this process, by read model."""

    def __init__(self, workshop: Workshop | None) -> None:
        self._workshop = workshop
        self._jobs: dict[str, Job] = {}
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="upkeep")
        self._closed = False

    def offered(self, name: str) -> bool:
        """Whether anything can be done about that read model from here."""
        return self._workshop is not None and name in self._workshop.names

    def last(self, name: str) -> Job | None:
        """The last piece of work on it, whether it has ended or not."""
        return self._jobs.get(name)

    def begin(self, work: Work, name: str, actor: str) -> None:
        """Have it done as soon as it is its turn.

        Raises:
            NotFound: there is no such read model here.
            ConflictError: something is being done about it already.
        """
        if self._workshop is None or name not in self._workshop.names:
            raise NotFound(
                f"There is no projection {name[:80]!r} here.", hint="See the list of projections."
            )
        last = self._jobs.get(name)
        if last is not None and last.ended is None:
            raise ConflictError(
                f"{last.actor} has begun to {last.work} {name} already.",
                hint="Wait for what comes of it.",
            )
        job = self._jobs[name] = Job(work, actor, asked=time.time())
        _log.info("upkeep_asked", work=work.value, view=name, actor=actor)
        self._threads.submit(self._carry_out, self._workshop, name, job)

    def _carry_out(self, workshop: Workshop, name: str, job: Job) -> None:
        def told(done: int, of: int) -> None:
            if self._closed:
                raise Unavailable("The dashboard was stopped meanwhile.")
            job.done, job.of = done, of

        job.begun = True
        try:
            job.finding = workshop.carry_out(job.work, name, told)
        except SagaError as error:
            job.error = error
        except Exception:
            _log.exception("upkeep_failed", work=job.work.value, view=name)
            job.error = SagaError(
                "Something went wrong in here.", hint="The log of `es-saga ui` has the traceback."
            )
        finally:
            job.ended = time.time()

    async def close(self) -> None:
        """Break off what is being done; it leaves everything as it was."""
        self._closed = True
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
