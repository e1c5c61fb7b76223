"""Load on a process manager: so many orders in flight, a new one for each that ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from es_saga.bench.cost import Clocks, Figures, read
from es_saga.bench.orders import MAX_GRAMS, order
from es_saga.core.definition import Saga
from es_saga.core.errors import SagaError
from es_saga.core.state import SagaStatus
from es_saga.engine.manager import ProcessManager
from es_saga.engine.ports import Append
from es_saga.engine.requests import new_id

WARM_UP: Final = 0.25
"""Share of the measured time that the load runs before."""

DRAIN_SECONDS: Final = 60.0
"""How long the orders in flight at the end may take."""


Starts = Callable[[str, dict[str, Any]], Coroutine[Any, Any, object]]
"""Begins the saga with an id, and an input."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a load consists of."""

    saga: Saga[Any]
    input: Callable[[str], dict[str, Any]]
    """Of a saga with this id."""
    ends: frozenset[SagaStatus]
    """How they may end."""


def _order(grams: int) -> Callable[[str], dict[str, Any]]:
    return lambda saga_id: {"order_id": saga_id, "sku": "teapot", "pence": 4_999, "grams": grams}


COMPLETING: Final = Kind(order, _order(750), frozenset({SagaStatus.COMPLETED}))
REFUSED: Final = Kind(order, _order(MAX_GRAMS + 1), frozenset({SagaStatus.COMPENSATED}))
"""The carrier takes none of them."""


@dataclass(frozen=True, slots=True)
class Window:
    """What happened while it was measured."""

    seconds: float
    sagas: int
    """Ended in the window."""
    transitions: int
    """Reactions committed in the window: one or more events of one saga."""
    cpu: dict[str, float]
    """Processor seconds by process."""
    latencies: Sequence[float]
    """Seconds from the call to the commit of the last event, of the sagas that ended; sorted."""
    run: int
    """Sagas of the whole load, warm-up and end included."""

    def percentile(self, share: float) -> float:
        """Latency in milliseconds that this share of the sagas kept."""
        return 1e3 * self.latencies[int(share * (len(self.latencies) - 1))]

    def figures(self) -> Figures:
        """Rates and costs a saga."""
        by_process: Figures = {
            name: round(1e3 * used / self.sagas, 3) for name, used in self.cpu.items()
        }
        return {
            "sagas_per_s": round(self.sagas / self.seconds, 1),
            "p50_ms": round(self.percentile(0.50), 2),
            "p99_ms": round(self.percentile(0.99), 2),
            "cpu_ms_per_saga": round(1e3 * sum(self.cpu.values()) / self.sagas, 3),
            "cpu_ms_per_saga_by_process": by_process,
        }


class Load:
    """Sagas of one kind on a running manager, which starts them unless `starts` does.

    Every saga has to end as it must; the figures of a system that loses some are worth nothing.
    """

    def __init__(
        self,
        manager: ProcessManager,
        in_flight: int,
        kind: Kind = COMPLETING,
        *,
        starts: Starts | None = None,
    ) -> None:
        self._manager = manager
        self._starts = starts
        self._in_flight = in_flight
        self._kind = kind
        self._begun: dict[str, float] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._latencies: list[float] = []
        self._sagas = self._transitions = 0
        self._going = False
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        manager.listen(self._committed)

    async def measure(self, seconds: float, clocks: Clocks) -> Window:
        """Run the load, and measure it for so many seconds.

        Raises:
            SagaError: a saga was refused, ended otherwise than it must, or did not end.
        """
        self._going = True
        for _ in range(self._in_flight):
            self._begin()
        await self._last(WARM_UP * seconds)
        while not self._latencies:  # a system that is only just warm
            await self._last(WARM_UP * seconds)
        self._latencies.clear()
        sagas, transitions, cpu = self._sagas, self._transitions, read(clocks)
        since = time.perf_counter()
        await self._last(seconds)
        while not self._latencies:
            await self._last(seconds)
        elapsed = time.perf_counter() - since
        used = {name: now - cpu[name] for name, now in read(clocks).items()}
        sagas, transitions = self._sagas - sagas, self._transitions - transitions
        latencies = sorted(self._latencies)
        await self._drain()
        return Window(elapsed, sagas, transitions, used, latencies, self._sagas)

    async def _last(self, seconds: float) -> None:
        """Let the load run on; a failure ends it."""
        await asyncio.wait((self._ended,), timeout=seconds)
        if self._ended.done():
            self._ended.result()

    async def _drain(self) -> None:
        self._going = False
        if self._begun:
            try:
                async with asyncio.timeout(DRAIN_SECONDS):
                    await self._ended
            except TimeoutError:
                raise SagaError(
                    f"{len(self._begun)} of {self._sagas} sagas have not ended."
                ) from None

    def _begin(self) -> None:
        kind = self._kind
        saga_id = new_id("" if self._starts is None else f"{kind.saga.name}-")
        self._begun[saga_id] = time.perf_counter()
        data = kind.input(saga_id)
        task: asyncio.Task[object] = asyncio.ensure_future(
            self._manager.begin(kind.saga, data, saga_id=saga_id)
            if self._starts is None
            else self._starts(saga_id, data)
        )
        self._tasks.add(task)
        task.add_done_callback(self._was_begun)

    def _was_begun(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._ended.done():
            self._ended.set_exception(error)

    def _committed(self, written: Sequence[Append]) -> None:
        self._transitions += len(written)
        for item in written:
            state = item.state
            if state.closed is None:
                continue
            begun = self._begun.pop(state.saga_id, None)
            if begun is None:
                continue  # of another load
            self._latencies.append(time.perf_counter() - begun)
            self._sagas += 1
            if state.status not in self._kind.ends and not self._ended.done():
                self._ended.set_exception(SagaError(f"A saga ended {state.status.value}."))
            if self._going:
                self._begin()
            elif not self._begun and not self._ended.done():
                self._ended.set_result(None)
