"""The engine's tests run in memory, on SQLite, and on PostgreSQL with a real NATS server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from es_saga.adapters.memory import MemoryStore, MemoryTransport
from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_streams import StreamLimits
from es_saga.adapters.store import connect
from es_saga.core.messages import Envelope
from es_saga.engine.ports import Store
from es_saga.projections.audit import AuditView
from es_saga.projections.status import StatusView
from es_saga.projections.view import View

SMALL = StreamLimits(cmd_bytes=16 * 2**20, rpl_bytes=16 * 2**20, evt_bytes=2**20, dlq_bytes=2**20)
"""Streams reserve what they may grow to; many tests share a server."""


@dataclass
class Ground:
    """What a manager stands on."""

    store: Store
    transport: MemoryTransport | NatsTransport
    tenant: str

    async def dead_letters(self, count: int) -> list[Envelope]:
        """The first dead letters, once there are so many."""
        async with asyncio.timeout(10):
            while len(letters := await self.transport.dead_letters()) < count:
                await asyncio.sleep(0.02)
        return [letter for _, letter in letters]


@pytest.fixture(params=["memory", "sqlite", "postgres and nats"])
async def ground(
    request: pytest.FixtureRequest, tmp_path: Path, nats_url: str, nats_tenant: str
) -> AsyncIterator[Ground]:
    views: list[View] = [StatusView(), AuditView()]
    store: Store
    transport: MemoryTransport | NatsTransport
    if request.param == "memory":
        store, transport, tenant = MemoryStore(), MemoryTransport(), "main"
    elif request.param == "sqlite":
        store = connect(f"sqlite:///{tmp_path / 'log.db'}", views=views, migrate=True)
        transport, tenant = MemoryTransport(), "main"
    else:
        url = request.getfixturevalue("postgres_url")
        store = connect(url, views=views, migrate=True)
        tenant = nats_tenant
        transport = await NatsTransport.connect(nats_url, tenant=tenant, limits=SMALL)
    yield Ground(store, transport, tenant)
    await transport.close()
    await store.close()
