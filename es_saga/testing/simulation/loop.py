"""An event loop without a machine under it: no sockets, no threads, and time that jumps.

Callbacks run in the order in which they were asked for, timers in the order of their times, so what
happens is a function of what was put in. Time stands still while anything can run, and then jumps
to the next thing that will happen.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPOCH: Final = 1_700_000_000.0
"""When every simulated world begins, in seconds since the epoch."""

TURN: Final = 2.0**-10
"""The unit of short times, in seconds: a millisecond or so, and sums of it are exact. So what takes
equally long arrives at once, and is seen together."""

OWNER: ContextVar[list[asyncio.Task[Any]] | None] = ContextVar("OWNER", default=None)
"""Where the tasks of the process that runs right now are listed, so that it can be killed."""


@contextmanager
def unswept() -> Generator[None]:
    """Let garbage wait: when it is swept must not matter in a world, and it takes time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


MOST_DOZED_SECONDS: Final = 60.0
"""Where nothing happens at all, those who doze look up this often."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs coroutines in simulated time, until `play` is told that it is over.

    Besides timers there are dozers: who dozes wakes when that long has passed and something else
    happens. Polling twenty times a second, as the manager does for its timers, costs nothing then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_debug(False)
        self.now = EPOCH
        self.errors: list[str] = []
        """What callbacks raised, and what was lost with futures that nobody asked."""
        self._soon: deque[asyncio.Handle] = deque()
        self._times: list[float] = []
        self._later: dict[float, list[tuple[Callable[..., object], tuple[Any, ...]]]] = {}
        """What is to be called at each of these times: much falls on the same one."""
        self._dozers: list[tuple[float, int, asyncio.Future[None]]] = []
        self.nothing_before: Callable[[], float] = lambda: -math.inf
        """Of those who doze, nobody will have anything to do before this time."""
        self._order = itertools.count()
        self._tasks: list[asyncio.Task[Any]] = []
        # What is asked for outside of a task belongs to no process.
        self._nobody = Context()

    # ── what asyncio asks of a loop ──────────────────────────────────────────────────────────────

    def time(self) -> float:
        """Simulated seconds since the epoch."""
        return self.now

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Run it in this turn, after what is waiting already."""
        handle = asyncio.Handle(callback, args, self, context or self._nobody)
        self._soon.append(handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """As `call_soon`: there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run it at a time."""
        handle = asyncio.TimerHandle(when, callback, args, self, context or self._nobody)
        self.at(when, self._soon.append, handle)
        return handle

    def run_in_executor(self, *_: Any) -> NoReturn:  # type: ignore[override]  # for no one to call
        raise RuntimeError("There are no threads in a simulated world.")

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """As ever; it belongs to the process that asks for it."""
        task = asyncio.Task(
            coro, loop=self, name=None if name is None else str(name), context=context
        )
        self._tasks.append(task)
        owned = OWNER.get()
        if owned is not None:
            owned.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Nothing is raised into nowhere: it is kept in `errors`."""
        error = context.get("exception")
        why = f"{type(error).__name__}: {error}" if error else ""
        self.errors.append(f"{context['message']} {why}".strip())

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A timer that was cancelled stays in the heap, and does nothing."""

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def at(self, when: float, callback: Callable[..., object], *args: Any) -> None:
        """Call something at a time, or now if that has passed; it cannot be cancelled."""
        when = max(when, self.now)
        calls = self._later.get(when)
        if calls is None:
            calls = self._later[when] = []
            heapq.heappush(self._times, when)
        calls.append((callback, args))

    def after(self, seconds: float, callback: Callable[..., object], *args: Any) -> None:
        """Call something so much later; it cannot be cancelled."""
        self.at(self.now + seconds, callback, *args)

    def pause(self, seconds: float) -> asyncio.Future[None]:
        """Done when that long has passed."""
        future = self.create_future()
        self.after(seconds, _wake, future)
        return future

    def doze(self, seconds: float) -> asyncio.Future[None]:
        """Done when that long has passed and something else happens, or nothing else will."""
        future = self.create_future()
        heapq.heappush(self._dozers, (self.now + seconds, next(self._order), future))
        return future

    # ── the run ──────────────────────────────────────────────────────────────────────────────────

    def play(self, over: Callable[[], bool], until: float) -> None:
        """Let things happen until `over()` says so when all is quiet, or until a time."""
        with self.running():
            self.settle()
            while not over() and self._move_on(until):
                self.settle()

    @contextmanager
    def running(self) -> Generator[None]:
        """Be the loop that runs; what `play` and `end` do by themselves, once for all of them."""
        outer = asyncio._get_running_loop()  # pyright: ignore[reportPrivateUsage]  # for makers of loops
        if outer is self:
            yield
            return
        with unswept():
            asyncio._set_running_loop(self)  # pyright: ignore[reportPrivateUsage]
            try:
                yield
            finally:
                asyncio._set_running_loop(outer)  # pyright: ignore[reportPrivateUsage]

    def settle(self) -> None:
        """Run what can run now, until nothing can."""
        soon = self._soon
        while soon:
            handle = soon.popleft()
            if not handle.cancelled():
                handle._run()  # pyright: ignore[reportPrivateUsage]  # the loop's own part

    def _move_on(self, until: float) -> bool:
        """Jump to the next thing that happens; False where there is none up to `until`."""
        times, dozers = self._times, self._dozers
        if times:
            when = times[0]
        elif dozers:
            when = max(dozers[0][0], min(self.nothing_before(), self.now + MOST_DOZED_SECONDS))
        else:
            return False
        if when > until:
            return False
        self.now = when
        while dozers and dozers[0][0] <= when:
            _wake(heapq.heappop(dozers)[2])
        if times and times[0] == when:
            for callback, args in self._later.pop(heapq.heappop(times)):
                callback(*args)
        return True

    def end(self) -> None:
        """Cancel whatever still runs."""
        with self.running():
            for task in self._tasks:
                task.cancel()
            self.settle()
        self.close()


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


class LoopClock:
    """A process's wall clock; `offset` seconds wrong. See `es_saga.engine.ports.Clock`."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self.offset = 0.0

    def now(self) -> float:
        return self._loop.now + self.offset

    async def sleep(self, seconds: float) -> None:
        await self._loop.pause(max(0.0, seconds))
