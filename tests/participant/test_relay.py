"""Relays: everything is published, in order for each aggregate, whatever breaks on the way."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from es_saga import Message
from es_saga.adapters.memory import MemoryTransport
from es_saga.adapters.nats import NatsTransport
from es_saga.core.errors import Unavailable
from es_saga.core.messages import Envelope
from es_saga.database import make_engine
from es_saga.engine.ports import Consumer, Handler, Subscription
from es_saga.participant import (
    NotPrepared,
    Outbox,
    PollingRelay,
    Subscriber,
    backlog,
    inbox,
    outbox,
)
from es_saga.participant.backlog import Backlog
from es_saga.participant.outbox import es_outbox
from es_saga.testing.contracts.pipes import eventually
from tests.participant.depot import heard_by, left, place, shipping, tables
from tests.participant.pipe import Pipe

pytestmark = pytest.mark.anyio


@pytest.fixture
def orders(engine: sa.Engine) -> sa.Engine:
    """The database of both services."""
    for metadata in (tables, outbox.metadata, inbox.metadata):
        metadata.create_all(engine)
    return engine


class Restocked(Message):
    pass


class Stream:
    """What a stream would keep: of each message the first copy. It refuses, and forgets to say."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.kept: dict[str, Envelope] = {}
        self.copies = 0

    @property
    def connected(self) -> bool:
        return True

    def publish(
        self, subject: str, envelope: Envelope, *, ttl: float | None = None
    ) -> asyncio.Future[None]:
        return asyncio.ensure_future(self._store(envelope))

    async def _store(self, envelope: Envelope) -> None:
        for _ in range(self._rng.randrange(4)):
            await asyncio.sleep(0)
        if self._rng.random() < 0.2:
            raise Unavailable("It went away before the message came.")
        self.kept.setdefault(envelope.id, envelope)
        self.copies += 1
        if self._rng.random() < 0.2:
            raise Unavailable("It went away before it could confirm.")

    @property
    def orders(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for envelope in self.kept.values():
            found.setdefault(envelope.data["order_id"], []).append(envelope.data["number"])
        return found

    def tell(self, address: str, envelope: Envelope) -> None:
        raise NotImplementedError

    async def request(self, subject: str, envelope: Envelope, *, timeout: float) -> Envelope:
        raise NotImplementedError

    async def consume(self, consumer: Consumer, handler: Handler) -> Subscription:
        raise NotImplementedError

    async def close(self) -> None:
        pass


@pytest.mark.requirement("R071", "R072")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    numbers=st.dictionaries(st.sampled_from("abc"), st.integers(1, 6), min_size=1),
    relays=st.integers(1, 3),
)
def test_the_order_of_an_aggregate_is_kept_under_retries_and_by_several_relays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, numbers: dict[str, int], relays: int
) -> None:
    """On SQLite, where nobody takes turns: every relay publishes everything."""
    monkeypatch.setattr("es_saga.participant.relay.OUTAGE_SECONDS", (0.001, 0.002))
    monkeypatch.setattr("es_saga.participant.relay.BATCH", 4)
    engine = make_engine(f"sqlite:///{tmp_path / f'{seed}.db'}", pool_size=10)
    outbox.metadata.create_all(engine)
    place(engine, numbers)
    stream = Stream(random.Random(seed))

    async def relay() -> None:
        async with AsyncExitStack() as stack:
            for _ in range(relays):
                relay = PollingRelay("orders", engine, stream, poll=0.001)
                await stack.enter_async_context(relay)
            await eventually(lambda: left(engine) == 0)

    asyncio.run(relay())
    engine.dispose()
    assert stream.orders == {key: list(range(1, count + 1)) for key, count in numbers.items()}


@pytest.mark.requirement("R071", "R072")
async def test_what_one_service_tells_another_one_hears_once_and_in_order(
    orders: sa.Engine, nats_url: str, nats_tenant: str
) -> None:
    place(orders, {"a": 5, "b": 3})
    pipe = await NatsTransport.connect(nats_url, tenant=nats_tenant)
    listener = Subscriber(shipping(), orders, pipe, tenant=nats_tenant)
    async with listener, PollingRelay("orders", orders, pipe, tenant=nats_tenant):
        await eventually(lambda: sum(map(len, heard_by(orders).values())) == 8)
        place(orders, {"b": 2}, first=4)
        await eventually(lambda: sum(map(len, heard_by(orders).values())) == 10)
        await eventually(lambda: left(orders) == 0)
    await pipe.close()
    assert heard_by(orders) == {"a": [1, 2, 3, 4, 5], "b": [1, 2, 3, 4, 5]}


async def test_a_relay_takes_over_when_the_one_that_works_is_gone(
    orders: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_saga.participant.relay.STAND_BY_SECONDS", 0.05)
    first = PollingRelay("orders", orders, MemoryTransport())
    pipe = MemoryTransport()
    await first.start()
    async with PollingRelay("orders", orders, pipe):
        await first.stop()
        place(orders, {"a": 3})
        await eventually(lambda: left(orders) == 0)
    await pipe.close()


async def test_a_row_that_cannot_be_published_stays_with_its_fault_and_holds_up_no_other(
    orders: sa.Engine, logged: list[dict[str, object]]
) -> None:
    bad = {
        "service": "orders",
        "id": "x",
        "aggregate_type": "order",
        "aggregate_id": "a.b",
        "type": "T",
        "payload": "{}",
    }
    with orders.begin() as connection:
        connection.execute(sa.insert(es_outbox), bad)
        connection.execute(sa.insert(es_outbox), bad | {"aggregate_id": "a", "payload": "{"})
    place(orders, {"a": 1})
    async with PollingRelay("orders", orders, MemoryTransport()):
        await eventually(lambda: left(orders) == 2)
        await eventually(lambda: not left(orders, sound=True))
    assert [entry["event"] for entry in logged].count("event_put_aside") == 2


async def test_services_with_one_database_tell_of_themselves_only(orders: sa.Engine) -> None:
    place(orders, {"a": 2})
    with orders.begin() as connection:
        Outbox("stock").add(connection, Restocked(), aggregate_id="a")
    pipe = Pipe()
    async with PollingRelay("stock", orders, pipe):
        await eventually(lambda: left(orders) == 2)
    assert [envelope.source for _, envelope in pipe.published] == ["svc/stock"]


async def test_a_late_relay_deletes_nobody_elses_rows(orders: sa.Engine) -> None:
    """Positions are not given again, not even when the table is empty."""
    place(orders, {"a": 2})
    late = Backlog(orders, "orders")
    assert late.take_turn()
    rows = late.oldest(10)
    with orders.begin() as connection:
        connection.execute(sa.delete(es_outbox))
    place(orders, {"b": 2})
    late.settle(backlog.Published([row.position for row in rows], {}))
    late.let_go()
    assert left(orders) == 2


async def test_without_its_table_a_relay_does_not_start(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    with pytest.raises(NotPrepared, match="es_outbox"):
        await PollingRelay("orders", url, MemoryTransport()).start()
    with pytest.raises(Unavailable, match="out of reach"):
        await PollingRelay("orders", "sqlite:////nowhere/x.db", MemoryTransport()).start()
