"""The log or the broker is lost in mid-run: the manager waits, goes on, and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client as Stranger

from es_saga.adapters.clock import SystemClock
from es_saga.adapters.leases import PostgresLeases
from es_saga.adapters.memory import MemoryStore, MemoryTransport
from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.adapters.postgres import EmbeddedPostgres
from es_saga.adapters.store import connect
from es_saga.core.aggregate import SagaStatus
from es_saga.core.errors import Unavailable
from es_saga.core.messages import PARTS, Envelope, Subjects
from es_saga.database import make_engine
from es_saga.engine.client import Client
from es_saga.engine.manager import ProcessManager
from es_saga.projections.status import StatusView
from tests.engine.conftest import SMALL, Ground
from tests.engine.errand import Answer, Errand, Town, World, errand, refusing, willing, world
from tests.engine.outages import Outages

pytestmark = pytest.mark.anyio

MANY = 30


async def until(reached: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not reached():
            await asyncio.sleep(0.01)


async def begin_many(w: World) -> list[asyncio.Task[str]]:
    async def begin(n: int) -> str:
        state, _ = await w.manager.begin(errand, Errand(thing=f"t{n}"), saga_id=f"e{n}")
        return state.saga_id

    return [asyncio.create_task(begin(n)) for n in range(MANY)]


# ── the log ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R052", "R053", "R054", "R074")
@pytest.mark.parametrize("kind", ["away", "deaf"])
@pytest.mark.parametrize("script", [willing, refusing("Bring")], ids=["forward", "backward"])
async def test_what_is_under_way_goes_on_when_the_log_is_back(
    ground: Ground, kind: str, script: Callable[[Envelope], Answer]
) -> None:
    """Away: nothing was committed. Deaf: it was, and nobody knows."""
    outages = Outages(ground.store)

    def lose_it_on_the_way(command: Envelope) -> Answer:
        if command.type == "Pay" and command.sagaid in ("e3", "e20") and not outages.failed:
            setattr(outages, kind, True)
        return script(command)

    async with world(
        outages.store, ground.transport, tenant=ground.tenant, script=lose_it_on_the_way
    ) as w:
        begun = await begin_many(w)
        await until(lambda: outages.failed >= 5)
        outages.away = outages.deaf = False
        ids = await asyncio.gather(*begun)
        w.store = ground.store
        states = [await w.closed(saga_id) for saga_id in ids]
        histories = [await w.history(saga_id) for saga_id in ids]
    ends = SagaStatus.COMPLETED if script is willing else SagaStatus.COMPENSATED
    assert {state.status for state in states} == {ends}
    assert max(w.town.count().values()) == 1, "an id is published again, and delivered once"
    for kinds in histories:
        once = [kind for kind in kinds if kind.startswith(("StepStarted", "StepSucceeded"))]
        assert len(once) == len(set(once))


async def test_starts_are_held_while_the_log_is_away(ground: Ground) -> None:
    outages = Outages(ground.store)
    async with world(outages.store, ground.transport, tenant=ground.tenant) as w:
        outages.away = True
        begun = await begin_many(w)
        client = Client(ground.transport, "errands", tenant=ground.tenant)
        asked = asyncio.create_task(client.start("errand", Errand(thing="a"), saga_id="by-message"))
        await until(lambda: outages.failed >= 10)
        assert not any(task.done() for task in [*begun, asked])
        outages.away = False
        ids = [*await asyncio.gather(*begun), (await asked).result()["saga_id"]]
        w.store = ground.store
        states = [await w.closed(saga_id) for saga_id in ids]
    assert {state.status for state in states} == {SagaStatus.COMPLETED}


async def test_starts_are_refused_while_the_log_is_away_if_so_chosen(ground: Ground) -> None:
    outages = Outages(ground.store)
    options = {"tenant": ground.tenant, "refuse_starts": True}
    async with world(outages.store, ground.transport, **options) as w:  # type: ignore[arg-type]
        outages.away = True
        for task in await begin_many(w):
            with pytest.raises(Unavailable):
                await task
        client = Client(ground.transport, "errands", tenant=ground.tenant)
        for _ in range(2):
            answer = await client.start("errand", Errand(thing="a"), saga_id="by-message")
            with pytest.raises(Unavailable):
                answer.result()
        outages.away = False
        await until(lambda: w.manager.owned == frozenset(range(PARTS)))
        w.store = ground.store

        async def started() -> str:
            while True:
                try:
                    return (await w.manager.begin(errand, Errand(thing="a")))[0].saga_id
                except Unavailable:
                    await asyncio.sleep(0.01)

        async with asyncio.timeout(10):
            state = await w.closed(await started())
        found = await ground.store.load([*(f"e{n}" for n in range(MANY)), "by-message"])
    assert state.status is SagaStatus.COMPLETED
    assert found == {}, "what was refused was not begun"


async def test_a_manager_stops_while_the_log_is_away_and_the_next_one_finishes(
    ground: Ground,
) -> None:
    outages = Outages(ground.store)
    calls: list[asyncio.Task[str]] = []
    async with world(outages.store, ground.transport, tenant=ground.tenant) as w:
        state, _ = await w.manager.begin(errand, Errand(thing="a"), saga_id="under-way")
        outages.away = True
        calls = await begin_many(w)
        await until(lambda: outages.failed >= 5)
        async with asyncio.timeout(14):
            await w.manager.stop()
    for task in calls:
        with pytest.raises(Unavailable):  # told so, and not left to wait for ever
            await task
    async with world(ground.store, ground.transport, tenant=ground.tenant) as again:
        assert (await again.closed(state.saga_id)).status is SagaStatus.COMPLETED


async def test_a_manager_that_cannot_start_leaves_nothing_behind() -> None:
    """The log is lost while some parts are open and others are not."""
    outages = Outages(MemoryStore())
    outages.left = 20
    pipe = MemoryTransport()
    before = asyncio.all_tasks()
    with pytest.raises(Unavailable):
        async with world(outages.store, pipe):
            pytest.fail("it has no log")
    assert outages.failed
    assert asyncio.all_tasks() == before


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server of this test's own."""
    server = EmbeddedPostgres(tmp_path / "pg", settings={"fsync": "off"})
    server.start()
    yield server
    server.stop()


class Counted(PostgresLeases):
    """Counts the rounds in which nobody could tell whose the parts are."""

    failures = 0

    async def held(self) -> frozenset[int]:
        try:
            return await super().held()
        except Unavailable:
            self.failures += 1
            raise


@asynccontextmanager
async def leased(url: str) -> AsyncGenerator[tuple[World, Counted]]:
    """A manager on PostgreSQL that owns what it has leases for."""
    store = connect(url, views=[StatusView()], migrate=True)
    engine = make_engine(url)
    leases = Counted(engine, "errands")
    pipe = MemoryTransport()
    town = Town(pipe, Subjects())
    await town.open()
    manager = ProcessManager(
        "errands",
        [errand.definition],
        store=store,
        transport=pipe,
        clock=SystemClock(),
        leases=leases,
    )
    async with manager:
        yield World(store, pipe, Subjects(), SystemClock(), town, manager), leases
    await leases.close()
    await store.close()
    engine.dispose()


@pytest.mark.requirement("R007", "R052", "R054")
async def test_a_restart_of_postgresql_is_sat_out_with_every_part_kept(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_saga.engine.manager.LEASE_SECONDS", 0.2)
    async with leased(server.url) as (w, leases):
        before = await w.run()
        server.stop()
        begun = await begin_many(w)
        await until(lambda: leases.failures >= 3)
        assert w.manager.owned == frozenset(range(PARTS))
        server.start()
        states = [await w.closed(saga_id) for saga_id in await asyncio.gather(*begun)]
        assert w.manager.owned == frozenset(range(PARTS))
    assert before.status is SagaStatus.COMPLETED
    assert {state.status for state in states} == {SagaStatus.COMPLETED}


# ── the broker ───────────────────────────────────────────────────────────────────────────────────


async def test_without_the_broker_publishes_are_held_and_go_out_later(tmp_path: Path) -> None:
    store = connect(f"sqlite:///{tmp_path / 'log.db'}", views=[StatusView()], migrate=True)
    with EmbeddedNats(tmp_path / "nats") as nats:
        pipe = await NatsTransport.connect(nats.url, limits=SMALL)
        async with world(store, pipe) as w:
            await w.run()
            nats.kill()
            await until(lambda: not pipe.connected)
            ids = await asyncio.gather(*await begin_many(w))
            assert sum(envelope.sagaid in ids for envelope in w.town.asked) == 0
            nats.start()
            states = [await w.closed(saga_id) for saga_id in ids]
        await pipe.close()
    await store.close()
    assert {state.status for state in states} == {SagaStatus.COMPLETED}


async def test_foreign_and_malformed_messages_are_put_aside_and_the_rest_goes_on(
    tmp_path: Path, nats_url: str, nats_tenant: str
) -> None:
    store = connect(f"sqlite:///{tmp_path / 'log.db'}", views=[StatusView()], migrate=True)
    pipe = await NatsTransport.connect(nats_url, tenant=nats_tenant, limits=SMALL)
    foreign = {
        b"no JSON at all": "malformed",
        b'{"hello": "world"}': "foreign",
        b'{"specversion":"1.0","id":"1","source":"x","type":"Fetched"}': "bad-reply",
        b'{"specversion":"1.0","id":"2","source":"x","type":"Fetched","outcome":"succeeded",'
        b'"commandid":"nobody/fetch/do"}': "unknown-saga",
        b'{"specversion":"1.0","id":"3","source":"x","type":"Fetched","outcome":"succeeded",'
        b'"commandid":"nobody/fetch/do","sagaid":"somebody"}': "bad-reply",
    }
    async with world(store, pipe, tenant=nats_tenant) as w:
        stranger = Stranger()
        await stranger.connect(nats_url)
        for body in foreign:
            await stranger.publish(w.subjects.inbox("errands", "e1"), body)
        await stranger.publish(w.subjects.inbox("errands", "e1"), b"x" * 900_000)
        await stranger.close()
        state = await w.run(saga_id="e1")
        letters: list[tuple[int, Envelope]] = []
        async with asyncio.timeout(10):
            while len(letters) < len(foreign):
                letters = await pipe.dead_letters()
                await asyncio.sleep(0.02)
    await pipe.close()
    await store.close()
    assert state.status is SagaStatus.COMPLETED
    assert sorted(letter.data["reason"] for _, letter in letters) == sorted(foreign.values())
