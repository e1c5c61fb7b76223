"""Saga, try-confirm-cancel and two-phase: the same business, the same load, the same faults.

Real NATS, everything else on PostgreSQL. Each style runs twice. First nothing is broken: rate, and
what an order takes. Then the participants are killed, and so is the broker, and others look at the
same rows and change them: how long things are in doubt, what a reader sees, how a writer waits.

In doubt is what is done and may yet be undone: from the answer to a step or hold until the pivot,
the confirm or the cancel is answered, by the conductor's clock.

    python -m es_saga.bench.styles URL DATABASE STYLE        the services of one style
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import sqlalchemy as sa

from es_saga.adapters.clock import SystemClock
from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.adapters.store import connect
from es_saga.app import App
from es_saga.bench.cost import Clocks, Figures, cpu_of, own_cpu
from es_saga.bench.load import WARM_UP, Kind, Load
from es_saga.bench.process import child, run, until_told
from es_saga.bench.styled import SHELVES, STYLES, THINGS, Style, app_of, order_of
from es_saga.core.state import SagaStatus
from es_saga.database import make_engine
from es_saga.engine.leases import SoleOwner
from es_saga.engine.manager import ProcessManager
from es_saga.participant import Server
from es_saga.projections.audit import AUDIT, AuditView
from es_saga.projections.status import StatusView

IN_FLIGHT: Final = 64

LOOK_SECONDS: Final = 0.02
"""How often somebody else looks at the rows, and changes one."""

SETTLED: Final = frozenset({SagaStatus.COMPLETED, SagaStatus.COMPENSATED})

_SENT: Final = ("StepStarted", "StepRetried", "CompensationIssued")
"""Events of which each stands for a command that was sent."""


# ── the system ───────────────────────────────────────────────────────────────────────────────────


async def serve(url: str, database: str, style: Style) -> None:
    """Serve the three participants of a style, all on one database."""
    transport = await NatsTransport.connect(url)
    async with AsyncExitStack() as stack:
        for participant in app_of(style).participants.values():
            own = database.replace("{name}", participant.name)
            server = Server(participant, own, transport, create_tables=True)
            await stack.enter_async_context(server)
        await until_told()
    await transport.close()


@dataclass
class Styled:
    """A running system of one style."""

    style: Style
    app: App
    manager: ProcessManager
    broker: EmbeddedNats
    log: str
    books: str
    """URL of the participants' database."""
    stack: AsyncExitStack
    services: asyncio.subprocess.Process

    async def kill_services(self) -> None:
        """`kill -9` them, and start them again."""
        self.services.kill()
        await self.services.wait()
        self.services = await self.stack.enter_async_context(self.starting())

    async def kill_broker(self) -> None:
        """The same of NATS."""
        await asyncio.to_thread(self.broker.kill)
        await asyncio.to_thread(self.broker.start)

    def starting(self) -> Any:
        """The services' process."""
        return child("es_saga.bench.styles", [self.broker.url, self.books, self.style])

    @property
    def clocks(self) -> Clocks:
        """Processor time of its processes."""
        return {
            "manager": own_cpu,
            "participants": partial(cpu_of, self.services.pid),
            "broker": partial(cpu_of, self.broker.pid),
        }

    @property
    def kind(self) -> Kind:
        """The load that is put on it."""
        return Kind(self.app.sagas[0], order_of, SETTLED)


@asynccontextmanager
async def _running(style: Style, fresh: Callable[[], str]) -> AsyncGenerator[Styled]:
    with (
        tempfile.TemporaryDirectory(prefix="es-saga-bench-") as folder,
        EmbeddedNats(Path(folder) / "nats") as broker,
    ):
        app, log, books = app_of(style), fresh(), fresh()
        async with AsyncExitStack() as stack:
            services = await stack.enter_async_context(
                child("es_saga.bench.styles", [broker.url, books, style])
            )
            transport = await NatsTransport.connect(broker.url)
            stack.push_async_callback(transport.close)
            store = connect(log, views=[StatusView(), AuditView()], migrate=True)
            stack.push_async_callback(store.close)
            manager = ProcessManager(
                app.name,
                app.definitions(),
                store=store,
                transport=transport,
                clock=SystemClock(),
                leases=SoleOwner(),
            )
            await stack.enter_async_context(manager)
            yield Styled(style, app, manager, broker, log, books, stack, services)


# ── somebody else ────────────────────────────────────────────────────────────────────────────────


class Onlooker:
    """Looks at the stock as any reader could, and changes rows of it as any writer could."""

    def __init__(self, database: str) -> None:
        self._engine = make_engine(database)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.looks = self.reserved = self.taken_back = 0
        self.waits: list[float] = []
        """Seconds that a change took."""

    def __enter__(self) -> Onlooker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._engine.dispose()

    def _watch(self) -> None:
        table, die = SHELVES["stock"].name, random.Random(0)
        look = sa.text(f"SELECT thing, reserved, consumed FROM {table}")
        change = sa.text(f"UPDATE {table} SET touched = touched + 1 WHERE thing = :thing")
        sold: dict[str, int] = {}
        while not self._stop.wait(LOOK_SECONDS):
            with self._engine.connect() as connection:
                found = connection.execute(look).all()
            self.looks += 1
            self.reserved += any(row.reserved for row in found)
            self.taken_back += sum(sold.get(row.thing, 0) > row.consumed for row in found)
            sold = {row.thing: row.consumed for row in found}
            began = time.perf_counter()
            with self._engine.begin() as connection:
                connection.execute(change, {"thing": f"t{die.randrange(THINGS)}"})
            self.waits.append(time.perf_counter() - began)


# ── what the log says ────────────────────────────────────────────────────────────────────────────


def _doubts(log: str) -> tuple[list[float], int, int]:
    """Seconds that each step was in doubt, sorted; the orders there were; commands sent."""
    engine = make_engine(log)
    columns = (AUDIT.c.saga_id, AUDIT.c.kind, AUDIT.c.step, AUDIT.c.at)
    moments: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    sent = 0
    with engine.connect() as connection:
        for saga_id, kind, step, at in connection.execute(sa.select(*columns)):
            sent += kind in _SENT
            moments[saga_id][kind, step or ""] = at
    engine.dispose()
    spans = [span for of in moments.values() for span in _spans(of)]
    return sorted(spans), len(moments), sent


def _spans(moments: dict[tuple[str, str], float]) -> Iterator[float]:
    """From each success of what can be undone until it was settled, one way or the other."""
    for (kind, step), at in moments.items():
        ends = (
            ("StepSucceeded", f"confirm_{step}"),
            ("CompensationSucceeded", step),
            *((("StepSucceeded", "parcel"),) if step in ("stock", "money") else ()),
        )
        end = next((moments[one] for one in ends if one in moments), None)
        if kind == "StepSucceeded" and end is not None:
            yield max(0.0, end - at)


def _share(found: Sequence[float], share: float) -> float:
    """In milliseconds: what this share of them kept."""
    return round(1e3 * found[int(share * (len(found) - 1))], 2) if found else 0.0


def _commits(database: str) -> int:
    engine = make_engine(database)
    query = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    with engine.connect() as connection:
        found = int(connection.exec_driver_sql(query).scalar_one())
    engine.dispose()
    return found


# ── the measurements ─────────────────────────────────────────────────────────────────────────────


async def compared(fresh: Callable[[], str], seconds: float) -> Figures:
    """Every style, one after the other; `of_saga` is its rate as a share of the saga's."""
    found: dict[str, Figures] = {style: await measured(style, fresh, seconds) for style in STYLES}
    rate = cast(float, found["saga"]["orders_per_s"])
    for figures in found.values():
        figures["of_saga"] = round(cast(float, figures["orders_per_s"]) / rate, 2)
    return cast(Figures, found)


async def measured(style: Style, fresh: Callable[[], str], seconds: float) -> Figures:
    """One style, undisturbed and then under faults."""
    found = await _undisturbed(style, fresh, seconds)
    found["faults"] = await _broken(style, fresh, seconds)
    return found


async def _undisturbed(style: Style, fresh: Callable[[], str], seconds: float) -> Figures:
    """Rate and cost."""
    async with _running(style, fresh) as system:
        before = _commits(system.books)
        window = await Load(system.manager, IN_FLIGHT, system.kind).measure(seconds, system.clocks)
    # Whoever has ended has told the server what it did.
    commits = _commits(system.books) - before
    doubts, orders, sent = _doubts(system.log)
    cost = window.figures()
    return {
        "orders_per_s": cost["sagas_per_s"],
        "p50_ms": cost["p50_ms"],
        "p99_ms": cost["p99_ms"],
        "in_doubt_p50_ms": _share(doubts, 0.50),
        "in_doubt_p99_ms": _share(doubts, 0.99),
        "messages": round(2 * sent / orders, 1),
        "transactions": round(commits / orders, 1),
        "cpu_ms": cost["cpu_ms_per_saga"],
        "cpu_ms_by_process": cost["cpu_ms_per_saga_by_process"],
    }


async def _broken(style: Style, fresh: Callable[[], str], seconds: float) -> Figures:
    """What others see and suffer while things break."""
    async with _running(style, fresh) as system:
        load = asyncio.create_task(
            Load(system.manager, IN_FLIGHT, system.kind).measure(seconds, {})
        )
        with Onlooker(system.books) as onlooker:
            for fault in (system.kill_services, system.kill_broker):
                await asyncio.sleep((1 + WARM_UP) * seconds / 3)
                await fault()
            await load
    doubts, orders, _ = _doubts(system.log)
    waits = sorted(onlooker.waits)
    return {
        "orders": orders,
        "in_doubt_p50_ms": _share(doubts, 0.50),
        "in_doubt_p99_ms": _share(doubts, 0.99),
        "in_doubt_most_ms": _share(doubts, 1.0),
        "seen_reserved": round(onlooker.reserved / onlooker.looks, 2),
        "seen_taken_back_per_1000": round(1e3 * onlooker.taken_back / orders, 1),
        "others_wait_p50_ms": _share(waits, 0.50),
        "others_wait_p99_ms": _share(waits, 0.99),
        "others_wait_most_ms": _share(waits, 1.0),
    }


if __name__ == "__main__":
    run(serve(sys.argv[1], sys.argv[2], cast(Style, sys.argv[3])))
