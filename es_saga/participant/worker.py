"""A thread that carries out commands, with an event loop and a connection of its own."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

import structlog

from es_saga.participant.job import Job

MAX_BATCH = 256
"""Most commands that share a transaction."""

START_SECONDS = 10.0
"""How long the thread's event loop may take to come up."""

_log = structlog.get_logger("es_saga.participant")


J = TypeVar("J", bound=Job)
J_contra = TypeVar("J_contra", bound=Job, contravariant=True)


class Carrier(Protocol[J_contra]):
    """Carries out jobs, in the thread and the event loop it is used in."""

    async def run(self, jobs: Sequence[J_contra], /) -> None:
        """Carry them out, in this order."""
        ...

    def disconnect(self) -> None:
        """Let go of the database."""
        ...


Chore = Callable[[], Awaitable[float | None]]
"""Done between batches; says how many seconds may pass until it is done again. None: any number."""


class Worker(Generic[J]):
    """Runs jobs one after the other, those that wait together as one batch.

    One that is to be tried again (`Job.again_at`) is, ahead of those that have come meanwhile.
    `done` is called in the worker's thread with each batch; it must only pass it on.
    `chore` is what else there is to do. `clock` tells seconds that pass, as the carrier's does.
    """

    def __init__(
        self,
        name: str,
        runner: Carrier[J],
        done: Callable[[Sequence[J]], None],
        chore: Chore | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner = runner
        self._chore = chore
        self._clock = clock
        self._done = done
        self._inbox: deque[J] = deque()
        self._later: list[J] = []
        """What is to be tried again, in the order in which it came."""
        self._stopping = False
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; it is ready when this returns."""
        self._thread.start()
        assert self._started.wait(START_SECONDS), "the worker's event loop did not come up"

    def submit(self, jobs: Iterable[J]) -> None:
        """Have these carried out, after those submitted before. Any thread; never waits."""
        assert not self._stopping, "nothing is submitted to a worker that has been stopped"
        self._inbox.extend(jobs)
        self._loop.call_soon_threadsafe(self._wake.set)

    def stop(self, timeout: float) -> bool:
        """Finish what was submitted and end the thread; False if it takes longer than `timeout`."""
        self._stopping = True
        self._loop.call_soon_threadsafe(self._wake.set)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._started.set()
        try:
            while True:
                rest = await self._chore() if self._chore is not None else None
                batch = self._next_batch()
                if not batch:
                    if self._stopping and not self._later:
                        return
                    await self._rest(rest)
                    continue
                await self._carry_out(batch)
                self._later += [job for job in batch if job.again_at is not None]
                self._done([job for job in batch if job.again_at is None])
        finally:
            self._runner.disconnect()

    def _next_batch(self) -> list[J]:
        now = self._clock()
        due = [job for job in self._later if _again_at(job) <= now]
        batch, overdue = due[:MAX_BATCH], due[MAX_BATCH:]
        self._later = overdue + [job for job in self._later if _again_at(job) > now]
        while self._inbox and len(batch) < MAX_BATCH:
            batch.append(self._inbox.popleft())
        return batch

    async def _rest(self, most: float | None) -> None:
        """Until something is submitted, or is to be tried again; `most` seconds."""
        self._wake.clear()
        if self._inbox or (self._stopping and not self._later):
            return
        due = min(map(_again_at, self._later), default=math.inf) - self._clock()
        seconds = min(math.inf if most is None else most, max(0.0, due))
        with suppress(TimeoutError):
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self._wake.wait()

    async def _carry_out(self, batch: list[J]) -> None:
        try:
            await self._runner.run(batch)
        except Exception as error:  # a fault of ours must not end the thread
            _log.exception("batch_failed", size=len(batch))
            self._runner.disconnect()
            for job in batch:
                job.again_at = None
                if job.answer is None:
                    job.outage = f"{type(error).__name__}: {error}"


def _again_at(job: Job) -> float:
    assert job.again_at is not None, "it is to be tried again"
    return job.again_at
