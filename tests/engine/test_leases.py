"""Sharing the parts: fair, given back, taken over, regained."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from es_saga.adapters.leases import PostgresLeases
from es_saga.adapters.postgres import EmbeddedPostgres
from es_saga.core.errors import ConflictError, Unavailable
from es_saga.core.messages import PARTS
from es_saga.database import make_engine

pytestmark = pytest.mark.anyio

ALL = frozenset(range(PARTS))
ROUNDS = 6
"""In so many rounds every share is settled: one to count, one to give back, one to take."""

Join = Callable[[], PostgresLeases]


@pytest.fixture
async def join(postgres_url: str) -> AsyncIterator[Join]:
    """Makes leases as another process would: with an engine of their own."""
    made: list[tuple[PostgresLeases, sa.Engine]] = []

    def another() -> PostgresLeases:
        engine = make_engine(postgres_url)
        made.append((PostgresLeases(engine, "shop"), engine))
        return made[-1][0]

    yield another
    for leases, engine in made:
        await leases.close()
        engine.dispose()


async def settle(members: Sequence[PostgresLeases]) -> list[frozenset[int]]:
    """What each holds after some rounds in which all give back what they must.

    No part is ever held by two of them.
    """
    owned = [frozenset[int]() for _ in members]
    for _ in range(ROUNDS):
        for number, leases in enumerate(members):
            owned[number] = frozenset()
            held = await leases.held()
            assert not any(held & others for others in owned)
            await leases.release(ALL - held)
            owned[number] = held
    return owned


@pytest.mark.requirement("R007")
@pytest.mark.parametrize(("members", "shares"), [(1, [16]), (2, [8, 8]), (3, [4, 6, 6])])
async def test_the_parts_are_shared_fairly(join: Join, members: int, shares: list[int]) -> None:
    owned = await settle([join() for _ in range(members)])
    assert sorted(map(len, owned)) == shares
    assert frozenset().union(*owned) == ALL


@pytest.mark.requirement("R007")
async def test_who_joins_gets_a_share_and_who_leaves_gives_it_back(join: Join) -> None:
    first, second = join(), join()
    assert await first.held() == ALL
    assert await second.held() == frozenset()
    assert [len(parts) for parts in await settle([first, second])] == [8, 8]
    await second.close()
    assert await first.held() == ALL


async def test_a_part_beyond_the_share_is_nobodys_until_it_is_released(join: Join) -> None:
    first, second = join(), join()
    before = await first.held()
    await second.held()
    after = await first.held()
    assert len(after) == 8
    assert await second.held() == frozenset()
    await first.release(before - after)
    assert await second.held() == before - after


async def test_apps_do_not_share(join: Join, postgres_url: str) -> None:
    assert await join().held() == ALL
    other = PostgresLeases(make_engine(postgres_url), "another shop")
    assert await other.held() == ALL
    await other.close()


def cut(url: str) -> int:
    """End every other session of the database; how many."""
    engine = make_engine(url)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        ended = connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).all()
    engine.dispose()
    return len(ended)


async def test_two_apps_do_not_run_on_one_log_and_one_may_be_given_another_name(
    join: Join, postgres_url: str
) -> None:
    engine = make_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE es_events ()")
    first, beside = join(), join()
    await first.alone()
    await beside.alone()
    renamed = PostgresLeases(engine, "bookshop")
    with pytest.raises(ConflictError, match="Another app runs on this log: shop"):
        await renamed.alone()
    await first.close()
    await beside.close()
    await renamed.alone()
    elsewhere = make_engine(postgres_url)
    event.listen(elsewhere, "connect", _in_another_schema)
    other_log = PostgresLeases(elsewhere, "shop")
    await other_log.alone()
    for leases, its in ((renamed, engine), (other_log, elsewhere)):
        await leases.close()
        its.dispose()


def _in_another_schema(connection: Any, _record: object) -> None:
    for statement in (
        "CREATE SCHEMA IF NOT EXISTS elsewhere",
        "CREATE TABLE IF NOT EXISTS elsewhere.es_events ()",
        "SET search_path = elsewhere",
    ):
        connection.execute(statement)
    connection.commit()


async def test_after_a_broken_connection_what_is_still_free_is_regained(
    join: Join, postgres_url: str
) -> None:
    first, second = join(), join()
    mine, theirs = await settle([first, second])
    assert cut(postgres_url) >= 2
    assert await first.held() == mine, "not what the other one had a moment ago"
    assert await second.held() == theirs
    assert [len(parts) for parts in await settle([first, second])] == [8, 8]


async def test_after_a_broken_connection_what_another_has_taken_is_not_held(
    join: Join, postgres_url: str
) -> None:
    first = join()
    assert await first.held() == ALL
    cut(postgres_url)
    second = join()
    assert await second.held() == ALL
    assert await first.held() == frozenset()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of this test's own."""
    server = EmbeddedPostgres(tmp_path / "pg", settings={"fsync": "off"})
    server.start()
    yield server
    server.stop()


async def test_while_the_database_is_away_parts_are_kept_for_a_grace_period(
    server: EmbeddedPostgres,
) -> None:
    engine = make_engine(server.url)
    patient = PostgresLeases(engine, "shop", grace_seconds=600)
    assert await patient.held() == ALL
    server.stop()
    for _ in range(2):
        with pytest.raises(Unavailable, match="out of reach"):
            await patient.held()
    server.start()
    assert await patient.held() == ALL
    await patient.close()
    engine.dispose()


async def test_when_the_database_stays_away_nothing_is_held(server: EmbeddedPostgres) -> None:
    engine = make_engine(server.url)
    leases = PostgresLeases(engine, "shop", grace_seconds=0)
    assert await leases.held() == ALL
    server.stop()
    assert await leases.held() == frozenset()
    server.start()
    assert await leases.held() == ALL
    await leases.close()
    engine.dispose()


async def test_a_call_that_was_cancelled_does_not_get_in_the_way_of_closing(join: Join) -> None:
    first, second = join(), join()
    calling = asyncio.create_task(first.held())
    await asyncio.sleep(0)
    calling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await calling
    await first.close()
    assert await second.held() == ALL
