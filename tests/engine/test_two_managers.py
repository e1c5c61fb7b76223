"""Two managers that both believe they own every part: nothing lost, nothing doubled, no gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from es_saga import Saga
from es_saga.adapters.clock import SystemClock
from es_saga.adapters.memory import MemoryTransport
from es_saga.adapters.store import SqlStore, connect
from es_saga.core.aggregate import SagaState, SagaStatus, fold
from es_saga.core.messages import PARTS, Envelope, Subjects
from es_saga.engine.leases import SoleOwner
from es_saga.engine.manager import ProcessManager
from es_saga.engine.ports import Recorded, Transport
from es_saga.projections.audit import AuditView
from es_saga.projections.status import StatusView
from es_saga.projections.view import View
from tests.engine.errand import (
    Answer,
    Errand,
    Fetch,
    Fetched,
    No,
    Pay,
    Script,
    Silence,
    Town,
    errand,
    willing,
)
from tests.engine.test_restart import Mute

pytestmark = pytest.mark.anyio

DEADLINE_SECONDS = 30.0

patient = Saga("patient", Errand)
"""Its timers never help: what is lost stays lost, for as long as a test lasts."""


@patient.check(timeout=timedelta(hours=1))
def fetch(e: Errand) -> Fetch:
    return Fetch(thing=e.thing)


@patient.check(timeout=timedelta(hours=1))
def pay(e: Errand, fetched: Fetched) -> Pay:
    return Pay(pence=e.pence)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'log.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


@dataclass
class Rivals:
    """Managers with a store each, over one log and one transport."""

    stores: list[SqlStore]
    managers: list[ProcessManager]
    town: Town

    async def closed(self, saga_ids: Sequence[str]) -> dict[str, SagaState]:
        """These sagas, once all of them are closed."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                histories = await self.stores[0].load(saga_ids)
                states = {saga_id: fold(saga_id, events) for saga_id, events in histories.items()}
                found = {id: state for id, state in states.items() if state and state.closed}
                if len(found) == len(saga_ids):
                    return found
                await asyncio.sleep(0.02)

    async def log(self) -> list[Recorded]:
        """Every event, in order of part and position."""
        pages = [await self.stores[0].read(part, after=0, limit=10_000) for part in range(PARTS)]
        return [event for page in pages for event in page]


@asynccontextmanager
async def rivals(
    url: str, *, script: Script = willing, second_is_mute: bool = False
) -> AsyncGenerator[Rivals]:
    """Two of them; commands of a mute one never arrive."""
    views: list[View] = [StatusView(), AuditView()]
    pipe = MemoryTransport()
    async with AsyncExitStack() as stack:
        found = Rivals([], [], Town(pipe, Subjects(), script))
        await found.town.open()
        second = cast(Transport, Mute(pipe)) if second_is_mute else pipe  # it passes on the rest
        transports: list[Transport] = [pipe, second]
        for transport in transports:
            store = connect(url, views=views, migrate=True)
            stack.push_async_callback(store.close)
            manager = ProcessManager(
                "errands",
                [errand.definition, patient.definition],
                store=store,
                transport=transport,
                clock=SystemClock(),
                leases=SoleOwner(),
            )
            await stack.enter_async_context(manager)
            found.stores.append(store)
            found.managers.append(manager)
        yield found


def assert_whole(log: Sequence[Recorded]) -> None:
    """Positions and versions are 1, 2, 3, … and nothing is there twice."""
    for part in range(PARTS):
        positions = [event.position for event in log if event.part == part]
        assert positions == list(range(1, len(positions) + 1))
    for saga_id in {event.saga_id for event in log}:
        versions = [event.version for event in log if event.saga_id == saga_id]
        assert versions == list(range(1, len(versions) + 1))
        kinds = [
            (type(event.event).__name__, getattr(event.event, "step", None))
            for event in log
            if event.saga_id == saga_id and type(event.event).__name__ != "StepRetried"
        ]
        once = [kind for kind in kinds if kind[0] in ("StepStarted", "StepSucceeded")]
        assert len(once) == len(set(once))


@pytest.mark.requirement("R007", "R059", "R074")
async def test_both_write_and_nothing_is_lost_or_doubled(url: str) -> None:
    ids = [f"e{n}" for n in range(200)]
    async with rivals(url) as r:
        one, other = r.managers
        written: dict[ProcessManager, int] = {one: 0, other: 0}
        for manager in r.managers:

            def note(batch: Sequence[object], manager: ProcessManager = manager) -> None:
                written[manager] += len(batch)

            manager.listen(note)
        await asyncio.gather(
            *(
                r.managers[n % 2].begin(errand, Errand(thing=saga_id), saga_id=saga_id)
                for n, saga_id in enumerate(ids)
            )
        )
        states = await r.closed(ids)
        log = await r.log()
    assert all(state.status is SagaStatus.COMPLETED for state in states.values())
    assert_whole(log)
    assert min(written.values()) > 50, "one of them did nearly nothing: this shows nothing"


@pytest.mark.requirement("R024", "R059")
async def test_a_saga_that_both_are_asked_to_begin_begins_once(url: str) -> None:
    async with rivals(url) as r:
        answers = await asyncio.gather(
            *(
                manager.begin(errand, Errand(thing="lamp"), key=str(n))
                for n in range(40)
                for manager in r.managers
            )
        )
        await r.closed([f"errand-{n}" for n in range(40)])
        log = await r.log()
    assert sum(created for _, created in answers) == 40
    assert_whole(log)


@pytest.mark.requirement("R031")
async def test_the_answer_to_what_the_other_one_asked_is_not_thrown_away(url: str) -> None:
    """No timer comes to the rescue: it would in an hour."""
    ids = [f"p{n}" for n in range(100)]
    async with rivals(url) as r:
        for n, saga_id in enumerate(ids):
            await r.managers[n % 2].begin(patient, Errand(thing=saga_id), saga_id=saga_id)
        states = await r.closed(ids)
        log = await r.log()
    assert all(state.status is SagaStatus.COMPLETED for state in states.values())
    assert_whole(log)


@pytest.mark.requirement("R007", "R052", "R054")
async def test_what_the_other_one_began_before_it_died_is_looked_after(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had begun after we took stock, its command was never sent, and then it was gone."""
    monkeypatch.setattr("es_saga.engine.manager.LEASE_SECONDS", 0.2)
    monkeypatch.setattr("es_saga.engine.manager.DRAIN_SECONDS", 0.1)
    async with rivals(url, second_is_mute=True) as r:
        survivor, zombie = r.managers
        await zombie.begin(errand, Errand(thing="lamp"), saga_id="e1")
        await zombie.stop()
        assert survivor.owned
        states = await r.closed(["e1"])
        asked = [envelope.id for envelope in r.town.asked]
    assert states["e1"].status is SagaStatus.COMPLETED
    assert asked[0] == "e1/fetch/do/1"


@pytest.mark.requirement("R041")
async def test_compensation_is_finished_by_either(url: str) -> None:
    ids = [f"e{n}" for n in range(60)]

    def reluctant(command: Envelope) -> Answer:
        if command.type == "Bring":
            return No(why="rain")
        slow = command.type == "PutBack" and command.attempt == 1
        return Silence() if slow else willing(command)

    async with rivals(url, script=reluctant) as r:
        for n, saga_id in enumerate(ids):
            await r.managers[n % 2].begin(errand, Errand(thing=saga_id), saga_id=saga_id)
        states = await r.closed(ids)
        log = await r.log()
    assert all(state.status is SagaStatus.COMPENSATED for state in states.values())
    assert_whole(log)
