"""The read models: how quickly they take in a log and answer, and how far they are behind.

python -m es_saga.bench.projections read DATABASE        asks until its standard input ends
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import sqlalchemy as sa

from es_saga import loop
from es_saga.adapters.catch_up import CatchUp
from es_saga.adapters.clock import SystemClock
from es_saga.adapters.rebuild import rebuild
from es_saga.adapters.store import connect
from es_saga.bench.cost import Figures, own_cpu
from es_saga.bench.process import READY, child
from es_saga.bench.sample_log import copies, fill, fill_status, saga_id_of, stuck_undo
from es_saga.core.errors import Unavailable
from es_saga.core.messages import part_of
from es_saga.core.state import SagaState
from es_saga.database import make_engine
from es_saga.engine.ports import Append, Recorded
from es_saga.engine.projector import Projector
from es_saga.projections.audit import AuditView
from es_saga.projections.changes import Add, Change, Put
from es_saga.projections.listing import SagaFilter
from es_saga.projections.projection import projection
from es_saga.projections.queries import Queries
from es_saga.projections.status import StatusView
from es_saga.replay import Replay

MODULE: Final = "es_saga.bench.projections"

MAX_EVENTS: Final = 1_000_000
EVENTS_PER_SECOND: Final = 20_000
"""For each second of measuring the log has so many events, up to MAX_EVENTS."""

MAX_SAGAS: Final = 1_000_000
SAGAS_PER_SECOND: Final = 20_000
"""For each second of measuring so many sagas are stored, up to MAX_SAGAS."""

QUESTIONS: Final = 200
"""Of each kind."""

READ_SECONDS: Final = 0.005
"""Between two questions of a reader."""

LAG_RATE: Final = 500
"""Sagas a second that begin while the lag is measured."""

LAG_TICKS: Final = 20
"""Bundles a second that they come in."""

LONG_EVENTS: Final = 1_000
"""Of the history that is opened."""


# ── taking in ────────────────────────────────────────────────────────────────────────────────────


async def catch_up(fresh: Callable[[], str], seconds: float) -> Figures:
    """Status and audit together take in a log that is there, from its beginning."""
    engine = make_engine(fresh())
    events = await asyncio.to_thread(fill, engine, _events(seconds))
    following = CatchUp(engine)
    views = (StatusView(), AuditView())
    projector = Projector(views, following, SystemClock())
    cpu, began = own_cpu(), time.monotonic()
    taken = await asyncio.gather(*(projector.catch_up(view) for view in views))
    took, cpu = time.monotonic() - began, own_cpu() - cpu
    following.close()
    engine.dispose()
    assert set(taken) == {events}, "each view takes in every event"
    return {
        "events": events,
        "events_per_s": round(events / took),
        "cpu_us_per_event": round(1e6 * cpu / events, 1),
    }


async def rebuilt(fresh: Callable[[], str], seconds: float) -> Figures:
    """Status and audit are built anew while another process asks."""
    url = fresh()
    engine = make_engine(url)
    events = await asyncio.to_thread(fill, engine, _events(seconds))
    following = CatchUp(engine)
    projector = Projector((StatusView(), AuditView()), following, SystemClock())
    for view in (StatusView(), AuditView()):
        await projector.catch_up(view)
    following.close()
    figures: Figures = {"events": events}
    for view in (StatusView(), AuditView()):
        async with child(MODULE, ("read", url)) as reader:
            done = await asyncio.to_thread(rebuild, engine, view, inline=True)
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.close()
            read: Figures = json.loads(await reader.stdout.readline())
        figures[view.name] = {
            "events_per_s": round(done.events / done.seconds),
            "writers_stopped_ms": round(1_000 * done.stopped_seconds, 1),
            "reader": read,
        }
    engine.dispose()
    return figures


def _events(seconds: float) -> int:
    return min(MAX_EVENTS, int(EVENTS_PER_SECOND * seconds))


# ── answering ────────────────────────────────────────────────────────────────────────────────────


async def queries(fresh: Callable[[], str], seconds: float) -> Figures:
    """Lists and single sagas, with many stored."""
    engine = make_engine(fresh())
    stored = min(MAX_SAGAS, int(SAGAS_PER_SECOND * seconds))
    await asyncio.to_thread(fill_status, engine, stored)
    found = Queries(engine)
    numbers = random.Random(7)
    cursor = None
    for _ in range(20):
        cursor = found.page(after=cursor, limit=50).next
    asked: dict[str, Callable[[], object]] = {
        "status": lambda: found.status(saga_id_of(numbers.randint(1, stored))),
        "list": found.sagas,
        "list_page_20": lambda: found.page(after=cursor, limit=50),
        "list_stuck": lambda: found.sagas(SagaFilter(status=("stuck",))),
        "list_of_type": lambda: found.sagas(SagaFilter(type="order")),
        "list_by_key": lambda: found.sagas(
            SagaFilter(type="order", business_id=f"k-{numbers.randint(1, stored):09d}")
        ),
        "list_by_prefix": lambda: found.sagas(
            SagaFilter(search=saga_id_of(numbers.randint(1, stored))[:-1])
        ),
    }
    figures: Figures = {"sagas": stored}
    conducting = gc.get_threshold()
    gc.set_threshold(*loop.ANSWERING)
    for name, question in asked.items():
        figures[name] = await asyncio.to_thread(_timed, question)
    gc.set_threshold(*conducting)
    engine.dispose()
    return figures


def _timed(question: Callable[[], object]) -> Figures:
    took: list[float] = []
    for _ in range(QUESTIONS):
        began = time.perf_counter()
        question()
        took.append(time.perf_counter() - began)
    return _percentiles(took)


def _percentiles(seconds: Sequence[float]) -> Figures:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50_ms": round(1_000 * cuts[49], 2), "p99_ms": round(1_000 * cuts[98], 2)}


_TABLES: Final = sa.MetaData()
_BOARD: Final = sa.Table(
    "bench_board",
    _TABLES,
    sa.Column("saga_id", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("updated", sa.Double, nullable=False),
)
_TALLY: Final = sa.Table(
    "bench_tally",
    _TABLES,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("times", sa.BigInteger, nullable=False),
)


@projection(_BOARD)
def board(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
    """A row for each saga."""
    yield Put(saga_id=recorded.saga_id, status=saga.status.value, updated=saga.updated)


@projection(_TALLY)
def tally(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
    """How often each kind of event has happened."""
    yield Add(kind=type(recorded.event).__name__, times=1)


# ── being behind ─────────────────────────────────────────────────────────────────────────────────


async def lag(fresh: Callable[[], str], seconds: float) -> Figures:
    """From the moment a saga's events are committed until two views that follow have them."""
    url = fresh()
    engine = make_engine(url)
    fill(engine, 0)
    store = connect(url, views=(StatusView(), AuditView()))
    following = CatchUp(engine)
    views = (board, tally)
    projector = Projector(views, following, SystemClock())
    await projector.start()
    behind: list[float] = []
    waiting: list[asyncio.Task[None]] = []

    async def follow(saga_id: str, version: int) -> None:
        committed = time.monotonic()
        for view in views:
            if not await projector.wait(view.name, saga_id, version, timeout=30.0):
                raise Unavailable(f"{view.name} has not come to {saga_id} in time.")
        behind.append(time.monotonic() - committed)

    made = copies(int(LAG_RATE * seconds))
    began = time.monotonic()
    for tick in range(int(LAG_TICKS * seconds)):
        bundle = [next(made) for _ in range(LAG_RATE // LAG_TICKS)]
        parts = {part_of(append.saga_id) for append in bundle}
        await asyncio.gather(*(store.append(part, _of(bundle, part)) for part in parts))
        projector.wake()
        last = bundle[-1]
        waiting.append(asyncio.create_task(follow(last.saga_id, len(last.events))))
        await asyncio.sleep(max(0.0, began + (tick + 1) / LAG_TICKS - time.monotonic()))
    await asyncio.gather(*waiting)
    took = time.monotonic() - began
    await projector.stop()
    following.close()
    await store.close()
    engine.dispose()
    return {"sagas_per_s": round(LAG_RATE * seconds / took), **_percentiles(behind)}


def _of(bundle: Sequence[Append], part: int) -> list[Append]:
    return [append for append in bundle if part_of(append.saga_id) == part]


# ── opening ──────────────────────────────────────────────────────────────────────────────────────


async def opening(_fresh: Callable[[], str], _seconds: float) -> Figures:
    """A long history is opened: every state, every change, every decision."""
    history = stuck_undo(LONG_EVENTS)
    took: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        moments = Replay.of("order-1", history).moments
        assert sum(len(moment.changes) for moment in moments) > LONG_EVENTS
        took.append(time.perf_counter() - began)
    return {"events": len(history), "seconds": round(statistics.median(took), 3)}


# ── the other process ────────────────────────────────────────────────────────────────────────────


def _read(url: str) -> None:
    """Ask for lists and sagas until the standard input ends, then say how long that took."""
    engine = make_engine(url)
    found = Queries(engine)
    ids = [row.saga_id for row in found.sagas(limit=50)]
    told = threading.Event()

    def listen() -> None:
        sys.stdin.buffer.read()
        told.set()

    threading.Thread(target=listen, daemon=True).start()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    took: list[float] = []
    while not told.is_set() or len(took) < 2:
        for question in (found.sagas, lambda: found.history(random.choice(ids))):
            began = time.perf_counter()
            question()
            took.append(time.perf_counter() - began)
        time.sleep(READ_SECONDS)
    engine.dispose()
    figures: dict[str, Any] = {"questions": len(took), **_percentiles(took)}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    _, what, database = sys.argv
    assert what == "read"
    _read(database)
