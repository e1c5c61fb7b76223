"""Our transports keep what every transport promises: see `es_saga.testing.contracts.transport`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from es_saga.adapters.memory import MemoryTransport
from es_saga.adapters.nats import NatsTransport
from es_saga.testing.contracts import Pipe, TransportContract
from tests.adapters.pipes import SMALL

shows = pytest.mark.requirement
shows("R066")(TransportContract.test_every_consumer_of_a_stream_gets_the_message)
shows("R067", "R068")(TransportContract.test_subscribers_of_one_durable_consumer_share_its_messages)
shows("R065")(TransportContract.test_a_request_gets_what_is_told_to_its_address)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a handler raised at comes again sooner than in five seconds."""
    for module in ("memory_consumer", "nats_pull"):
        monkeypatch.setattr(f"es_saga.adapters.{module}.FAILED_SECONDS", 0.05)


class TestMemory(TransportContract):
    @pytest.fixture
    async def pipe(self, nats_tenant: str) -> AsyncIterator[Pipe]:
        transport = MemoryTransport(tenant=nats_tenant)
        yield transport
        await transport.close()


class TestNats(TransportContract):
    @pytest.fixture
    async def pipe(self, nats_tenant: str, nats_url: str) -> AsyncIterator[Pipe]:
        transport = await NatsTransport.connect(nats_url, tenant=nats_tenant, limits=SMALL)
        yield transport
        await transport.close()
