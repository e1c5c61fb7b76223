"""Views side by side in one worker: each at its own pace, and its trouble is its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_saga import Add, Change, NotFound, Put, Recorded, SagaState, View, projection
from es_saga.adapters.catch_up import CatchUp
from es_saga.adapters.migrate import upgrade
from es_saga.adapters.tables import EVENTS, PROJECTIONS
from es_saga.database import make_engine
from es_saga.engine.projector import Projector
from es_saga.projections.progress import Progresses
from tests.projections.logs import NAMES, Told, appends, events_of, rows, write

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 20.0
metadata = sa.MetaData()
seen = sa.Table(
    "seen",
    metadata,
    sa.Column("saga_id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)
counted = sa.Table(
    "counted",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("events", sa.Integer),
)

poison: set[tuple[str, int]] = set()
"""Sagas and versions that the first view cannot take in."""


@projection(seen)
def picky(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
    if (recorded.saga_id, recorded.version) in poison:
        raise ValueError("it tastes of soap")
    yield Put(saga_id=saga.saga_id, version=saga.version)


@projection(counted)
def plain(recorded: Recorded, _saga: SagaState) -> Iterator[Change]:
    yield Add(kind=type(recorded.event).__name__, events=1)


class HastyClock:
    """A second takes a hundredth of it."""

    def now(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'log.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    poison.clear()
    found = make_engine(url)
    upgrade(found)
    yield found
    found.dispose()


@asynccontextmanager
async def projecting(engine: sa.Engine, *views: View) -> AsyncGenerator[Projector]:
    catching = CatchUp(engine)
    projector = Projector(views, catching, HastyClock())
    await projector.start()
    try:
        yield projector
    finally:
        await projector.stop()
        catching.close()


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.01)


def told(url: str, sagas: int = 30, number: int = 0) -> tuple[list[str], int]:
    """A log of recorded sagas; their ids, and the number of events."""
    names = [NAMES[at % len(NAMES)] for at in range(sagas)]
    story = Told(names, [(at, 100) for at in range(sagas)], number)
    write(url, [], list(appends(story)))
    return [story.id_of(at) for at in range(sagas)], sum(len(events_of(name)) for name in names)


def place(engine: sa.Engine, saga_id: str, version: int) -> tuple[int, int]:
    which = (EVENTS.c.originator_id == saga_id, EVENTS.c.originator_version == version)
    with engine.connect() as connection:
        found = connection.execute(sa.select(EVENTS.c.part, EVENTS.c.position).where(*which)).one()
    return found.part, found.position


async def test_a_view_that_fails_stands_still_alone_at_the_very_event(
    url: str, engine: sa.Engine
) -> None:
    ids, events = await asyncio.to_thread(told, url)
    poison.add((ids[7], 3))
    part, position = place(engine, ids[7], 3)
    progress = Progresses(engine)
    async with projecting(engine, picky, plain):

        def found() -> bool:
            stuck, fine = progress.of(["seen", "counted"])
            assert (stuck.error_part, stuck.error_position) in ((None, None), (part, position))
            return fine.behind == 0 and stuck.error_position is not None and stuck.failures > 1

        await eventually(found)
        stuck, fine = progress.of(["seen", "counted"])
        assert (fine.position, fine.error, fine.failures) == (events, None, 0)
        assert stuck.error == "ValueError: it tastes of soap"
        assert stuck.parts[part].position == position - 1, "what comes before it is taken in"
        assert stuck.behind > 0
        assert stuck.seconds_behind > 0
        assert (ids[7], 2) in rows(engine, "seen", ["saga_id"])
        with engine.connect() as connection:
            assert connection.scalar(sa.select(sa.func.sum(counted.c.events))) == events

        poison.clear()
        await eventually(lambda: not progress.of(["seen"])[0].behind)
        await eventually(lambda: progress.of(["seen"])[0].error is None)
    assert len(rows(engine, "seen", ["saga_id"])) == len(ids)
    with engine.connect() as connection:
        assert connection.execute(sa.select(PROJECTIONS)).all() == []


async def test_what_a_dead_process_could_not_take_in_is_not_told_for_ever(
    url: str, engine: sa.Engine
) -> None:
    ids, _ = await asyncio.to_thread(told, url, 3)
    poison.add((ids[1], 2))
    progress = Progresses(engine)
    async with projecting(engine, picky):
        await eventually(lambda: progress.of(["seen"])[0].error is not None)
    poison.clear()
    async with projecting(engine, picky):
        await eventually(lambda: progress.of(["seen"])[0].error is None)


async def test_who_waits_for_an_event_is_told_when_the_view_has_it(
    url: str, engine: sa.Engine
) -> None:
    [first, *_], _ = await asyncio.to_thread(told, url, 2)
    last = len(events_of(NAMES[0]))
    progress = Progresses(engine)
    assert not await progress.wait("seen", first, last, timeout=0.05)
    async with projecting(engine, picky) as projector:
        inside = projector.wait("seen", first, last, timeout=PATIENCE_SECONDS)
        outside = progress.wait("seen", first, last, timeout=PATIENCE_SECONDS)
        assert all(await asyncio.gather(inside, outside))
        assert (first, last) in rows(engine, "seen", ["saga_id"])
        [later, *_], _ = await asyncio.to_thread(told, url, 1, 1)
        waiting = asyncio.create_task(projector.wait("seen", later, last, timeout=PATIENCE_SECONDS))
        projector.wake()
        assert await waiting
        assert (later, last) in rows(engine, "seen", ["saga_id"])
        poison.add(("saga-2-0", 1))
        await asyncio.to_thread(told, url, 1, 2)
        assert not await projector.wait("seen", "saga-2-0", 1, timeout=0.05)
        with pytest.raises(NotFound):
            await projector.wait("seen", first, last + 1, timeout=1)
        with pytest.raises(NotFound):
            await projector.wait("unseen", first, last, timeout=1)
        with pytest.raises(NotFound):
            await progress.wait("seen", "nobody", 1, timeout=1)


async def test_a_view_without_its_rights_is_told_of_too(url: str, engine: sa.Engine) -> None:
    """Whatever fails, not only the function: here a view of another name has taken its table."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE seen (saga_id int)")
    await asyncio.to_thread(told, url, 2)
    progress = Progresses(engine)
    async with projecting(engine, picky, plain):
        await eventually(lambda: progress.of(["seen"])[0].error is not None)
        await eventually(lambda: not progress.of(["counted"])[0].behind)
    assert "version" in (progress.of(["seen"])[0].error or "")
