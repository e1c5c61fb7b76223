"""The outbox: from a service's commit until another one has the event, over a real broker.

The service is a process of its own, and so is the listener's clock: both read the system's. The
time runs from the beginning of the commit, so it contains the commit.

    python -m es_saga.bench.outbox DATABASE SECONDS        the service
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa

from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.bench.cost import Figures
from es_saga.bench.load import DRAIN_SECONDS, WARM_UP
from es_saga.bench.process import child, run, until_told
from es_saga.core.errors import SagaError
from es_saga.core.messages import Event
from es_saga.database import make_engine
from es_saga.engine.ports import Consumer, Delivery
from es_saga.participant import Outbox, PollingRelay, TailingRelay, drop_slot
from es_saga.participant.tailing import slot_of

EVENTS_PER_SECOND: Final = 500

WRITERS: Final = 8
"""Threads of the service on PostgreSQL; SQLite has one writer."""

AGGREGATES: Final = 200


class Ticked(Event):
    """Something that happened at a known time."""

    by = "clock"
    about = "clock_id"
    clock_id: str
    at: float
    """Seconds since the epoch."""


def _write(engine: sa.Engine, first: int, step: int, count: int, since: float) -> None:
    service = Outbox("clock")
    for number in range(first, count, step):
        time.sleep(max(0.0, since + number / EVENTS_PER_SECOND - time.time()))
        with engine.begin() as connection:
            connection.execute(sa.select(1))  # connected, and in the transaction
            event = Ticked(clock_id=f"c{number % AGGREGATES}", at=time.time())
            service.add(connection, event)


async def serve(database: str, seconds: float) -> None:
    """The service: so many events a second, each in a transaction of its own."""
    engine = make_engine(database, pool_size=WRITERS)
    writers = 1 if engine.dialect.name == "sqlite" else WRITERS
    count, since = int(seconds * EVENTS_PER_SECOND), time.time() + 0.2
    threads = [
        threading.Thread(target=_write, args=(engine, first, writers, count, since))
        for first in range(writers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    engine.dispose()
    await until_told()


async def polled(fresh: Callable[[], str], seconds: float) -> Figures:
    """By the polling publisher."""
    return await _measure(PollingRelay, fresh(), seconds)


async def tailed(fresh: Callable[[], str], seconds: float) -> Figures:
    """By following PostgreSQL's transaction log."""
    database = fresh()
    try:
        return await _measure(TailingRelay, database, seconds)
    finally:
        engine = make_engine(database)
        drop_slot(engine, slot_of("clock"))
        engine.dispose()


async def _measure(
    kind: type[PollingRelay | TailingRelay], database: str, seconds: float
) -> Figures:
    heard: list[tuple[float, float]] = []

    def listen(delivery: Delivery) -> None:
        heard.append((delivery.envelope.data["at"], time.time()))
        delivery.ack()
        if len(heard) >= expected:
            complete.set()

    complete = asyncio.Event()
    expected = int((1 + WARM_UP) * seconds * EVENTS_PER_SECOND)
    with EmbeddedNats() as broker:
        pipe = await NatsTransport.connect(broker.url)
        await pipe.consume(
            Consumer("evt-bench--clock", "EVT", pipe.subjects.events_of("clock")), listen
        )
        async with kind("clock", database, pipe, create_tables=True):
            arguments = [database, str((1 + WARM_UP) * seconds)]
            async with child("es_saga.bench.outbox", arguments):
                async with asyncio.timeout(DRAIN_SECONDS):
                    await complete.wait()
        await pipe.close()
    if len(heard) != expected:
        raise SagaError(f"{len(heard)} of {expected} events were heard.")
    heard = sorted(heard)[-int(seconds * EVENTS_PER_SECOND) :]
    delays = sorted(1e3 * (came - at) for at, came in heard)
    return {
        "events_per_s": round((len(heard) - 1) / (heard[-1][0] - heard[0][0]), 1),
        "p50_ms": round(delays[len(delays) // 2], 2),
        "p99_ms": round(delays[int(0.99 * (len(delays) - 1))], 2),
    }


if __name__ == "__main__":
    run(serve(sys.argv[1], float(sys.argv[2])))
