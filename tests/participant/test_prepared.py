"""Two-phase: holds that are prepared transactions, and what is left of them by a crash: nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from es_saga.adapters.postgres import EmbeddedPostgres
from es_saga.core.messages import Outcome
from es_saga.database import make_engine
from es_saga.participant import Server, create_tables, job, keeper, prepared
from es_saga.participant.prepared import CannotPrepare, InDoubt, in_doubt
from tests.participant.strict_bank import (
    ENVELOPES,
    POINTS,
    TEN,
    Deposit,
    HoldFunds,
    a_process,
    accounts,
    ask,
    bank,
    dying,
)
from tests.participant.theatre import cancel, confirm, hold
from tests.participant.warehouse import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("R086")]

START_SECONDS = 60


@pytest.fixture
def engine(postgres_url: str) -> Iterator[sa.Engine]:
    """The bank's database; it cannot be dropped while a transaction is prepared in it."""
    engine = make_engine(postgres_url, pool_size=4)
    create_tables(bank, engine)
    yield engine
    engine.dispose()


@pytest.fixture
async def server(engine: sa.Engine) -> AsyncIterator[Server]:
    async with Server(bank, engine) as server:
        yield server


def _left(engine: sa.Engine, who: str = "ann") -> int:
    with engine.connect() as connection:
        query = sa.select(accounts.c.pence).where(accounts.c.who == who)
        found: int = connection.execute(query).scalar_one()
    return found


def _doubts(engine: sa.Engine) -> list[InDoubt]:
    return in_doubt(engine, bank)


async def test_what_is_held_is_prepared_and_seen_once_it_is_confirmed(
    server: Server, engine: sa.Engine
) -> None:
    reply = await server.call(hold(TEN))
    assert (reply.outcome, reply.data) == (Outcome.SUCCEEDED, {"pence": 10})
    (found,) = _doubts(engine)
    assert (found.hold, found.status) == ("s-1/seats/do", "held")
    assert _left(engine) == 100
    assert (await server.call(hold(TEN))).data == {"pence": 10}
    for _ in range(2):
        assert (await server.call(confirm(TEN))).outcome is Outcome.SUCCEEDED
    assert (_left(engine), _doubts(engine)) == (90, [])


async def test_what_is_cancelled_was_never_there(server: Server, engine: sa.Engine) -> None:
    await server.call(hold(TEN))
    for _ in range(2):
        assert (await server.call(cancel(TEN))).outcome is Outcome.SUCCEEDED
    assert (_left(engine), _doubts(engine)) == (100, [])
    assert (await server.call(confirm(TEN))).type == "NotHeld"


@pytest.mark.law("L74")
async def test_what_expires_is_rolled_back(server: Server, engine: sa.Engine) -> None:
    await server.call(hold(TEN, expires=0.01))
    await eventually(lambda: not _doubts(engine))
    assert (await server.call(confirm(TEN))).type == "HoldExpired"
    assert _left(engine) == 100


@pytest.mark.parametrize("how", ["raises", "refuses"])
async def test_what_is_refused_or_fails_is_not_prepared(
    server: Server, engine: sa.Engine, how: str
) -> None:
    command = HoldFunds(who="ann", pence=10, how=how)
    reply = await server.call(hold(command))
    assert reply.outcome is not Outcome.SUCCEEDED
    assert (await server.call(hold(command))).type == reply.type, "it is remembered"
    assert (_left(engine), _doubts(engine)) == (100, [])


@pytest.mark.law("L21", "L22")
async def test_a_cancel_that_comes_first_keeps_it_from_being_prepared(
    server: Server, engine: sa.Engine
) -> None:
    await server.call(cancel(TEN))
    assert (await server.call(hold(TEN))).type == "Undone"
    assert _doubts(engine) == []


async def test_many_at_once_each_have_their_own_transaction(
    server: Server, engine: sa.Engine
) -> None:
    holds = {who: HoldFunds(who=who, pence=7) for who in ("ann", "bob", "cy")}
    replies = await asyncio.gather(*(server.call(hold(one, who)) for who, one in holds.items()))
    assert {reply.outcome for reply in replies} == {Outcome.SUCCEEDED}
    settle = {"ann": confirm, "bob": cancel, "cy": confirm}
    await asyncio.gather(*(server.call(settle[who](one, who)) for who, one in holds.items()))
    assert [_left(engine, who) for who in holds] == [93, 100, 93]
    assert _doubts(engine) == []


async def test_who_needs_what_is_in_doubt_is_asked_to_come_back(
    server: Server, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "LOCKED_SECONDS", 0.05)
    await server.call(hold(TEN, "s-1"))
    busy = await server.call(hold(TEN, "s-2"))
    assert (busy.outcome, busy.type, busy.retryafter) == (Outcome.FAILED, "Unavailable", 1.0)
    await server.call(confirm(TEN, "s-1"))
    again = hold(TEN, "s-2").model_copy(update={"attempt": 2, "id": "s-2/seats/do/2"})
    assert (await server.call(again)).outcome is Outcome.SUCCEEDED
    await server.call(cancel(TEN, "s-2"))
    assert _left(engine) == 90


async def test_who_waits_for_what_is_in_doubt_holds_up_nobody_who_settles_it(
    engine: sa.Engine,
) -> None:
    """One thread has it all; the second hold and the deposit need the row that the first locks."""
    async with Server(bank, engine, workers=1) as server:
        await server.call(hold(TEN, "s-1"))
        deposit = hold(Deposit(who="ann", pence=5), "d-1")
        waiting = [asyncio.create_task(server.call(one)) for one in (hold(TEN, "s-2"), deposit)]
        await asyncio.sleep(0)
        assert (await server.call(confirm(TEN, "s-1"))).outcome is Outcome.SUCCEEDED
        assert (await waiting[0]).outcome is Outcome.SUCCEEDED
        await server.call(cancel(TEN, "s-2"))
        assert (await waiting[1]).outcome is Outcome.SUCCEEDED
    assert (_left(engine), _doubts(engine)) == (95, [])


async def test_a_server_that_stops_answers_first_who_waits_for_a_lock(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "LOCKED_SECONDS", 0.1)
    async with Server(bank, engine, workers=1) as server:
        await server.call(hold(TEN, "s-1"))
        waiting = asyncio.create_task(server.call(hold(TEN, "s-2")))
        await asyncio.sleep(0)
    assert (await waiting).type == "Unavailable"
    async with Server(bank, engine) as server:
        await server.call(cancel(TEN, "s-1"))


# ── crashes ──────────────────────────────────────────────────────────────────────────────────────

_CRASHES = [
    (what, point)
    for what in ENVELOPES
    for point in POINTS
    if (what == "hold" or "prepared" not in point) and (what != "hold" or "settled" not in point)
]


async def _ends_well(engine: sa.Engine, crashed: str, last: str) -> None:
    """The saga sends again what was not answered, and goes on: nothing is lost or done twice."""
    runner = a_process(engine)
    for what in dict.fromkeys((crashed, last)):
        reply = await ask(runner, ENVELOPES[what](TEN))
        assert reply.outcome is Outcome.SUCCEEDED, reply
    runner.disconnect()
    assert _left(engine) == (90 if last == "confirm" else 100)
    assert _doubts(engine) == []


class _Died(BaseException):
    """As a process does: nothing of ours sees to anything any more."""


def _die() -> None:
    raise _Died


@pytest.mark.law("L72", "L75")
@pytest.mark.parametrize("ending", ["confirm", "cancel"])
@pytest.mark.parametrize(("what", "point"), _CRASHES)
async def test_nothing_is_lost_nor_done_twice_wherever_it_dies(
    engine: sa.Engine, what: str, point: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = a_process(engine)
    if what != "hold":
        ending = what
        await ask(first, hold(TEN))
    with monkeypatch.context() as patch:
        patch.setattr(*dying(point, _die))
        with pytest.raises(_Died):
            await ask(first, ENVELOPES[what](TEN))
    first.disconnect()
    await _ends_well(engine, what, ending)


@pytest.mark.parametrize(("what", "point"), _CRASHES)
async def test_a_process_that_is_killed_leaves_nothing_in_doubt(
    engine: sa.Engine, postgres_url: str, what: str, point: str
) -> None:
    runner = a_process(engine)
    if what != "hold":
        await ask(runner, hold(TEN))
    runner.disconnect()
    program = [sys.executable, "-m", "tests.participant.strict_bank", postgres_url, what, point]
    died = await asyncio.to_thread(subprocess.run, program, timeout=START_SECONDS, check=False)
    assert died.returncode == -9
    await _ends_well(engine, what, "cancel" if what == "hold" else what)


async def test_a_server_settles_at_its_start_what_a_crash_left(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sends anything again: the decision is written, or nobody was ever answered."""
    runner = a_process(engine)
    two = {who: HoldFunds(who=who, pence=10) for who in ("ann", "bob", "cy")}
    for who in ("ann", "bob"):
        await ask(runner, hold(two[who], who))
    for who, what, point in (
        ("ann", confirm, "before it is settled"),
        ("bob", cancel, "before it is settled"),
        ("cy", hold, "after it is prepared"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(*dying(point, _die))
            with pytest.raises(_Died):
                await ask(runner, what(two[who], who))
        runner.disconnect()
    assert [(one.hold, one.status) for one in _doubts(engine)] == [
        ("ann/seats/do", "confirmed"),
        ("bob/seats/do", "cancelled"),
        ("cy/seats/do", None),
    ]
    monkeypatch.setattr(prepared, "ORPHAN_SECONDS", 0.0)
    async with Server(bank, engine):
        await eventually(lambda: not _doubts(engine))
    assert [_left(engine, who) for who in two] == [90, 100, 100]


async def test_what_a_twin_may_be_about_to_record_is_left_alone(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = a_process(engine)
    with monkeypatch.context() as patch:
        patch.setattr(*dying("after it is prepared", _die))
        with pytest.raises(_Died):
            await ask(runner, hold(TEN))
    runner.disconnect()
    (left,) = runner.recover()
    assert left.status is None
    await ask(runner, hold(TEN))
    await ask(runner, cancel(TEN))
    runner.disconnect()


async def test_two_processes_that_get_the_same_hold_prepare_it_once(
    engine: sa.Engine, postgres_url: str
) -> None:
    async with Server(bank, postgres_url) as one, Server(bank, postgres_url) as other:
        for number in range(10):
            saga = f"s-{number}"
            copies = (server.call(hold(TEN, saga)) for server in (one, other, one, other))
            replies = await asyncio.gather(*copies)
            assert {reply.outcome for reply in replies} == {Outcome.SUCCEEDED}
            settled = (server.call(confirm(TEN, saga)) for server in (one, other))
            assert {r.outcome for r in await asyncio.gather(*settled)} == {Outcome.SUCCEEDED}
    assert (_left(engine), _doubts(engine)) == (0, [])


async def test_a_transaction_that_is_in_doubt_for_long_is_told_of_once(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, logged: list[MutableMapping[str, Any]]
) -> None:
    monkeypatch.setattr(keeper, "IN_DOUBT_SECONDS", 0.0)
    runner = a_process(engine)
    await ask(runner, hold(TEN))
    keeping = keeper.Keeper(runner, look_seconds=0.0)
    for _ in range(3):
        await keeping()
    await ask(runner, cancel(TEN))
    runner.disconnect()
    told = [one for one in logged if one["event"] == "transaction_in_doubt"]
    assert [one["hold"] for one in told] == ["s-1/seats/do"]


# ── what cannot be prepared ──────────────────────────────────────────────────────────────────────


async def test_sqlite_cannot_prepare(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'bank.db'}")
    with pytest.raises(CannotPrepare, match=r"sqlite cannot\. Serve it on PostgreSQL, or write"):
        await Server(bank, engine, create_tables=True).start()
    engine.dispose()


async def test_a_server_that_may_not_prepare_says_what_to_set(tmp_path: Path) -> None:
    settings = {"fsync": "off", "max_prepared_transactions": "0"}
    with EmbeddedPostgres(tmp_path / "pg", settings=settings) as url:
        engine = make_engine(url)
        with pytest.raises(CannotPrepare, match="Set `max_prepared_transactions` to as many"):
            await Server(bank, engine, create_tables=True).start()
        engine.dispose()


async def test_an_id_that_names_no_transaction_is_refused_for_good(
    server: Server, engine: sa.Engine
) -> None:
    for odd in ("x'; DROP TABLE accounts; --", "x" * 250):
        envelope = hold(TEN).model_copy(update={"commandid": odd, "id": odd})
        reply = await server.call(envelope)
        assert (reply.outcome, reply.retryafter) == (Outcome.FAILED, -1.0)
    assert (_left(engine), _doubts(engine)) == (100, [])
