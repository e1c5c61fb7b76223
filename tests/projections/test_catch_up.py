"""However a view takes the log in, it takes in every event once, in order, or is left as it was."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from es_saga import Add, Change, Put, Recorded, SagaState, View, projection
from es_saga.adapters.catch_up import CatchUp
from es_saga.adapters.definitions import KnownFields
from es_saga.adapters.follower import Follower
from es_saga.adapters.migrate import upgrade
from es_saga.adapters.statements import statements_for
from es_saga.adapters.tables import EVENTS, TRACKING
from es_saga.database import make_engine
from es_saga.engine.following import Undigested
from es_saga.engine.ports import Append
from es_saga.projections.progress import Progresses
from es_saga.projections.status import StatusView
from es_saga.projections.view import Batch
from tests.projections.logs import Told, appends, rows, tellings, write

metadata = sa.MetaData()
latest = sa.Table(
    "latest",
    metadata,
    sa.Column("saga_id", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("last_step", sa.Text),
)
kinds = sa.Table(
    "kinds",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("events", sa.Integer, nullable=False, server_default="0"),
    sa.Column("positions", sa.BigInteger, nullable=False, server_default="0"),
)


@projection(latest, kinds)
def tally(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
    """Looks at each event, and at the saga right after it."""
    yield Put(latest, saga_id=saga.saga_id, status=saga.status.value, version=saga.version)
    step: object = getattr(recorded.event, "step", None)
    if step is not None:
        yield Put(latest, saga_id=saga.saga_id, last_step=step)
    kind = f"{type(recorded.event).__name__} {saga.status.value}"
    yield Add(kinds, kind=kind, events=1, positions=recorded.position)


KEYS = {"latest": ["saga_id"], "kinds": ["kind"]}
GENTLY = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'log.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    found = make_engine(url)
    upgrade(found)
    metadata.create_all(found)
    beside(tally).metadata.create_all(found)
    yield found
    found.dispose()


def beside(view: View) -> View:
    return tally.beside("__new")


def both(engine: sa.Engine, suffix: str = "") -> dict[str, list[tuple[object, ...]]]:
    return {table: rows(engine, f"{table}{suffix}", key) for table, key in KEYS.items()}


def empty(engine: sa.Engine, view: View) -> None:
    """As if it had never begun."""
    with engine.begin() as connection:
        for table in view.metadata.sorted_tables:
            connection.execute(sa.delete(table))
        connection.execute(sa.delete(TRACKING).where(TRACKING.c.name == view.name))


def step(engine: sa.Engine, view: View, limit: int = 1_000) -> int:
    """One step; the events taken in."""
    return asyncio.run(_steps(engine, view, [limit]))


async def _steps(engine: sa.Engine, view: View, limits: Sequence[int]) -> int:
    catching = CatchUp(engine)
    await catching.prepare(view)
    total = 0
    for limit in limits:
        total += (await catching.advance(view, limit)).taken
    catching.close()
    return total


def count(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(EVENTS)) or 0


def cut(items: Sequence[Append], sizes: Sequence[int]) -> Iterator[Sequence[Append]]:
    """Batches of these sizes, then the rest."""
    first = 0
    for size in sizes:
        if items[first : first + size]:
            yield items[first : first + size]
        first += size
    if items[first:]:
        yield items[first:]


@pytest.mark.requirement("R055")
@pytest.mark.law("L54")
def test_a_view_built_from_the_log_equals_the_one_that_was_kept_in_step(
    url: str, engine: sa.Engine
) -> None:
    anew = beside(tally)

    @given(
        told=tellings(),
        sizes=st.lists(st.integers(1, 4), max_size=4),
        limits=st.lists(st.integers(1, 40), max_size=6),
        with_before=st.booleans(),
    )
    @GENTLY
    def check(told: Told, sizes: list[int], limits: list[int], with_before: bool) -> None:
        write(url, [tally], *cut(list(appends(told, with_before=with_before)), sizes))
        empty(engine, anew)
        taken = asyncio.run(_steps(engine, anew, [*limits, 1_000, 1_000]))
        assert taken == count(engine)
        assert both(engine, "__new") == both(engine)

    check()


def told_once(url: str, number: int = 0, size: int = 6) -> int:
    """A saga in the log; its events."""
    told = Told(["order/refused"], [(0, size)], number)
    write(url, [], list(appends(told)))
    return size


class Interrupted(Exception):
    """The process is gone."""


def test_a_crash_before_the_commit_leaves_neither_writes_nor_checkpoint(
    url: str, engine: sa.Engine
) -> None:
    told_once(url)
    step(engine, tally, 0)

    def die(_: sa.Connection) -> None:
        raise Interrupted

    event.listen(engine, "commit", die)
    with pytest.raises(Interrupted):
        # Its tables and its place are made beforehand.
        asyncio.run(CatchUp(engine).advance(tally))
    event.remove(engine, "commit", die)
    assert both(engine) == {"latest": [], "kinds": []}
    [progress] = Progresses(engine).of(["latest"])
    assert (progress.position, progress.behind) == (0, 6)
    assert step(engine, tally) == 6
    [progress] = Progresses(engine).of(["latest"])
    assert (progress.position, progress.behind, progress.seconds_behind) == (6, 0, 0.0)


def test_several_that_move_one_view_take_every_event_in_once(url: str, engine: sa.Engine) -> None:
    for number in range(40):
        told_once(url, number)
    ready = threading.Barrier(4)
    progress = Progresses(engine)

    def run(_: int) -> int:
        ready.wait(20)
        taken = 0
        while progress.of(["latest"])[0].behind:
            taken += asyncio.run(_steps(engine, tally, [7] * 9))
        return taken

    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(run, range(4)))
    assert sum(taken) == 240
    assert sum(row[1] for row in both(engine)["kinds"] if isinstance(row[1], int)) == 240


def test_a_view_that_missed_events_takes_them_in_before_the_next_ones(
    url: str, engine: sa.Engine
) -> None:
    for number in range(20):
        told_once(url, number, size=3)
    whole = [list(appends(Told(["order/refused"], [(0, 3), (0, 3)], n)))[1:] for n in range(20)]
    write(url, [StatusView(), tally], *whole)
    step(engine, beside(tally))
    assert both(engine) == both(engine, "__new")
    assert count(engine) == 120


def test_a_step_is_of_all_parts_together(url: str, engine: sa.Engine) -> None:
    for number in range(40):
        told_once(url, number, size=2)
    with engine.connect() as connection:
        parts = connection.scalar(sa.select(sa.func.count(EVENTS.c.part.distinct())))
    assert (parts or 0) > 3
    assert step(engine, tally) == 80


def test_no_part_waits_for_ever(url: str, engine: sa.Engine) -> None:
    for number in range(30):
        told_once(url, number)
    follower = Follower(statements_for(engine), tally, KnownFields())
    order: list[int] = []
    for _ in range(200):
        with engine.begin() as connection:
            statements_for(engine).enrol(connection, ["latest"])
            page = follower.read(connection, 2)
            if page is None:
                break
            follower.write(connection, page)
            order += [recorded.part for recorded in page.batch.events]
    assert len(order) == 180
    visits = [part for at, part in enumerate(order) if at == 0 or order[at - 1] != part]
    assert sorted(visits) == sorted(set(visits)), "a part is read to its end, then the next one"


class Choosy:
    """A view that cannot take in some events."""

    name = "choosy"
    metadata = metadata

    def __init__(self, poison: Collection[tuple[int, int]]) -> None:
        self.poison = poison
        self.seen: list[tuple[int, int]] = []

    def apply(self, connection: sa.Connection, batch: Batch) -> None:
        for recorded in batch.events:
            if (recorded.part, recorded.position) in self.poison:
                raise ValueError("it tastes of soap")
        self.seen += [(recorded.part, recorded.position) for recorded in batch.events]


def test_what_a_view_cannot_take_in_is_told_with_its_place(url: str, engine: sa.Engine) -> None:
    told_once(url)
    with engine.connect() as connection:
        part = connection.scalar(sa.select(EVENTS.c.part).limit(1))
    assert part is not None
    view = Choosy({(part, 3)})
    with pytest.raises(Undigested) as raised:
        step(engine, view)
    assert (raised.value.events, raised.value.part, raised.value.position) == (6, part, 1)
    assert isinstance(raised.value.__cause__, ValueError)
    assert view.seen == []


def test_an_event_that_cannot_be_read_is_told_with_its_place(url: str, engine: sa.Engine) -> None:
    told_once(url)
    with engine.begin() as connection:
        connection.execute(EVENTS.update().where(EVENTS.c.position == 3).values(state=b"{"))
    assert step(engine, tally, 2) == 2
    with pytest.raises(Undigested) as raised:
        step(engine, tally, 1)
    assert (raised.value.events, raised.value.position) == (1, 3)


def test_a_hole_in_the_log_stops_a_view(url: str, engine: sa.Engine) -> None:
    told_once(url)
    with engine.begin() as connection:
        connection.execute(sa.delete(EVENTS).where(EVENTS.c.position == 3))
    with pytest.raises(Undigested) as raised:
        step(engine, tally)
    assert "the log has gaps" in str(raised.value.__cause__)
    assert step(engine, tally, 2) == 2
    with pytest.raises(Undigested) as raised:
        step(engine, tally, 1)
    assert raised.value.position == 3


def test_sagas_that_are_not_remembered_are_read_again(
    url: str, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_saga.adapters.follower.MAX_STATES", 2)
    steps = [(number, 2) for _ in range(3) for number in range(12)]
    told = Told(["order/refused"] * 12, steps, 0)
    write(url, [tally], *([item] for item in appends(told)))
    anew = beside(tally)
    asyncio.run(_steps(engine, anew, [3] * 30))
    assert both(engine, "__new") == both(engine)
