"""The handler's effect and the fence's record are one transaction, whoever shares it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import MutableMapping
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from es_saga.core.messages import Envelope, Outcome
from es_saga.database import make_engine
from es_saga.participant import Participant, Server, SyncTx, create_tables, runner
from tests.participant.warehouse import (
    ADD_HOLD,
    STOCK,
    TAKE,
    Held,
    Hold,
    HoldPlainly,
    Release,
    ask,
    eventually,
    fill,
    holds,
    left,
    remembered,
    warehouse,
)

pytestmark = pytest.mark.anyio


def _count(engine: sa.Engine, moment: str) -> list[sa.Connection]:
    """A list that grows with every commit or rollback."""
    seen: list[sa.Connection] = []
    event.listen(engine, moment, seen.append)
    return seen


@pytest.mark.requirement("R062", "R069")
@pytest.mark.law("L25")
async def test_the_effect_and_its_record_are_both_there(server: Server, engine: sa.Engine) -> None:
    reply = await server.call(ask(Hold(sku="pear", hold="h")))
    assert reply.outcome is Outcome.SUCCEEDED
    assert (reply.type, reply.data) == ("Held", {"hold": "h"})
    assert holds(engine) == {"h"}
    assert remembered(engine) == {"s-1/hold/do": "succeeded"}


@pytest.mark.requirement("R062")
@pytest.mark.parametrize("command", [Hold, HoldPlainly])
async def test_async_and_plain_handlers_do_the_same(
    server: Server, engine: sa.Engine, command: type[Hold] | type[HoldPlainly]
) -> None:
    reply = await server.call(ask(command(sku="pear", hold="h")))
    assert reply.data == {"hold": "h"}
    assert left(engine, "pear") == 2


@pytest.mark.requirement("R062")
async def test_an_orm_session_commits_with_the_record(server: Server, engine: sa.Engine) -> None:
    reply = await server.call(ask(HoldPlainly(sku="pear", hold="h", how="orm")))
    assert reply.outcome is Outcome.SUCCEEDED
    assert (left(engine, "pear"), holds(engine)) == (2, {"h"})
    assert remembered(engine) == {"s-1/hold/do": "succeeded"}


@pytest.mark.requirement("R062")
async def test_an_orm_session_cannot_end_the_transaction(server: Server, engine: sa.Engine) -> None:
    hows = {"orm": Outcome.SUCCEEDED, "orm, commit and raise": Outcome.FAILED}
    hows["orm, roll back and go on"] = Outcome.SUCCEEDED
    replies = await asyncio.gather(
        *(
            server.call(ask(HoldPlainly(sku="pear", hold=how, how=how), step=f"hold-{n}"))
            for n, how in enumerate(hows)
        )
    )
    assert [reply.outcome for reply in replies] == list(hows.values())
    assert (left(engine, "pear"), holds(engine)) == (2, {"orm"})


@pytest.mark.requirement("R034")
async def test_a_refusal_keeps_nothing_of_an_orm_session(server: Server, engine: sa.Engine) -> None:
    reply = await server.call(ask(HoldPlainly(sku="plum", hold="h", how="orm")))
    assert reply.outcome is Outcome.REFUSED
    assert holds(engine) == set()
    assert remembered(engine) == {"s-1/hold/do": "refused"}


@pytest.mark.requirement("R034")
async def test_a_refusal_after_a_write_keeps_nothing_but_is_remembered(
    server: Server, engine: sa.Engine
) -> None:
    command = ask(Hold(sku="pear", hold="h", how="refuse after the write"))
    replies = [await server.call(command), await server.call(command)]
    assert [r.outcome for r in replies] == [Outcome.REFUSED] * 2
    assert replies[0].data == replies[1].data == {"sku": "pear"}
    assert (left(engine, "pear"), holds(engine)) == (3, set())


@pytest.mark.requirement("R034", "R062")
@pytest.mark.law("L25")
async def test_an_exception_after_a_write_leaves_neither_effect_nor_record(
    server: Server, engine: sa.Engine
) -> None:
    reply = await server.call(ask(Hold(sku="pear", hold="h", how="raise after the write")))
    assert reply.outcome is Outcome.FAILED
    assert (left(engine, "pear"), holds(engine), remembered(engine)) == (3, set(), {})


async def test_a_failed_attempt_that_is_delivered_again_fails_again_without_running(
    server: Server, engine: sa.Engine
) -> None:
    """The saga may have given the step up by then: an effect now would stay for ever."""
    failing = ask(Hold(sku="pear", hold="h", how="raise after the write"))
    first = await server.call(failing)
    able = ask(Hold(sku="pear", hold="h"))
    again = await server.call(able)
    assert (again.outcome, again.type, again.data) == (Outcome.FAILED, first.type, first.data)
    assert (left(engine, "pear"), holds(engine)) == (3, set())
    final = ask(Hold(sku="pear", hold="t", how="terminal"), "s-2")
    assert [(await server.call(final)).retryafter for _ in range(2)] == [-1.0, -1.0]
    assert (await server.call(ask(Hold(sku="pear", hold="h"), attempt=2))).outcome == "succeeded"


@pytest.mark.requirement("R029")
async def test_a_failed_attempt_may_be_followed_by_one_that_succeeds(
    server: Server, engine: sa.Engine
) -> None:
    command = Hold(sku="pear", hold="h", from_attempt=3)
    outcomes = [(await server.call(ask(command, attempt=n))).outcome for n in (1, 2, 3, 4)]
    assert outcomes == [Outcome.FAILED, Outcome.FAILED, Outcome.SUCCEEDED, Outcome.SUCCEEDED]
    assert (left(engine, "pear"), holds(engine)) == (2, {"h"})


@pytest.mark.requirement("R034")
async def test_those_that_share_a_transaction_do_not_share_its_failure(
    server: Server, engine: sa.Engine
) -> None:
    hows = ["plain", "raise after the write", "plain", "refuse after the write", "terminal"] * 8
    replies = await asyncio.gather(
        *(
            server.call(ask(Hold(sku="apple", hold=f"h-{n}", how=how), f"s-{n}"))
            for n, how in enumerate(hows)
        )
    )
    wanted = {
        "plain": Outcome.SUCCEEDED,
        "raise after the write": Outcome.FAILED,
        "refuse after the write": Outcome.REFUSED,
        "terminal": Outcome.FAILED,
    }
    assert [reply.outcome for reply in replies] == [wanted[how] for how in hows]
    assert holds(engine) == {f"h-{n}" for n, how in enumerate(hows) if how == "plain"}
    assert left(engine, "apple") == 1_000_000 - 16
    assert len(remembered(engine)) == 16 + 8


async def test_commands_that_arrive_together_share_a_transaction(
    server: Server, engine: sa.Engine
) -> None:
    commits = _count(engine, "commit")
    await asyncio.gather(
        *(server.call(ask(Hold(sku="apple", hold=f"h-{n}"), f"s-{n}")) for n in range(50))
    )
    assert len(commits) < 25  # a few, but a slow machine closes them early


async def test_slow_handlers_do_not_keep_a_shared_transaction_open(
    server: Server, engine: sa.Engine
) -> None:
    commits = _count(engine, "commit")
    await asyncio.gather(
        *(
            server.call(ask(Hold(sku="apple", hold=f"h-{n}", how="wait"), step=f"hold-{n}"))
            for n in range(20)
        )
    )
    assert len(commits) >= 3


async def test_a_refusal_that_wrote_nothing_does_not_break_up_the_transaction(
    server: Server, engine: sa.Engine
) -> None:
    rolled_back = _count(engine, "rollback")
    commands = [Hold(sku="plum", hold="h"), Hold(sku="apple", hold="h", how="read and refuse")]
    commands += [Hold(sku="apple", hold="h", how="unavailable")]
    replies = await asyncio.gather(
        *(server.call(ask(command, f"s-{n}")) for n, command in enumerate(commands * 5))
    )
    assert {reply.outcome for reply in replies} == {Outcome.REFUSED, Outcome.FAILED}
    assert rolled_back == []


@pytest.mark.parametrize("how", ["commit", "commit and hush"])
async def test_a_handler_cannot_commit_what_others_have_done(
    server: Server, engine: sa.Engine, how: str
) -> None:
    fine, wrong, also_fine = await asyncio.gather(
        server.call(ask(Hold(sku="apple", hold="h-1"), "s-1")),
        server.call(ask(Hold(sku="apple", hold="h-2", how=how), "s-1", step="other")),
        server.call(ask(Hold(sku="apple", hold="h-3"), "s-1", step="third")),
    )
    assert fine.outcome is also_fine.outcome is Outcome.SUCCEEDED
    assert (wrong.outcome, wrong.type) == (Outcome.FAILED, "TransactionMisuse")
    assert holds(engine) == {"h-1", "h-3"}


@pytest.mark.requirement("R022")
async def test_a_handler_may_await_real_input_and_output(engine: sa.Engine) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    stock = Participant("stock")

    @stock.handles(Hold)
    async def hold(cmd: Hold, tx: object) -> Held:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(cmd.hold.encode() + b"\n")
        said = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return Held(hold=said.decode().strip())

    async with listener, Server(stock, engine) as server:
        reply = await server.call(ask(Hold(sku="apple", hold="shout")))
    assert reply.data == {"hold": "SHOUT"}


async def test_a_handler_that_hangs_fails_alone(engine: sa.Engine) -> None:
    async with Server(warehouse(), engine, handler_seconds=0.2) as server:
        slow, quick = await asyncio.gather(
            server.call(ask(Hold(sku="pear", hold="h-1", how="hang"))),
            server.call(ask(Hold(sku="pear", hold="h-2"), step="other")),
        )
    assert (slow.outcome, slow.type) == (Outcome.FAILED, "TimeoutError")
    assert quick.outcome is Outcome.SUCCEEDED


@pytest.mark.requirement("R030")
@pytest.mark.law("L23")
@pytest.mark.parametrize("how", ["new name", "same name"])
async def test_two_processes_with_the_same_command_have_its_effect_once(
    engine: sa.Engine, how: str
) -> None:
    both_inside = threading.Barrier(2)
    runs: list[str] = []
    stock = Participant("stock")

    @stock.handles(HoldPlainly)
    def hold(cmd: HoldPlainly, tx: SyncTx) -> Held:
        name = f"h-{uuid4()}" if cmd.how == "new name" else cmd.hold
        runs.append(name)
        if engine.dialect.name == "postgresql" and len(runs) <= 2:
            both_inside.wait(10)  # SQLite lets only one in
        tx.execute(ADD_HOLD, {"hold": name, "sku": cmd.sku})
        return Held(hold=name)

    command = ask(HoldPlainly(sku="pear", hold="h", how=how))
    async with Server(stock, engine) as one, Server(stock, engine) as other:
        replies = await asyncio.gather(one.call(command), other.call(command))
    assert [reply.outcome for reply in replies] == [Outcome.SUCCEEDED] * 2
    assert replies[0].data == replies[1].data
    assert len(holds(engine)) == 1


async def test_a_deadlock_between_two_processes_is_run_again(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        return  # one writer at a time: there is nothing to deadlock
    both_inside = threading.Barrier(2)
    waited: list[str] = []
    stock = Participant("stock")

    @stock.handles(HoldPlainly)
    def hold(cmd: HoldPlainly, tx: SyncTx) -> Held:
        first, second = ("apple", "pear") if cmd.hold == "h-1" else ("pear", "apple")
        tx.execute(TAKE, {"sku": first})
        if cmd.hold not in waited:
            waited.append(cmd.hold)
            both_inside.wait(10)
        tx.execute(TAKE, {"sku": second})
        return Held(hold=cmd.hold)

    async with Server(stock, engine) as one, Server(stock, engine) as other:
        replies = await asyncio.gather(
            one.call(ask(HoldPlainly(sku="pear", hold="h-1"), "s-1")),
            other.call(ask(HoldPlainly(sku="pear", hold="h-2"), "s-2")),
        )
    assert [reply.outcome for reply in replies] == [Outcome.SUCCEEDED] * 2
    assert left(engine, "pear") == 1


async def test_a_shared_transaction_gives_way_before_the_database_sees_a_deadlock(
    postgres_url: str,
) -> None:
    """Here the database would take a minute to look for one."""
    engine = _stocked(postgres_url, "deadlock_timeout = '1min'")
    async with Server(warehouse(), engine, workers=1) as server:
        with engine.begin() as other:
            other.execute(sa.text(TAKE), {"sku": "pear"})
            replies = asyncio.gather(*map(server.call, _one_of_each("apple", "pear")))
            await eventually(lambda: _waiting(engine) == 1)
            await asyncio.to_thread(other.execute, sa.text(TAKE), {"sku": "apple"})
        assert [reply.outcome for reply in await replies] == [Outcome.SUCCEEDED] * 2
    assert (left(engine, "apple"), left(engine, "pear")) == (STOCK["apple"] - 2, STOCK["pear"] - 2)
    engine.dispose()


async def test_those_whose_row_is_locked_for_long_wait_for_it_in_the_end(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, logged: list[MutableMapping[str, Any]]
) -> None:
    monkeypatch.setattr(runner, "SHARED_LOCK_SECONDS", 0.01)
    monkeypatch.setattr(runner, "COLLISION_WAIT_SECONDS", 0.001)
    engine = _stocked(postgres_url)
    async with Server(warehouse(), engine, workers=1) as server:
        with engine.begin() as other:
            other.execute(sa.text(TAKE), {"sku": "pear"})
            rolled_back = _count(engine, "rollback")
            replies = asyncio.gather(*map(server.call, _one_of_each("apple", "pear")))
            await eventually(lambda: len(rolled_back) > runner.MAX_COLLISIONS)
            await eventually(lambda: _waiting(engine) == 1)
            await asyncio.sleep(5 * runner.SHARED_LOCK_SECONDS)
            assert len(rolled_back) == runner.MAX_COLLISIONS + 1, "alone it waits, and goes on"
        assert [reply.outcome for reply in await replies] == [Outcome.SUCCEEDED] * 2
    assert (left(engine, "apple"), left(engine, "pear")) == (STOCK["apple"] - 1, STOCK["pear"] - 2)
    assert logged == [], "nobody calls a locked row an outage"
    engine.dispose()


def _stocked(url: str, *settings: str) -> sa.Engine:
    """The warehouse in a database of PostgreSQL with these settings."""
    engine = make_engine(url, pool_size=10)
    with engine.begin() as connection:
        for setting in settings:
            connection.exec_driver_sql(f"ALTER DATABASE {engine.url.database} SET {setting}")
    engine.dispose()  # settings are for connections to come
    create_tables(warehouse(), engine)
    fill(engine)
    return engine


def _one_of_each(*skus: str) -> list[Envelope]:
    return [ask(Hold(sku=sku, hold=f"h-{sku}"), step=f"hold-{sku}") for sku in skus]


def _waiting(engine: sa.Engine) -> int:
    """How many connections to the database wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with engine.begin() as connection:  # to be no rollback
        return int(connection.exec_driver_sql(query).scalar_one())


@pytest.mark.requirement("R028")
async def test_an_undo_that_fails_is_tried_again_and_acts_once(
    server: Server, engine: sa.Engine
) -> None:
    await server.call(ask(Hold(sku="pear", hold="h")))
    failing = Release(how="raise after the write")
    outcomes = [(await server.call(ask(failing, undo=True))).outcome]
    outcomes += [(await server.call(ask(Release(), undo=True, attempt=n))).outcome for n in (2, 3)]
    assert outcomes == [Outcome.FAILED, Outcome.SUCCEEDED, Outcome.SUCCEEDED]
    assert (left(engine, "pear"), holds(engine)) == (3, set())
