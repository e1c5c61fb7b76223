"""The log in a database: views in the same transaction, group commit, outages, corruption."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_saga import database
from es_saga.adapters import log_end
from es_saga.adapters import store as store_module
from es_saga.adapters import writer as writer_module
from es_saga.adapters.log_end import Versions
from es_saga.adapters.migrate import upgrade
from es_saga.adapters.store import SqlStore, connect
from es_saga.adapters.writer import MAX_EVENTS
from es_saga.core.aggregate import SagaState, fold
from es_saga.core.errors import CorruptHistory, InvalidInput, Unavailable
from es_saga.core.events import SagaCompleted, SagaEvent, SagaStarted
from es_saga.core.messages import PARTS, part_of
from es_saga.database import make_engine
from es_saga.engine.ports import Append, Recorded
from es_saga.projections.status import StatusView
from es_saga.projections.view import Batch, View

pytestmark = pytest.mark.anyio

STARTED = SagaStarted(at=1.0, saga_type="order", definition=1, fingerprint="f", data={})
COMPLETED = SagaCompleted(at=2.0)


class Tally:
    """A view that counts each saga's events, and can be made to wait or to fail."""

    name = "tally"
    metadata = sa.MetaData()
    table = sa.Table(
        "tally",
        metadata,
        sa.Column("saga_id", sa.Text, primary_key=True),
        sa.Column("n", sa.Integer),
    )

    def __init__(self) -> None:
        self.calls: list[Sequence[Recorded]] = []
        self.states: dict[str, SagaState] = {}
        self.fail: Callable[[sa.Connection, Sequence[Recorded]], None] | None = None
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()

    def apply(self, connection: sa.Connection, batch: Batch) -> None:
        self.entered.set()
        assert self.go.wait(30)
        self.calls.append(batch.events)
        self.states |= batch.states
        for saga_id, state in batch.states.items():
            connection.execute(self.table.delete().where(self.table.c.saga_id == saga_id))
            connection.execute(self.table.insert().values(saga_id=saga_id, n=state.version))
        if self.fail is not None:
            self.fail(connection, batch.events)


def item(saga_id: str, version: int = 0, *events: SagaEvent) -> Append:
    history = [STARTED, COMPLETED][: version + len(events or (STARTED,))]
    state = fold(saga_id, history)
    assert state is not None
    return Append(saga_id, version, events or (STARTED,), state)


OpenStore = Callable[[], SqlStore]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'log.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    """A second way into the database, for looking and for sabotage."""
    engine = make_engine(url)
    upgrade(engine)
    Tally.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def view() -> Tally:
    return Tally()


@pytest.fixture
async def store(url: str, engine: sa.Engine, view: Tally) -> AsyncIterator[SqlStore]:
    store = connect(url, views=[view])
    yield store
    view.go.set()
    await store.close()


def contents(engine: sa.Engine) -> tuple[int, int, int]:
    """Events in the log, events the view has counted, and the view's checkpoints added up."""
    with engine.connect() as connection:
        return (
            connection.scalar(sa.text("SELECT count(*) FROM es_events")) or 0,
            connection.scalar(sa.text("SELECT coalesce(sum(n), 0) FROM tally")) or 0,
            connection.scalar(
                sa.text("SELECT coalesce(sum(position), 0) FROM es_tracking WHERE name = 'tally'")
            )
            or 0,
        )


# ── views ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R074")
async def test_a_view_its_checkpoint_and_the_log_commit_together(
    store: SqlStore, view: Tally, engine: sa.Engine
) -> None:
    assert await store.append(1, [item("a"), item("b")]) == [1, 2]
    assert await store.append(2, [item("c", 0, STARTED, COMPLETED)]) == [2]
    assert contents(engine) == (4, 4, 4)
    assert await store.checkpoint("tally", 1) == 2
    assert [each.position for call in view.calls for each in call] == [1, 2, 1, 2]
    assert view.calls[1][1].event == COMPLETED
    with engine.connect() as connection:
        stored = connection.scalars(sa.text("SELECT state FROM es_events WHERE part = 2")).all()
    assert [bytes(each) for each in stored] == [each.payload for each in view.calls[1]]


async def test_a_view_is_told_the_last_state_of_each_saga_once(
    store: SqlStore, view: Tally
) -> None:
    view.go.clear()
    held = store.append(0, [item("x")])
    await asyncio.to_thread(view.entered.wait)
    first = store.append(1, [item("a")])
    second = store.append(1, [item("a", 1, COMPLETED)])
    view.go.set()
    await asyncio.gather(held, first, second)
    assert [len(call) for call in view.calls] == [1, 2]
    assert view.states["a"].version == 2


async def test_a_view_sees_nothing_of_what_is_refused(store: SqlStore, view: Tally) -> None:
    await store.append(1, [item("a")])
    assert await store.append(1, [item("a"), item("b")]) == [None, 2]
    assert await store.append(1, [item("a")]) == [None]
    assert [each.saga_id for call in view.calls for each in call] == ["a", "b"]


async def test_a_view_that_fails_takes_its_events_with_it_and_no_others(
    store: SqlStore, view: Tally, engine: sa.Engine
) -> None:
    def fail(_connection: sa.Connection, events: Sequence[Recorded]) -> None:
        if any(each.saga_id == "poison" for each in events):
            raise ZeroDivisionError("the view's own mistake")

    view.fail = fail
    view.go.clear()
    held = store.append(0, [item("x")])
    await asyncio.to_thread(view.entered.wait)
    good = [store.append(1, [item(f"s{n}")]) for n in range(5)]
    bad = store.append(1, [item("poison")])
    more = [store.append(1, [item(f"t{n}")]) for n in range(5)]
    view.go.set()
    with pytest.raises(ZeroDivisionError):
        await bad
    await asyncio.gather(held, *good, *more)
    assert contents(engine) == (11, 11, 11)
    assert await store.load(["poison"]) == {}


async def test_open_sagas_are_told_with_their_next_due_time(url: str, engine: sa.Engine) -> None:
    store = connect(url, views=[StatusView()])
    due = STARTED.model_copy(update={"deadline": 50.0})
    waiting = fold("waiting", [due])
    assert waiting is not None
    for each in (
        Append("waiting", 0, [due], waiting),
        item("open"),
        item("closed", 0, STARTED, COMPLETED),
    ):
        await store.append(part_of(each.saga_id), [each])
    found = {part: await store.open_sagas(part) for part in range(PARTS)}
    assert {part: sagas for part, sagas in found.items() if sagas} == {
        part_of("waiting"): [("waiting", 50.0)],
        part_of("open"): [("open", None)],
    }
    await store.close()


# ── group commit ─────────────────────────────────────────────────────────────────────────────────


async def test_what_waits_is_committed_together_over_all_parts(
    store: SqlStore, view: Tally
) -> None:
    view.go.clear()
    held = store.append(0, [item("x")])
    await asyncio.to_thread(view.entered.wait)
    waiting = [store.append(n % 16, [item(f"s{n}")]) for n in range(200)]
    advanced = asyncio.create_task(store.advance("relay", {3: 1}))
    await asyncio.sleep(0)
    view.go.set()
    await asyncio.gather(held, advanced, *waiting)
    assert [len(call) for call in view.calls] == [1, 200]
    assert {each.part for each in view.calls[1]} == set(range(16))
    assert await store.checkpoint("relay", 3) == 1


async def test_a_transaction_has_a_limit(store: SqlStore, view: Tally) -> None:
    view.go.clear()
    held = store.append(0, [item("x")])
    await asyncio.to_thread(view.entered.wait)
    waiting = [store.append(1, [item(f"s{n}")]) for n in range(MAX_EVENTS + 1)]
    view.go.set()
    await asyncio.gather(held, *waiting)
    assert [len(call) for call in view.calls] == [1, MAX_EVENTS, 1]


async def test_more_than_may_wait_is_refused_until_there_is_room(
    store: SqlStore, view: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MAX_WAITING_EVENTS", 10)
    view.go.clear()
    held = store.append(0, [item("x")])
    await asyncio.to_thread(view.entered.wait)
    accepted = [store.append(0, [item(f"s{n}")]) for n in range(10)]
    with pytest.raises(Unavailable, match="keep up"):
        await store.append(0, [item("one-too-many")])
    view.go.set()
    await asyncio.gather(held, *accepted)
    assert await store.head(0) == 11
    assert await store.append(0, [item("now")]) == [12]


async def test_a_batch_has_a_limit(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_BATCH_EVENTS", 2)
    with pytest.raises(InvalidInput, match="one batch"):
        await store.append(0, [item("a"), item("b"), item("c")])


async def test_a_forgotten_version_is_looked_up(
    url: str, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_end, "Versions", partial(Versions, limit=1))
    store = connect(url)
    ids = [f"s{n}" for n in range(50)]
    for each in ids:
        await store.append(0, [item(each)])
    results = await store.append(0, [item(each, 1, COMPLETED) for each in ids])
    assert results == list(range(51, 101))
    assert await store.append(0, [item(ids[0], 1, COMPLETED)]) == [None]
    await store.close()


# ── outages ──────────────────────────────────────────────────────────────────────────────────────


async def eventually(question: Callable[[], Awaitable[object]]) -> object:
    """The answer, once the outage is over."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await question()
            except Unavailable:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
async def test_a_killed_backend_is_an_outage_and_then_over(
    store: SqlStore, view: Tally, engine: sa.Engine
) -> None:
    await store.append(1, [item("a")])
    await asyncio.gather(store.head(1), store.head(1))

    def kill_others(*_: object) -> None:
        with engine.connect() as connection:
            connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )

    view.fail = kill_others  # in the middle of the transaction
    with pytest.raises(Unavailable):
        await store.append(1, [item("b")])
    view.fail = None
    assert contents(engine) == (1, 1, 1)
    assert await store.load(["b"]) == {}
    assert await store.append(1, [item("b")]) == [2]
    await asyncio.gather(store.head(1), store.head(1))
    kill_others()
    assert await store.head(1) == 2, "a read is asked again on a new connection"
    with pytest.raises(Unavailable):
        await store.append(1, [item("c")])
    kill_others()
    assert await eventually(lambda: store.claim(1)) == 2
    assert await store.append(1, [item("c")]) == [3]
    assert contents(engine) == (3, 3, 3)


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
async def test_one_who_never_gets_through_is_told_so(
    store: SqlStore, view: Tally, engine: sa.Engine
) -> None:
    attempts = 0

    def lose(connection: sa.Connection, _events: Sequence[Recorded]) -> None:
        nonlocal attempts
        attempts += 1
        connection.execute(sa.text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))

    view.fail = lose
    with pytest.raises(Unavailable, match="Another process"):
        await store.append(1, [item("a")])
    assert attempts == writer_module.MAX_ATTEMPTS
    view.fail = None
    assert await store.append(1, [item("a")]) == [1]
    assert contents(engine) == (1, 1, 1)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_locked_database_is_an_outage_and_then_over(
    url: str, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_SECONDS", 0.05)
    store = connect(url)
    with engine.begin():
        with pytest.raises(Unavailable, match="locked"):
            await store.append(0, [item("a")])
        with pytest.raises(Unavailable, match="locked"):
            await store.claim(0)
        assert await store.load(["a"]) == {}, "readers are not locked out"
    assert await store.append(0, [item("a")]) == [1]
    await store.close()


async def test_what_follows_on_something_lost_is_refused(
    store: SqlStore, view: Tally, engine: sa.Engine
) -> None:
    def fail(_connection: sa.Connection, events: Sequence[Recorded]) -> None:
        if events[0].version == 1:
            raise ZeroDivisionError

    await store.append(1, [item("x")])
    view.fail = fail
    lost = store.append(1, [item("a")])
    after = store.append(1, [item("a", 1, COMPLETED)])
    with pytest.raises(ZeroDivisionError):
        await lost
    assert await after == [None]
    assert contents(engine) == (1, 1, 1)


def test_an_unreachable_server_is_said_to_be_so() -> None:
    with pytest.raises(Unavailable, match="out of reach"):
        connect("postgresql://nobody@127.0.0.1:1/nothing")


# ── crashes ──────────────────────────────────────────────────────────────────────────────────────

WRITER = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from test_store import Tally, item, COMPLETED
from es_saga.adapters.store import connect

async def main():
    store = connect(sys.argv[1], views=[Tally()])
    print("ready", flush=True)
    run = 0
    while True:
        run += 1
        ids = [f"{sys.argv[3]}-{run}-{n}" for n in range(40)]
        await asyncio.gather(*(store.append(n % 16, [item(i)]) for n, i in enumerate(ids)))
        await asyncio.gather(
            *(store.append(n % 16, [item(i, 1, COMPLETED)]) for n, i in enumerate(ids))
        )
        print(run, flush=True)

asyncio.run(main())
"""


def test_a_crash_leaves_log_view_and_checkpoint_in_step(url: str, engine: sa.Engine) -> None:
    chance = random.Random(20)
    for crash in range(3):
        arguments = [sys.executable, "-c", WRITER, url, str(Path(__file__).parent), str(crash)]
        writer = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        acknowledged = 0
        assert writer.stdout is not None
        with writer.stdout:
            assert writer.stdout.readline() == "ready\n"
            for _ in range(chance.randrange(1, 5)):
                acknowledged = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait()
        events, counted, checked = contents(engine)
        assert events == counted == checked
        with engine.connect() as connection:
            of_this_run = connection.scalar(
                sa.text("SELECT count(*) FROM es_events WHERE originator_id LIKE :mine"),
                {"mine": f"{crash}-%"},
            )
        assert of_this_run is not None
        assert of_this_run >= acknowledged * 80, "what was acknowledged is there"


# ── corruption ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sabotage", "message"),
    [
        ("DELETE FROM es_events WHERE originator_version = 1", "event 1 is missing, 2 comes next"),
        ("UPDATE es_events SET topic = 'Nonsense' WHERE originator_version = 2", "Nonsense"),
        ("UPDATE es_events SET state = :state WHERE originator_version = 2", "event 2.*at"),
    ],
)
async def test_a_corrupt_history_is_named_with_its_first_bad_event(
    store: SqlStore, engine: sa.Engine, sabotage: str, message: str
) -> None:
    await store.append(0, [item("broken", 0, STARTED, COMPLETED), item("sound")])
    statement = sa.text(sabotage + " AND originator_id = 'broken'")
    with engine.begin() as connection:
        if ":state" in sabotage:
            statement = statement.bindparams(state=b'{"at": "noon"}')
        connection.execute(statement)
    with pytest.raises(CorruptHistory, match=f"'broken'.*{message}"):
        await store.load(["sound", "broken"])
    assert await store.load(["sound"]) == {"sound": [STARTED]}
    if "DELETE" not in sabotage:
        with pytest.raises(CorruptHistory, match="'broken', event 2"):
            await store.read(0, after=0, limit=10)


# ── edges ────────────────────────────────────────────────────────────────────────────────────────


def test_sqlite_in_memory_is_refused() -> None:
    with pytest.raises(InvalidInput, match="memory"):
        connect("sqlite://", migrate=True)


async def test_a_page_has_a_limit(store: SqlStore) -> None:
    for limit in (0, store_module.MAX_PAGE + 1):
        with pytest.raises(InvalidInput):
            await store.read(0, after=0, limit=limit)


def test_the_store_alone_imports_neither_drivers_nor_libraries_it_does_not_need() -> None:
    script = (
        "import sys, es_saga.adapters.store\n"
        "print([m for m in ('psycopg', 'eventsourcing', 'alembic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_a_view_is_what_the_protocol_says() -> None:
    views: list[View] = [Tally(), StatusView()]
    assert [view.name for view in views] == ["tally", "status"]
