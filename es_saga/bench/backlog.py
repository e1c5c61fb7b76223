"""Start-up, and a log with many open sagas: how long until it goes on, and what it takes.

    python -m es_saga.bench.backlog fill DATABASE COUNT        starts sagas that nobody answers
    python -m es_saga.bench.backlog resume DATABASE URL        conducts them

Each says what it takes as a line of JSON, once it has come so far.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from es_saga.adapters.clock import SystemClock
from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.adapters.store import connect
from es_saga.bench.cost import Figures, memory_of
from es_saga.bench.orders import app, order
from es_saga.bench.process import READY_SECONDS, STOP_SECONDS, run
from es_saga.core.errors import Unavailable
from es_saga.core.messages import Direction, Envelope, Outcome, Subjects, command_id
from es_saga.engine.leases import SoleOwner
from es_saga.engine.manager import ProcessManager
from es_saga.engine.ports import Append, Consumer, Handler, Subscription, Transport
from es_saga.projections.audit import AuditView
from es_saga.projections.status import StatusView

MAX_OPEN: Final = 100_000

OPEN_PER_SECOND: Final = 20_000
"""For each second of measuring so many sagas are left open, up to MAX_OPEN."""

FILL_SECONDS: Final = 600.0
"""How long it may take to start them."""

AT_ONCE: Final = 1_000
"""Starts in flight while filling."""

MODULE: Final = "es_saga.bench.backlog"

RUNNING: Final = b" is running at "
"""What `es-saga run` says once it takes orders."""


def saga_id_of(number: int) -> str:
    """The id of one of the open sagas."""
    return f"open-{number:08d}"


# ── its own processes ────────────────────────────────────────────────────────────────────────────


class _Void:
    """A transport that confirms everything and brings nothing; also its only subscription."""

    connected = True

    def publish(
        self, subject: str, envelope: Envelope, *, ttl: float | None = None
    ) -> asyncio.Future[None]:
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent

    def tell(self, address: str, envelope: Envelope) -> None: ...

    async def request(self, subject: str, envelope: Envelope, *, timeout: float) -> Envelope:
        raise Unavailable("There is nobody.")

    async def consume(self, consumer: Consumer, handler: Handler) -> Subscription:
        return self

    async def stop(self) -> None: ...

    async def close(self) -> None: ...


def _manager(store: Any, transport: Transport) -> ProcessManager:
    return ProcessManager(
        app.name,
        app.definitions(),
        store=store,
        transport=transport,
        clock=SystemClock(),
        leases=SoleOwner(),
    )


def _say(**figures: float) -> None:
    print(json.dumps(figures), flush=True)


async def fill(database: str, count: int) -> None:
    """Start so many sagas, whose first command goes nowhere."""
    store = connect(database, views=[StatusView(), AuditView()], migrate=True)
    async with _manager(store, _Void()) as manager:
        for first in range(0, count, AT_ONCE):
            ids = [saga_id_of(number) for number in range(first, min(first + AT_ONCE, count))]
            data = {"sku": "teapot", "pence": 4_999, "grams": 750}
            await asyncio.gather(
                *(manager.begin(order, {"order_id": i, **data}, saga_id=i) for i in ids)
            )
        _say(memory_mb=memory_of(os.getpid()))
    await store.close()


async def resume(database: str, url: str) -> None:
    """Conduct what is in the log, until the first transition is committed."""
    transport = await NatsTransport.connect(url)
    store = connect(database, views=[StatusView(), AuditView()])
    moved = asyncio.Event()

    def committed(written: Sequence[Append]) -> None:
        moved.set()

    manager = _manager(store, transport)
    manager.listen(committed)
    async with manager:
        await moved.wait()
        _say(memory_mb=memory_of(os.getpid()))
    await store.close()
    await transport.close()


# ── the measurements ─────────────────────────────────────────────────────────────────────────────


async def open_sagas(fresh: Callable[[], str], seconds: float) -> Figures:
    """A log with many open sagas: the memory it takes, and the time to go on after a restart.

    The restart is timed from the start of the process to the commit of what the first reply, which
    is waiting at the broker, leads to.
    """
    count = max(1, min(MAX_OPEN, int(OPEN_PER_SECOND * seconds)))
    database = fresh()
    filled, _ = await _first_word(FILL_SECONDS, "fill", database, str(count))
    with (
        tempfile.TemporaryDirectory(prefix="es-saga-bench-") as folder,
        EmbeddedNats(Path(folder) / "nats") as broker,
    ):
        transport = await NatsTransport.connect(broker.url)
        saga_id = saga_id_of(count // 2)
        await transport.publish(Subjects().inbox(app.name, saga_id), _reply_to(saga_id))
        resumed, took = await _first_word(READY_SECONDS, "resume", database, broker.url)
        await transport.close()
    return {
        "open_sagas": {
            "count": count,
            "memory_mb": round(filled["memory_mb"], 1),
            "restart_s": round(took, 3),
            "memory_after_restart_mb": round(resumed["memory_mb"], 1),
        }
    }


def _reply_to(saga_id: str) -> Envelope:
    key = command_id(saga_id, "reserve", Direction.DO)
    return Envelope(
        id=f"{key}/1/r",
        source="svc/stock",
        type="StockReserved",
        sagaid=saga_id,
        commandid=key,
        outcome=Outcome.SUCCEEDED,
        data={"reservation": f"r-{saga_id}"},
    )


async def _first_word(within: float, *arguments: str) -> tuple[dict[str, float], float]:
    """What a process of this module says first, and after how many seconds; it has ended then."""
    since = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", MODULE, *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(within):
            line = await process.stdout.readline()
        took = time.perf_counter() - since
        if not line:
            raise Unavailable(f"{MODULE} {arguments[0]} failed; what it says is above.")
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return json.loads(line), took


async def start_up(fresh: Callable[[], str], seconds: float) -> Figures:
    """From the command line to a system that takes orders: broker, log, manager, participants."""
    with tempfile.TemporaryDirectory(prefix="es-saga-bench-") as folder:
        since = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "es_saga", "run", "es_saga.bench.orders:app"),
            *("--participants", "--data", folder),
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        try:
            async with asyncio.timeout(READY_SECONDS):
                last = b"nothing"
                while RUNNING not in (said := await process.stderr.readline()):
                    if not said:
                        raise Unavailable(f"`es-saga run` ended: {last.decode().strip()}")
                    last = said
            took = time.perf_counter() - since
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_SECONDS):
                await process.communicate()
    return {"start_up_s": round(took, 3)}


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        run(fill(sys.argv[2], int(sys.argv[3])))
    else:
        run(resume(sys.argv[2], sys.argv[3]))
