"""The audit trail is a chain: whatever is changed afterwards, the first bad event is named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from es_saga import CorruptHistory
from es_saga.adapters import migrate
from es_saga.adapters.catch_up import CatchUp
from es_saga.adapters.clock import SystemClock
from es_saga.adapters.rebuild import rebuild
from es_saga.adapters.store import connect
from es_saga.core.messages import part_of
from es_saga.database import make_engine
from es_saga.engine.ports import Append
from es_saga.engine.projector import Projector
from es_saga.projections import trail, verification
from es_saga.projections.audit import AuditView
from es_saga.projections.chain import GENESIS, Damage, Kept, Stored, Wrong, first_damage, link
from es_saga.projections.queries import Queries
from es_saga.projections.status import StatusView
from es_saga.projections.verification import verify
from es_saga.projections.view import View
from tests.projections.logs import Told, appends, tellings, write
from tests.projections.tampering import unprotect

SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def views() -> list[View]:
    return [StatusView(), AuditView()]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'log.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    found = make_engine(url)
    migrate.upgrade(found)
    yield found
    found.dispose()


# ── the pure part ────────────────────────────────────────────────────────────────────────────────

SAGA = "saga-1"


class Case(NamedTuple):
    """A saga's events and their trail."""

    events: list[Stored]
    trail: list[Kept]


def a_case(length: int) -> Case:
    """So many events that differ, and a trail that is right."""
    events: list[Stored] = []
    kept: list[Kept] = []
    previous = GENESIS
    for version in range(1, length + 1):
        payload = json.dumps({"at": float(version), "step": f"s{version}", "attempt": 1}).encode()
        event = Stored(version, 3, 10 * version, "StepSucceeded", payload)
        previous = link(previous, SAGA, version, event.topic, payload)
        events.append(event)
        row = (version, 3, 10 * version, event.topic, f"s{version}", float(version))
        kept.append(Kept(*row, None, None, None, previous))
    return Case(events, kept)


def edited(case: Case, at: int) -> None:
    case.events[at] = case.events[at]._replace(payload=case.events[at].payload + b" ")


def renamed(case: Case, at: int) -> None:
    case.events[at] = case.events[at]._replace(topic="StepFailed")


def removed(case: Case, at: int) -> None:
    del case.events[at]


def removed_and_closed_up(case: Case, at: int) -> None:
    del case.events[at]
    _number(case.events)


def doubled(case: Case, at: int) -> None:
    case.events.insert(at, case.events[at])
    _number(case.events)


def swapped(case: Case, at: int) -> None:
    other = at + 1 if at + 1 < len(case.events) else at - 1
    case.events[at], case.events[other] = case.events[other], case.events[at]
    _number(case.events)


def _number(events: list[Stored]) -> None:
    events[:] = [event._replace(version=number) for number, event in enumerate(events, 1)]


def moved(case: Case, at: int) -> None:
    case.events[at] = case.events[at]._replace(position=1)


def row_removed(case: Case, at: int) -> None:
    del case.trail[at]


def hash_changed(case: Case, at: int) -> None:
    case.trail[at] = case.trail[at]._replace(hash="0" * 64)


def time_changed(case: Case, at: int) -> None:
    case.trail[at] = case.trail[at]._replace(at=0.5)


def actor_added(case: Case, at: int) -> None:
    case.trail[at] = case.trail[at]._replace(actor="nobody")


TAMPERING: list[Callable[[Case, int], None]] = [
    edited,
    renamed,
    removed,
    removed_and_closed_up,
    doubled,
    swapped,
    moved,
    row_removed,
    hash_changed,
    time_changed,
    actor_added,
]


@given(st.integers(1, 12))
def test_a_trail_that_is_right_has_no_damage(length: int) -> None:
    case = a_case(length)
    assert first_damage(SAGA, case.events, case.trail) is None
    for after in range(length):
        stretch = Case(case.events[after:], case.trail[after:])
        previous = case.trail[after - 1].hash if after else GENESIS
        assert first_damage(SAGA, *stretch, after=after, previous=previous) is None


@pytest.mark.law("L52")
@given(st.sampled_from(TAMPERING), st.integers(2, 12), st.data())
def test_any_single_change_is_found_at_the_event_where_it_was_made(
    tamper: Callable[[Case, int], None], length: int, data: st.DataObject
) -> None:
    case = a_case(length)
    at = data.draw(st.integers(0, length - 1))
    tamper(case, at)
    damage = first_damage(SAGA, case.events, case.trail)
    assert damage is not None
    first = min(at, at - 1) if tamper is swapped and at == length - 1 else at
    # A copy beside its original changes nothing before the one that stands where another did.
    first = at + 1 if tamper is doubled else first
    assert damage.version == first + 1


@pytest.mark.parametrize(
    ("tamper", "wrong"),
    [
        (edited, Wrong.EDITED),
        (renamed, Wrong.EDITED),
        (removed, Wrong.MISSING),
        (removed_and_closed_up, Wrong.MISSING),
        (doubled, Wrong.INSERTED),
        (swapped, Wrong.REORDERED),
        (moved, Wrong.TRAIL_CHANGED),
        (row_removed, Wrong.TRAIL_CHANGED),
        (hash_changed, Wrong.TRAIL_CHANGED),
        (time_changed, Wrong.TRAIL_CHANGED),
        (actor_added, Wrong.TRAIL_CHANGED),
    ],
)
def test_what_was_done_is_told_apart(tamper: Callable[[Case, int], None], wrong: Wrong) -> None:
    case = a_case(6)
    tamper(case, 2)
    damage = first_damage(SAGA, case.events, case.trail)
    assert damage is not None
    assert damage.wrong is wrong


def test_an_event_at_the_end_that_the_trail_does_not_know_was_inserted() -> None:
    case = a_case(4)
    damage = first_damage(SAGA, case.events, case.trail[:-1])
    assert damage == Damage(SAGA, 4, Wrong.INSERTED, "the trail does not know it")


# ── in a database ────────────────────────────────────────────────────────────────────────────────


def test_whatever_was_written_makes_a_chain_that_holds(url: str, engine: sa.Engine) -> None:
    """However the events come together, and whoever writes the next of them."""

    @settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
    @given(tellings(), st.integers(1, 4))
    def holds(told: Told, together: int) -> None:
        items = list(appends(told))
        batches = [items[first : first + together] for first in range(0, len(items), together)]
        half = len(batches) // 2
        # Two writers, one after the other: the second one remembers nothing.
        for some in (batches[:half], batches[half:]):
            write(url, views(), *_one_each(some))
        for number in range(len(told.sagas)):
            check(engine, told.id_of(number))

    holds()
    found = verify(engine)
    assert (found.damages, found.whole) == ((), True)
    assert found.events == verification.events_of(engine) > 100


def _one_each(batches: Sequence[Sequence[Append]]) -> Iterator[Sequence[Append]]:
    """A saga at most once in a batch, as a part appends it."""
    for batch in batches:
        left = list(batch)
        while left:
            seen: set[str] = set()
            now: list[Append] = []
            for item in left:
                if item.saga_id not in seen:
                    seen.add(item.saga_id)
                    now.append(item)
            yield now
            left = [item for item in left if item not in now]


def check(engine: sa.Engine, saga_id: str) -> None:
    """Fold the hashes from nothing but the log."""
    events = sa.text(
        "SELECT originator_version, topic, state FROM es_events WHERE originator_id = :saga"
        " ORDER BY originator_version"
    )
    rows = sa.text("SELECT hash, trace FROM es_audit WHERE saga_id = :saga ORDER BY version")
    with engine.connect() as connection:
        hashes: list[str] = []
        for version, topic, state in connection.execute(events, {"saga": saga_id}):
            before = hashes[-1] if hashes else GENESIS
            hashes.append(link(before, saga_id, version, topic, bytes(state)))
        kept = connection.execute(rows, {"saga": saga_id}).all()
    assert [row.hash for row in kept] == hashes
    assert len({row.trace for row in kept}) <= 1


def test_two_writers_that_take_turns_make_one_chain(url: str, engine: sa.Engine) -> None:
    """Each of them has seen the saga before the other one went on with it."""
    told = Told(["order/timed_out"], [(0, 2)] * 6, 1_000_001)
    items = list(appends(told))
    part = part_of(items[0].saga_id)

    async def work() -> None:
        stores = [connect(url, views=views()) for _ in range(2)]
        for number, item in enumerate(items):
            # Told where the part ends, a writer meets with no collision that makes it forget.
            await stores[number % 2].claim(part)
            [position] = await stores[number % 2].append(part, [item])
            assert position is not None
        for store in stores:
            await store.close()

    asyncio.run(work())
    check(engine, items[0].saga_id)
    assert verify(engine).damages == ()


def test_what_was_refused_or_rolled_back_leaves_no_trace_in_the_chain(
    url: str, engine: sa.Engine
) -> None:
    """Another process was quicker: the loser's events were hashed, and never committed."""
    told = Told(["order/timed_out"], [(0, 2)] * 4, 1_000_002)
    other = Told(["order/refused"], [(0, 2), (0, 1), (0, 1)], 1_000_002)
    items, rivals = list(appends(told)), list(appends(other))
    part = part_of(items[0].saga_id)

    async def work() -> None:
        first, second = connect(url, views=views()), connect(url, views=views())
        assert await first.append(part, [items[0]]) == [2]
        # The rival has the same beginning, and goes on in its own way.
        assert await second.append(part, [rivals[1]._replace(version=2)]) == [3]
        assert await first.append(part, [items[1]]) == [None]
        assert await first.append(part, [rivals[2]._replace(version=3)]) == [4]
        for store in (first, second):
            await store.close()

    asyncio.run(work())
    check(engine, items[0].saga_id)


class Failing(StatusView):
    """Raises once, after the trail was told."""

    name = "failing"

    def __init__(self) -> None:
        super().__init__()
        self.raises = False

    def apply(self, connection: sa.Connection, batch: object) -> None:
        if self.raises:
            self.raises = False
            raise RuntimeError("out of ink")


def test_a_transaction_that_another_view_broke_is_forgotten(url: str, engine: sa.Engine) -> None:
    told = Told(["order/timed_out"], [(0, 2)] * 4, 1_000_003)
    other = Told(["order/refused"], [(0, 2), (0, 1), (0, 1)], 1_000_003)
    items, rivals = list(appends(told)), list(appends(other))
    part = part_of(items[0].saga_id)
    failing = Failing()

    async def work() -> None:
        store, second = connect(url, views=[*views(), failing]), connect(url, views=views())
        await store.append(part, [items[0]])
        failing.raises = True
        other_time = rivals[1].events[0].model_copy(update={"at": 9e9})
        lost = rivals[1]._replace(version=2, events=[other_time])
        with pytest.raises(RuntimeError):
            await store.append(part, [lost])
        # Somebody else writes another event of that number, on which the first one goes on.
        assert await second.append(part, [rivals[1]._replace(version=2)]) == [3]
        await store.claim(part)
        assert await store.append(part, [rivals[2]._replace(version=3)]) == [4]
        await store.close()
        await second.close()

    asyncio.run(work())
    check(engine, items[0].saga_id)


@pytest.mark.law("L54")
def test_a_trail_that_is_built_anew_has_the_same_chain(url: str, engine: sa.Engine) -> None:
    told = Told(["order/timed_out", "trip/refused"], [(0, 5), (1, 4), (0, 6), (1, 9)], 1_000_004)
    write(url, views(), *([item] for item in appends(told)))
    unprotect(engine)
    with engine.begin() as connection:
        before = connection.exec_driver_sql("SELECT * FROM es_audit ORDER BY 1, 2").all()
        connection.exec_driver_sql("DELETE FROM es_audit")
        connection.exec_driver_sql("DELETE FROM es_tracking WHERE name = 'audit'")

    async def work() -> None:
        catch_up = CatchUp(engine)
        await Projector([AuditView()], catch_up, SystemClock()).catch_up(AuditView())
        catch_up.close()

    asyncio.run(work())
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT * FROM es_audit ORDER BY 1, 2").all() == before


def test_a_trail_that_has_not_come_so_far_is_not_damaged(url: str, engine: sa.Engine) -> None:
    told = Told(["order/timed_out"], [(0, 5), (0, 5)], 1_000_005)
    first, second = appends(told)
    write(url, views(), [first])
    write(url, [StatusView()], [second])
    assert verify(engine).damages == ()
    assert len(Queries(engine).history(first.saga_id)) == 5


@pytest.mark.requirement("R081")
@pytest.mark.parametrize("rebuilt", [False, True])
def test_the_database_refuses_to_change_the_trail(
    url: str, engine: sa.Engine, rebuilt: bool
) -> None:
    """Also after another table has taken its place."""
    write(url, views(), *([item] for item in appends(Told(["order/refused"], [(0, 9)], 1_000_006))))
    if rebuilt:
        rebuild(engine, AuditView(), inline=True)
    for statement in ("UPDATE es_audit SET actor = 'me'", "DELETE FROM es_audit"):
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.exec_driver_sql(statement)


# ── found when it is read ────────────────────────────────────────────────────────────────────────

CHANGES = {
    "edited": (
        "UPDATE es_events SET state = replace(CAST(state AS text), 'at', 'ta')",
        "UPDATE es_events SET state = overlay(state placing 'X' from 3)",
        Wrong.EDITED,
    ),
    "renamed": ("UPDATE es_events SET topic = 'SagaCompleted'", None, Wrong.EDITED),
    "removed": ("DELETE FROM es_events", None, Wrong.MISSING),
    "moved": ("UPDATE es_events SET position = 1000", None, Wrong.TRAIL_CHANGED),
    "hash": ("UPDATE es_audit SET hash = 'abc'", None, Wrong.TRAIL_CHANGED),
    "actor": ("UPDATE es_audit SET actor = 'me'", None, Wrong.TRAIL_CHANGED),
    "row": ("DELETE FROM es_audit", None, Wrong.TRAIL_CHANGED),
}


@pytest.mark.law("L52")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("version", [1, 4, 7])
def test_a_change_in_the_database_is_named_by_its_event_wherever_it_is_read(
    url: str, engine: sa.Engine, change: str, version: int
) -> None:
    told = Told(["order/timed_out", "trip/refused"], [(0, 9), (1, 9)], 1_000_007)
    write(url, views(), *([item] for item in appends(told)))
    saga_id, whole = told.id_of(0), told.id_of(1)
    lite, postgres, wrong = CHANGES[change]
    statement = lite if engine.dialect.name == "sqlite" or postgres is None else postgres
    of_trail = "es_audit" in statement
    where = (
        f" WHERE saga_id = '{saga_id}' AND version = {version}"
        if of_trail
        else f" WHERE originator_id = '{saga_id}' AND originator_version = {version}"
    )
    if of_trail:
        unprotect(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement + where)

    found = verify(engine)

    assert [(d.saga_id, d.version, d.wrong) for d in found.damages] == [(saga_id, version, wrong)]
    assert verify(engine, saga_id=saga_id).damages == found.damages
    assert verify(engine, since=0.0).damages == found.damages
    assert verify(engine, since=9e9).sagas == 0
    assert verify(engine, saga_id=whole).damages == ()
    queries = Queries(engine)
    assert len(queries.history(whole)) == 9
    with pytest.raises(CorruptHistory, match=f"{saga_id}.*event {version}:"):
        queries.history(saga_id)
    if version > 1:
        assert len(queries.history(saga_id, limit=version - 1)) == version - 1
    with pytest.raises(CorruptHistory, match=f"event {version}:"):
        queries.history(saga_id, after=version - 1)
    queries.verify(whole)
    with pytest.raises(CorruptHistory, match=f"event {version}:"):
        queries.verify(saga_id)


def test_a_long_saga_is_checked_to_its_end(
    url: str, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stretch by stretch, however small they are."""
    monkeypatch.setattr(verification, "MAX_EVENTS", 3)
    monkeypatch.setattr(verification, "MAX_SAGAS", 2)
    told = Told(["order/timed_out"] * 5, [(number, 20) for number in range(5)], 1_000_008)
    write(url, views(), *([item] for item in appends(told)))
    assert verify(engine).events == 100
    bad = told.id_of(3)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"DELETE FROM es_events WHERE originator_id = '{bad}' AND originator_version > 11"
        )
    [damage] = verify(engine).damages
    assert (damage.saga_id, damage.version, damage.wrong) == (bad, 12, Wrong.MISSING)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM es_events WHERE originator_id = '{bad}'")
    assert [damage.version for damage in verify(engine).damages] == [1]


def test_what_is_written_meanwhile_is_no_damage(url: str, engine: sa.Engine) -> None:
    """The log grows between the pages of a walk."""
    tell = [Told(["order/timed_out"], [(0, 2)] * 10, 1_000_100 + number) for number in range(3)]
    items = [list(appends(told)) for told in tell]
    write(url, views(), *([own[0]] for own in items))
    left = [own[1:] for own in items]

    def go_on(_: int) -> None:
        for own in left:
            if own:
                write(url, views(), [own.pop(0)])

    assert verify(engine, told=go_on).damages == ()
    for own in left:
        while own:
            read = trail.stretches
            write(url, views(), [own.pop(0)])
            with engine.connect() as connection:
                found: Any = read(connection, [told.id_of(0) for told in tell], after=0, limit=50)
            assert all(one.damage(saga_id) is None for saga_id, one in found.items())
