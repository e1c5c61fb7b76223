"""What becomes of commands while the participant's database is gone, slow, or taken."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from es_saga import database
from es_saga.adapters.postgres import EmbeddedPostgres
from es_saga.core.errors import Unavailable
from es_saga.core.messages import Outcome
from es_saga.database import make_engine
from es_saga.participant import Server, create_tables
from es_saga.participant.fence import FenceTaken
from es_saga.participant.outage import Trouble, Unreachable, trouble_of
from tests.participant.pipe import Letter, Pipe
from tests.participant.warehouse import Hold, ask, eventually, fill, holds, left, warehouse

pytestmark = pytest.mark.anyio

RECOVERY_SECONDS = 30.0


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that the test may stop and start."""
    server = EmbeddedPostgres(tmp_path / "pg", settings={"fsync": "off"})
    server.start()
    yield server
    server.stop()


async def _settled(letter: Letter) -> tuple[object, ...]:
    await eventually(lambda: bool(letter.settled), RECOVERY_SECONDS)
    return letter.settled[0]


async def test_while_the_database_is_gone_commands_are_put_back_and_later_carried_out(
    postgres: EmbeddedPostgres, logged: list[MutableMapping[str, Any]]
) -> None:
    pipe = Pipe()
    command = ask(Hold(sku="pear", hold="h"), replyto="saga.v1.main.rpl.shop.3.s-1")
    engine = make_engine(postgres.url)
    create_tables(warehouse(), engine)
    fill(engine)
    connects: list[float] = []
    event.listen(engine, "do_connect", lambda *_: connects.append(time.monotonic()))
    async with Server(warehouse(), engine, pipe) as server:
        assert (await server.call(ask(Hold(sku="pear", hold="before"), "s-0"))).data
        postgres.stop()
        assert await _settled(pipe.deliver(command, delivered=1)) == ("nak", 1.0)
        assert await _settled(pipe.deliver(command, delivered=3)) == ("nak", 30.0)
        assert await _settled(pipe.deliver(command, delivered=7)) == ("nak", 120.0)
        with pytest.raises(Unavailable):
            await server.call(command)
        attempts, began = len(connects), time.monotonic()
        for _ in range(20):
            await _settled(pipe.deliver(command))
        assert len(connects) - attempts <= 1 + time.monotonic() - began, "it does not spin"
        postgres.start()
        deadline = time.monotonic() + RECOVERY_SECONDS
        while await _settled(pipe.deliver(command)) != ("ack",):
            assert time.monotonic() < deadline
        assert holds(engine) == {"before", "h"}
    engine.dispose()
    told = [entry["event"] for entry in logged]
    assert told.count("database_back") == 1
    assert 1 <= told.count("database_unreachable") <= 2, (
        "once for each worker, not for each command"
    )


async def test_a_connection_that_was_cut_is_replaced_unnoticed(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        return  # there is no connection that another could cut
    async with Server(warehouse(), engine) as server:
        await server.call(ask(Hold(sku="pear", hold="h-1"), step="one"))
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        reply = await server.call(ask(Hold(sku="pear", hold="h-2"), step="two"))
    assert reply.outcome is Outcome.SUCCEEDED
    assert left(engine, "pear") == 1


async def test_a_database_that_stays_locked_does_not_fail_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stock.db"
    engine = make_engine(f"sqlite:///{path}")
    create_tables(warehouse(), engine)
    fill(engine)
    command = ask(Hold(sku="pear", hold="h"))
    async with Server(warehouse(), engine) as server:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(database, "SQLITE_BUSY_SECONDS", 0.1)
        with pytest.raises(Unavailable):
            await server.call(command)
        monkeypatch.undo()
        other.execute("ROLLBACK")
        other.close()
        # A connect is tried again only after a moment, and this one worked: so this runs at once.
        assert (await server.call(command)).outcome is Outcome.SUCCEEDED
    engine.dispose()


class _Driver(Exception):
    def __init__(self, **codes: str) -> None:
        self.__dict__.update(codes)


class OperationalError(_Driver):
    """Named as psycopg names it."""


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (FenceTaken(), Trouble.COLLISION),
        (Unreachable(), Trouble.OUTAGE),
        (ValueError(), Trouble.MISTAKE),
        (Unavailable(), Trouble.MISTAKE),
        (DBAPIError("", {}, _Driver(sqlstate="40P01")), Trouble.COLLISION),
        (DBAPIError("", {}, _Driver(sqlstate="57P01")), Trouble.OUTAGE),
        (DBAPIError("", {}, _Driver(sqlstate="53100")), Trouble.OUTAGE),
        (DBAPIError("", {}, _Driver(sqlstate="23505")), Trouble.MISTAKE),
        (DBAPIError("", {}, _Driver(sqlstate="57014")), Trouble.MISTAKE),
        (DBAPIError("", {}, _Driver(sqlite_errorname="SQLITE_BUSY_SNAPSHOT")), Trouble.COLLISION),
        (DBAPIError("", {}, _Driver(sqlite_errorname="SQLITE_IOERR_WRITE")), Trouble.OUTAGE),
        (DBAPIError("", {}, _Driver(sqlite_errorname="SQLITE_ERROR")), Trouble.MISTAKE),
        (DBAPIError("", {}, OperationalError()), Trouble.OUTAGE),
        (DBAPIError("", {}, _Driver()), Trouble.MISTAKE),
        (DBAPIError("", {}, _Driver(), connection_invalidated=True), Trouble.OUTAGE),
    ],
)
def test_errors_are_told_apart_by_what_helps_against_them(
    error: Exception, trouble: Trouble
) -> None:
    assert trouble_of(error) is trouble
