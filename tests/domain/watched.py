"""The services of a choreography, each with its database, and the manager that watches them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from es_saga import App
from es_saga.adapters.clock import SystemClock
from es_saga.adapters.memory import MemoryStore, MemoryTransport
from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_streams import StreamLimits
from es_saga.core.aggregate import fold
from es_saga.core.events import SagaEvent
from es_saga.core.messages import Event
from es_saga.core.state import CLOSED
from es_saga.database import make_engine
from es_saga.engine.leases import SoleOwner
from es_saga.engine.manager import ProcessManager
from es_saga.participant import PollingRelay, Subscriber, create_tables

SMALL = StreamLimits(cmd_bytes=2**20, rpl_bytes=2**24, evt_bytes=2**24, dlq_bytes=2**20)


class Watched:
    """All that takes part in the flows of an app."""

    def __init__(
        self, app: App, folder: Path, transport: MemoryTransport | NatsTransport, tenant: str
    ) -> None:
        self.app, self.transport, self.tenant = app, transport, tenant
        self.store = MemoryStore()
        self.engines = {
            name: make_engine(f"sqlite:///{folder / name}.db", pool_size=5)
            for name in app.participants
        }
        for name, participant in app.participants.items():
            create_tables(participant, self.engines[name])
        self._services = AsyncExitStack()

    def manager(self) -> ProcessManager:
        return ProcessManager(
            self.app.name,
            self.app.definitions(),
            store=self.store,
            transport=self.transport,
            clock=SystemClock(),
            leases=SoleOwner(),
            tenant=self.tenant,
        )

    def listening(self, name: str) -> Subscriber:
        """A service that hears the others, once it is started."""
        participant, engine = self.app.participants[name], self.engines[name]
        return Subscriber(participant, engine, self.transport, tenant=self.tenant)

    async def open(self, *, deaf: str = "") -> None:
        """Start all services; one of them may be deaf."""
        for name, engine in self.engines.items():
            relay = PollingRelay(name, engine, self.transport, tenant=self.tenant)
            await self._services.enter_async_context(relay)
            if name != deaf:
                await self._services.enter_async_context(self.listening(name))

    async def close(self) -> None:
        await self._services.aclose()
        for engine in self.engines.values():
            engine.dispose()

    def place(self, place: Callable[[sa.Connection, Any], None], order: Event) -> None:
        """What begins a flow, in a transaction of its service."""
        with self.engines[order.by].begin() as connection:
            place(connection, order)

    async def closed(self, *saga_ids: str) -> dict[str, list[SagaEvent]]:
        """The histories of these sagas, once all are over."""
        while True:
            found = await self.store.load(saga_ids)
            states = [fold(name, events) for name, events in found.items()]
            if sum(state is not None and state.status in CLOSED for state in states) == len(
                saga_ids
            ):
                return {name: list(events) for name, events in found.items()}
            await asyncio.sleep(0.02)

    def rows(self, name: str, table: sa.Table) -> list[tuple[object, ...]]:
        with self.engines[name].begin() as connection:
            return [tuple(row) for row in connection.execute(sa.select(table))]


@asynccontextmanager
async def watched(
    app: App, request: pytest.FixtureRequest, folder: Path
) -> AsyncGenerator[Watched]:
    """Over the memory transport or, by the fixture's parameter, a real NATS server."""
    transport: MemoryTransport | NatsTransport
    if request.param == "memory":
        transport, tenant = MemoryTransport(), "main"
    else:
        tenant = request.getfixturevalue("nats_tenant")
        url = request.getfixturevalue("nats_url")
        transport = await NatsTransport.connect(url, tenant=tenant, limits=SMALL)
    found = Watched(app, folder, transport, tenant)
    yield found
    await found.close()
    await transport.close()
