"""The whole system: a NATS server, a process manager here, and the participants in a process.

Latency runs from the call of `begin` to the commit of the saga's last event, in the manager's
process. The manager's processor time includes what making the load takes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from es_saga.adapters.clock import SystemClock
from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.adapters.store import connect
from es_saga.bench import flow, orders, pipe_floor
from es_saga.bench.cost import Clocks, Figures, cpu_of, disk_of, memory_of, own_cpu
from es_saga.bench.load import COMPLETING, REFUSED, Kind, Load, Starts
from es_saga.bench.process import child
from es_saga.engine.leases import SoleOwner
from es_saga.engine.manager import ProcessManager
from es_saga.projections.audit import AuditView
from es_saga.projections.status import StatusView

IN_FLIGHT: Final = 200
MANY_IN_FLIGHT: Final = 1_000

SERVICES: Final = "es_saga.bench.services"


@dataclass(frozen=True, slots=True)
class System:
    """A running system."""

    manager: ProcessManager
    clocks: Clocks
    """Processor time of its processes."""
    participants: int
    """Process id."""
    transport: NatsTransport


@asynccontextmanager
async def running(
    folder: Path, database: str, *, sync: bool = False, reacting: bool = False
) -> AsyncGenerator[System]:
    """A system with everything in one folder, but its log.

    Args:
        database: URL of the log's database, empty.
        sync: the broker writes every message to disk before it confirms it.
        reacting: nobody conducts, see `es_saga.bench.flow`.
    """
    app = (flow if reacting else orders).app
    with EmbeddedNats(folder / "nats", sync_always=sync) as broker:
        arguments = [broker.url, str(folder)]
        arguments += ["--sync"] * sync + ["--flow"] * reacting
        async with child(SERVICES, arguments) as services:
            transport = await NatsTransport.connect(broker.url, sync_batches=sync)
            store = connect(database, views=[StatusView(), AuditView()], migrate=True)
            try:
                async with ProcessManager(
                    app.name,
                    app.definitions(),
                    store=store,
                    transport=transport,
                    clock=SystemClock(),
                    leases=SoleOwner(),
                ) as manager:
                    clocks: Clocks = {
                        "manager": own_cpu,
                        "participants": partial(cpu_of, services.pid),
                        "broker": partial(cpu_of, broker.pid),
                    }
                    yield System(manager, clocks, services.pid, transport)
            finally:
                await store.close()
                await transport.close()


async def completed(fresh: Callable[[], str], seconds: float) -> Figures:
    """Orders that complete: few, many and one in flight; what they leave on the disk."""
    with tempfile.TemporaryDirectory(prefix="es-saga-bench-") as name:
        folder = Path(name)
        log = fresh()
        async with running(folder, log) as system:
            usual = await Load(system.manager, IN_FLIGHT).measure(seconds, system.clocks)
            many = await Load(system.manager, MANY_IN_FLIGHT).measure(seconds, system.clocks)
            single = await Load(system.manager, 1).measure(seconds, system.clocks)
            memory: Figures = {
                "manager": round(memory_of(os.getpid()), 1),
                "participants": round(memory_of(system.participants), 1),
            }
        run = usual.run + many.run + single.run
        disk: Figures = {
            "broker": round(disk_of(folder / "nats", "**/*") / run),
            "participants": round(disk_of(folder, "*.db*") / run),
        }
        if log.startswith("sqlite"):
            path = Path(log.removeprefix("sqlite:///"))
            disk["log"] = round(disk_of(path.parent, f"{path.name}*") / run)
    cost = usual.figures()
    return {
        "sagas_per_s": cost["sagas_per_s"],
        "p50_ms": round(single.percentile(0.50), 2),
        "p99_ms": round(single.percentile(0.99), 2),
        "cpu_ms_per_saga": cost["cpu_ms_per_saga"],
        "disk_bytes_per_saga": sum(value for value in disk.values() if isinstance(value, int)),
        "disk_bytes_per_saga_by_process": disk,
        "memory_mb": memory,
        "in_flight_200": cost,
        "in_flight_1000": many.figures(),
        "in_flight_1": single.figures(),
    }


async def compensated(fresh: Callable[[], str], seconds: float) -> Figures:
    """Orders whose third step is refused: five commands each."""
    with tempfile.TemporaryDirectory(prefix="es-saga-bench-") as folder:
        async with running(Path(folder), fresh()) as system:
            load = Load(system.manager, IN_FLIGHT, REFUSED)
            window = await load.measure(seconds, system.clocks)
    figures = window.figures()
    return {"compensated_per_s": figures["sagas_per_s"], "compensated": figures}


REACTING: Final = Kind(flow.flow, COMPLETING.input, COMPLETING.ends)
"""The same order, and nobody conducts."""


async def choreographed(fresh: Callable[[], str], seconds: float) -> Figures:
    """The same order conducted, and by services that react to each other, one after the other."""
    found: dict[bool, Figures] = {}
    for reacting in (False, True):
        with tempfile.TemporaryDirectory(prefix="es-saga-bench-") as folder:
            async with running(Path(folder), fresh(), reacting=reacting) as system:
                starts = _published(system) if reacting else None
                kind = REACTING if reacting else COMPLETING
                load = Load(system.manager, IN_FLIGHT, kind, starts=starts)
                found[reacting] = (await load.measure(seconds, system.clocks)).figures()
    conducted, watched = found[False]["sagas_per_s"], found[True]["sagas_per_s"]
    assert isinstance(conducted, float)
    assert isinstance(watched, float)
    return {
        "of_the_conducted_rate": round(watched / conducted, 2),
        "conducted": found[False],
        "watched": found[True],
    }


def _published(system: System) -> Starts:
    async def start(saga_id: str, data: dict[str, Any]) -> None:
        await system.transport.publish(*flow.placed(saga_id, data))

    return start


async def synced(fresh: Callable[[], str], seconds: float) -> Figures:
    """Orders that complete, over a broker that writes every message to disk at once."""
    with tempfile.TemporaryDirectory(prefix="es-saga-bench-") as folder:
        async with running(Path(folder), fresh(), sync=True) as system:
            window = await Load(system.manager, IN_FLIGHT).measure(seconds, system.clocks)
    return {"syncing_broker": window.figures()}


async def floor(fresh: Callable[[], str], seconds: float) -> Figures:
    """The same messages, by the bare client, with nothing behind them."""
    with (
        tempfile.TemporaryDirectory(prefix="es-saga-bench-") as folder,
        EmbeddedNats(Path(folder) / "nats") as broker,
    ):
        figures = await pipe_floor.measure(broker.url, broker.pid, IN_FLIGHT, seconds)
    return {"floor": figures}
