"""A view can be built anew while it is in use, and compared with what the log says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from es_saga import (
    Add,
    Change,
    ConflictError,
    IllegalOperation,
    InvalidInput,
    Put,
    Recorded,
    SagaState,
    View,
    projection,
)
from es_saga.adapters.catch_up import CatchUp
from es_saga.adapters.migrate import upgrade
from es_saga.adapters.rebuild import NEW, Verdict, rebuild, verify
from es_saga.adapters.tables import EVENTS, TRACKING
from es_saga.database import make_engine
from es_saga.engine.following import Undigested
from es_saga.engine.ports import Append
from es_saga.projections.audit import AuditView
from es_saga.projections.progress import Progresses
from es_saga.projections.status import StatusView
from es_saga.projections.view import Batch
from tests.projections.logs import NAMES, Told, appends, events_of, rows, write

metadata = sa.MetaData()
steps = sa.Table(
    "steps",
    metadata,
    sa.Column("saga_id", sa.Text, primary_key=True),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False, index=True),
    sa.Column("Kind", sa.Text, nullable=False),
    sa.CheckConstraint("version > 0", name="ck_steps_version"),
    comment="The last event of each step.",
)
sa.Index("ix_steps_kind", steps.c.Kind, steps.c.saga_id)
sa.Index(
    "ix_steps_odd",
    steps.c.version,
    sqlite_where=steps.c.version > 3,
    postgresql_where=steps.c.version > 3,
)
totals = sa.Table(
    "Totals",
    metadata,
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("events", sa.Integer, nullable=False, server_default="0"),
    sa.Column("nickname", sa.Text, unique=True),
    sa.PrimaryKeyConstraint("kind", name="pk_totals_of_kinds"),
    sa.UniqueConstraint("kind", "events", name="uq_totals"),
)
poison: set[str] = set()


@projection(steps, totals)
def followed(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
    if recorded.saga_id in poison:
        raise ValueError("it tastes of soap")
    kind = type(recorded.event).__name__
    step: object = getattr(recorded.event, "step", None)
    if step is not None:
        yield Put(steps, saga_id=saga.saga_id, step=step, version=saga.version, Kind=kind)
    yield Add(totals, kind=kind, events=1)


LIBRARY: list[View] = [StatusView(), AuditView()]
ALL: list[View] = [*LIBRARY, followed]
SWAP_SECONDS = 0.5
"""How long somebody is seen to wait for a swap."""

Hearing = Callable[[int, int], None] | None
KEYS = {
    "es_status": ["saga_id"],
    "es_audit": ["saga_id", "version"],
    "steps": ["saga_id", "step"],
    '"Totals"': ["kind"],
}


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
    followed.metadata.create_all(found)
    yield found
    found.dispose()


def tell(url: str, number: int = 0, sagas: int = len(NAMES)) -> int:
    """Sagas in the log and in all views; their events."""
    names = [NAMES[at % len(NAMES)] for at in range(sagas)]
    write(url, ALL, list(appends(Told(names, [(at, 100) for at in range(sagas)], number))))
    return sum(len(events_of(name)) for name in names)


def contents(engine: sa.Engine) -> dict[str, list[tuple[object, ...]]]:
    return {table: rows(engine, table, key) for table, key in KEYS.items()}


def schema(engine: sa.Engine) -> dict[str, Any]:
    """Everything that the database tells of its tables but their contents."""
    inspector = sa.inspect(engine)
    found: dict[str, Any] = {}
    for table in sorted(inspector.get_table_names()):
        found[table] = (
            [
                # Only the code has comments on the library's tables.
                {**column, "type": str(column["type"]), "comment": None}
                for column in inspector.get_columns(table)
            ],
            inspector.get_pk_constraint(table),
            sorted(inspector.get_unique_constraints(table), key=str),
            sorted(inspector.get_check_constraints(table), key=str),
            sorted(
                str((index["name"], index["column_names"]))
                for index in inspector.get_indexes(table)
            ),
        )
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            made = connection.exec_driver_sql(
                "SELECT type, name, sql FROM sqlite_master ORDER BY 2"
            )
            found["sql"] = [
                (name, "WITHOUT ROWID" in sql if kind == "table" else " ".join(sql.split()))
                for kind, name, sql in made
                if sql is not None
            ]
        else:
            named = "SELECT conname, contype::text FROM pg_constraint ORDER BY conname"
            found["constraints"] = [tuple(row) for row in connection.exec_driver_sql(named)]
            indexes = "SELECT indexname, indexdef FROM pg_indexes ORDER BY indexname"
            found["indexes"] = [tuple(row) for row in connection.exec_driver_sql(indexes)]
            triggers = "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger ORDER BY tgname"
            found["triggers"] = [tuple(row) for row in connection.exec_driver_sql(triggers)]
    return found


def anew(engine: sa.Engine) -> None:
    for view in LIBRARY:
        rebuild(engine, view, inline=True)
    rebuild(engine, followed, inline=False)


@pytest.mark.requirement("R055")
@pytest.mark.law("L54")
def test_a_rebuilt_view_is_the_same_and_so_is_its_table(url: str, engine: sa.Engine) -> None:
    events = tell(url)
    before, made = contents(engine), schema(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM es_status WHERE version > 5")
        connection.exec_driver_sql('DELETE FROM "Totals"')
    heard: list[tuple[int, int]] = []
    done = rebuild(engine, StatusView(), inline=True, told=lambda n, of: heard.append((n, of)))
    assert (done.view, done.events) == ("status", events)
    assert heard[-1] == (events, events)
    anew(engine)
    assert contents(engine) == before
    assert schema(engine) == made
    for progress in Progresses(engine).of([view.name for view in ALL]):
        assert (progress.position, progress.behind) == (events, 0)
    tell(url, number=1, sagas=3)
    assert all(not verify(engine, view).drifted for view in ALL)


def test_a_view_that_is_new_is_filled(url: str, engine: sa.Engine) -> None:
    tell(url)
    before = contents(engine)
    with engine.begin() as connection:
        followed.metadata.drop_all(connection)
        connection.execute(sa.delete(TRACKING).where(TRACKING.c.name == followed.name))
    rebuild(engine, followed, inline=False)
    assert contents(engine) == before


def test_a_changed_table_has_its_new_columns_after_a_rebuild(url: str, engine: sa.Engine) -> None:
    tell(url, sagas=3)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE steps ADD COLUMN old text")
        connection.exec_driver_sql("ALTER TABLE es_status DROP COLUMN progressed")
    verdict = verify(engine, StatusView())
    assert verdict.drifts[0].columns == {"progressed": ("absent", "present")}
    assert verify(engine, followed).drifts[0].columns == {"old": ("present", "absent")}
    anew(engine)
    assert [verify(engine, view).drifted for view in ALL] == [0, 0, 0]


def _cut(told: Told) -> Iterator[Append]:
    """As far as there are events."""
    left = [len(events_of(name)) for name in told.sagas]
    steps: list[tuple[int, int]] = []
    for saga, size in told.steps:
        if left[saga]:
            left[saga] -= 1
            steps.append((saga, size))
    return appends(told._replace(steps=steps))


class Writing:
    """Sagas that go on being written while something else happens."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._enough = threading.Event()
        self.rounds = 0

    def run(self) -> None:
        while not self._enough.is_set():
            self.rounds += 1
            # Event by event, over one connection: its statements are older than a rebuild.
            steps = [(saga, 1) for _ in range(20) for saga in range(5)]
            told = Told(NAMES[:5], steps, 1_000 + self.rounds)
            write(self._url, ALL, *([item] for item in _cut(told)))

    @classmethod
    @contextmanager
    def meanwhile(cls, url: str) -> Generator[Writing]:
        writing = cls(url)
        with ThreadPoolExecutor(1) as thread:
            done = thread.submit(writing.run)
            try:
                yield writing
            finally:
                writing._enough.set()
                done.result(60)


def test_nothing_that_is_written_meanwhile_is_lost(url: str, engine: sa.Engine) -> None:
    tell(url, sagas=20)
    with Writing.meanwhile(url) as writing:
        while writing.rounds < 2:
            threading.Event().wait(0.01)
        for _ in range(3):
            anew(engine)
            assert [verify(engine, view).drifted for view in ALL] == [0, 0, 0]
    assert writing.rounds > 3
    assert [verify(engine, view).drifted for view in ALL] == [0, 0, 0]
    assert all(progress.behind == 0 for progress in Progresses(engine).of([v.name for v in ALL]))


def _swapping(url: str, views: Sequence[View], act: Callable[[], object]) -> tuple[Hearing, Any]:
    """Events are written while a view is rebuilt, so that some are left for the swap itself; in the
    midst of which somebody else begins to act. What comes of that is told, once it has ended."""
    threads = ThreadPoolExecutor(1)
    ends: list[Future[object]] = []
    stories = iter(range(5_000, 5_002))

    def hear(done: int, of: int) -> None:
        if done < of:
            return
        number = next(stories, None)
        if number is not None:
            write(url, views, list(appends(Told(["order/refused"], [(0, 100)], number))))
        elif not ends:
            ends.append(threads.submit(act))
            wait(ends, timeout=SWAP_SECONDS)
            assert not ends[0].done() or ends[0].result() == 0, "it had to wait"

    def ended() -> object:
        assert ends, "somebody acted during the swap"
        with threads:
            return ends[0].result(60)

    return hear, ended


def test_nobody_writes_to_the_log_while_a_view_in_step_with_it_is_swapped(
    url: str, engine: sa.Engine
) -> None:
    tell(url, sagas=5)
    hear, ended = _swapping(url, ALL, lambda: tell(url, number=6_000, sagas=3))
    rebuild(engine, StatusView(), inline=True, told=hear)
    ended()
    assert [verify(engine, view).drifted for view in ALL] == [0, 0, 0]
    assert all(progress.behind == 0 for progress in Progresses(engine).of([v.name for v in ALL]))


def test_nobody_moves_a_view_on_while_it_is_swapped(url: str, engine: sa.Engine) -> None:
    tell(url, sagas=5)
    other = make_engine(url)

    def follow() -> int:
        catching = CatchUp(other)
        try:
            return asyncio.run(catching.advance(followed)).taken
        finally:
            catching.close()

    hear, ended = _swapping(url, LIBRARY, follow)
    rebuild(engine, followed, inline=False, told=hear)
    ended()
    other.dispose()
    assert verify(engine, followed).drifted == 0
    [progress] = Progresses(engine).of([followed.name])
    assert progress.behind == 0


def test_who_reads_meanwhile_sees_the_whole_view(url: str, engine: sa.Engine) -> None:
    events = tell(url)
    enough = threading.Event()

    def read() -> set[int]:
        counts: set[int] = set()
        reading = make_engine(url)
        while not enough.is_set():
            with reading.connect() as connection:
                found = connection.exec_driver_sql("SELECT count(*) FROM es_audit").scalar()
            assert isinstance(found, int)
            counts.add(found)
        reading.dispose()
        return counts

    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read)
        try:
            for _ in range(3):
                rebuild(engine, AuditView(), inline=True)
        finally:
            enough.set()
        assert reading.result(30) == {events}


def leftovers(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        names = connection.execute(sa.select(TRACKING.c.name).distinct()).scalars()
        tables = sa.inspect(connection).get_table_names()
        return [name for name in (*names, *tables) if "__" in name]


def _rebuild(engine: sa.Engine, told: Hearing) -> object:
    return rebuild(engine, followed, inline=False, told=told)


def _verify(engine: sa.Engine, told: Hearing) -> object:
    return verify(engine, followed, told=told)


@pytest.mark.parametrize("work", [_rebuild, _verify])
def test_an_interrupted_one_leaves_nothing_behind(
    url: str,
    engine: sa.Engine,
    work: Callable[[sa.Engine, Callable[[int, int], None] | None], object],
) -> None:
    tell(url)
    before, made = contents(engine), schema(engine)

    def stop(_done: int, _of: int) -> None:
        assert leftovers(engine)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(engine, stop)
    assert leftovers(engine) == []
    assert (contents(engine), schema(engine)) == (before, made)
    work(engine, None)
    assert leftovers(engine) == []
    assert (contents(engine), schema(engine)) == (before, made)


def test_what_a_killed_one_left_is_in_nobodys_way(url: str, engine: sa.Engine) -> None:
    tell(url, sagas=5)
    before, made = contents(engine), schema(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE steps{NEW} (saga_id int)")
        connection.execute(
            sa.insert(TRACKING), {"name": f"{followed.name}{NEW}", "part": 0, "position": 10**9}
        )
    rebuild(engine, followed, inline=False)
    assert leftovers(engine) == []
    assert (contents(engine), schema(engine)) == (before, made)


def test_of_two_at_once_the_later_one_wins(url: str, engine: sa.Engine) -> None:
    for number in range(3):
        tell(url, number=number)
    before = contents(engine)
    other = make_engine(url)
    begun: list[int] = []

    def interfere(_done: int, _of: int) -> None:
        if not begun:
            begun.append(1)
            rebuild(other, followed, inline=False)

    with pytest.raises(ConflictError, match="Somebody else"):
        rebuild(engine, followed, inline=False, told=interfere)
    other.dispose()
    assert contents(engine) == before
    assert leftovers(engine) == []


def test_what_cannot_be_taken_in_is_told_and_the_old_view_stays(
    url: str, engine: sa.Engine
) -> None:
    tell(url)
    before = contents(engine)
    poison.add("saga-0-1")
    for work in (lambda: rebuild(engine, followed, inline=False), lambda: verify(engine, followed)):
        with pytest.raises(Undigested) as raised:
            work()
        assert isinstance(raised.value.__cause__, ValueError)
        with engine.connect() as connection:
            first = connection.scalar(
                sa.select(sa.func.min(EVENTS.c.position)).where(
                    EVENTS.c.originator_id == "saga-0-1"
                )
            )
        assert (raised.value.events, raised.value.position) == (1, first)
        assert leftovers(engine) == []
    assert contents(engine) == before


def drifts(verdict: Verdict) -> list[tuple[str, dict[str, Any], str]]:
    return [(drift.table, dict(drift.key), drift.kind) for drift in verdict.drifts]


def test_verify_names_the_first_rows_that_differ(url: str, engine: sa.Engine) -> None:
    tell(url, sagas=6)
    assert verify(engine, followed).rows == len(rows(engine, "steps", ["step"])) + len(
        rows(engine, '"Totals"', ["kind"])
    )
    with engine.begin() as connection:
        connection.execute(
            sa.update(totals).where(totals.c.kind == "SagaStarted").values(events=7, nickname="x")
        )
        connection.execute(sa.delete(totals).where(totals.c.kind == "StepStarted"))
        connection.execute(sa.insert(totals), {"kind": "Zebra", "events": 1})
        connection.execute(sa.insert(totals), {"kind": "aardvark", "events": 1})
    verdict = verify(engine, followed)
    assert verdict.drifted == 4
    assert drifts(verdict) == [
        ("Totals", {"kind": "SagaStarted"}, "differs"),
        ("Totals", {"kind": "StepStarted"}, "missing"),
        ("Totals", {"kind": "Zebra"}, "too many"),
        ("Totals", {"kind": "aardvark"}, "too many"),
    ]
    assert verdict.drifts[0].columns == {"events": (7, 6), "nickname": ("x", None)}
    with engine.begin() as connection:
        connection.execute(sa.update(steps).values(Kind="Nonsense"))
    verdict = verify(engine, followed)
    assert verdict.drifted > 10
    assert len(verdict.drifts) == 10
    assert leftovers(engine) == []


def test_verify_looks_no_further_than_the_view_has_come(url: str, engine: sa.Engine) -> None:
    first = tell(url, sagas=9)
    names = list(NAMES[:9])
    write(url, LIBRARY, list(appends(Told(names, [(at, 100) for at in range(9)], 7))))
    verdict = verify(engine, followed)
    assert (verdict.events, verdict.drifted) == (first, 0)


class ByHand:
    """A view without `beside`."""

    name = "by_hand"
    metadata = sa.MetaData()

    def apply(self, connection: sa.Connection, batch: Batch) -> None: ...


def test_a_view_that_cannot_be_built_beside_itself_says_so(engine: sa.Engine) -> None:
    with pytest.raises(InvalidInput, match="cannot be built beside itself"):
        rebuild(engine, ByHand(), inline=False)


def test_a_view_in_sql_over_the_table_lives_on_or_is_told_of(url: str, engine: sa.Engine) -> None:
    events = tell(url, sagas=4)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE VIEW trail AS SELECT count(*) AS n FROM es_audit")
    if engine.dialect.name == "postgresql":
        before = contents(engine)
        with pytest.raises(IllegalOperation, match="view trail depends on table es_audit"):
            rebuild(engine, AuditView(), inline=True)
        assert leftovers(engine) == []
        assert contents(engine) == before
        return
    rebuild(engine, AuditView(), inline=True)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT n FROM trail").scalar() == events


def test_who_may_read_a_table_may_read_it_after_a_rebuild(
    postgres_url: str, request: pytest.FixtureRequest
) -> None:
    engine = make_engine(postgres_url)
    upgrade(engine)
    role = f"grafana_{sa.make_url(postgres_url).database}"
    with engine.begin() as connection:
        connection.exec_driver_sql(f'CREATE ROLE "{role}"')
        connection.exec_driver_sql(f'GRANT SELECT ON es_status TO "{role}" WITH GRANT OPTION')
        connection.exec_driver_sql("GRANT SELECT ON es_status TO PUBLIC")
        query = "SELECT array_agg(a::text ORDER BY a::text) FROM pg_class, unnest(relacl) AS a"
        before = connection.exec_driver_sql(f"{query} WHERE relname = 'es_status'").scalar()
    rebuild(engine, StatusView(), inline=True)
    with engine.begin() as connection:
        after = connection.exec_driver_sql(f"{query} WHERE relname = 'es_status'").scalar()
        assert role in str(after)
        assert after == before
        connection.exec_driver_sql(f'DROP OWNED BY "{role}"')
        connection.exec_driver_sql(f'DROP ROLE "{role}"')
    engine.dispose()
