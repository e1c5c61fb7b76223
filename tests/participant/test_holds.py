"""Holds at a participant: settled once, one way, and released when they expire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from es_saga.core.errors import DefinitionError
from es_saga.core.messages import Command, Envelope, Outcome
from es_saga.database import make_engine
from es_saga.participant import NotPrepared, Participant, Server, SyncTx, create_tables, fence
from es_saga.participant.holds import es_holds
from es_saga.participant.job import Job
from es_saga.participant.runner import Runner
from tests.participant.theatre import (
    SEATS,
    HoldBox,
    HoldSeats,
    cancel,
    confirm,
    counted,
    hold,
    seats,
    theatre,
)
from tests.participant.warehouse import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("R085")]

TWO = HoldSeats(seats=2)
SOON = 0.01
"""Seconds after which a hold has expired."""


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'theatre.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    engine = make_engine(url, pool_size=10)
    create_tables(theatre(), engine)
    yield engine
    engine.dispose()


@pytest.fixture
async def server(engine: sa.Engine) -> AsyncIterator[Server]:
    async with Server(theatre(), engine) as server:
        yield server


async def _succeeds(server: Server, *envelopes: Envelope) -> None:
    for envelope in envelopes:
        reply = await server.call(envelope)
        assert reply.outcome is Outcome.SUCCEEDED, reply


def _status(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(es_holds.c.status)).scalars())


def _fresh(engine: sa.Engine) -> None:
    """The theatre as it was at the beginning."""
    with engine.begin() as connection:
        for table in (es_holds, fence.es_fence):
            connection.execute(sa.delete(table))
        fresh = {"available": SEATS, "reserved": 0, "consumed": 0}
        connection.execute(sa.update(seats).values(**fresh))


def _told(job: Job) -> tuple[object, ...]:
    """What its sender is answered, without what differs from one run to the next."""
    assert job.answer is not None, job.outage
    return job.answer.outcome, job.answer.type, job.answer.data


async def test_what_is_held_is_confirmed_once(server: Server, engine: sa.Engine) -> None:
    await _succeeds(server, hold(TWO), hold(TWO))
    assert counted(engine) == (8, 2, 0)
    await _succeeds(server, confirm(TWO), confirm(TWO), confirm(TWO, round=2))
    assert (counted(engine), _status(engine)) == ((8, 0, 2), ["confirmed"])


async def test_what_is_held_is_cancelled_once(server: Server, engine: sa.Engine) -> None:
    await _succeeds(server, hold(TWO), cancel(TWO), cancel(TWO), cancel(TWO, round=2))
    assert (counted(engine), _status(engine)) == ((10, 0, 0), ["cancelled"])


async def test_async_handlers_and_holds_that_answer_nothing_do_the_same(
    server: Server, engine: sa.Engine
) -> None:
    await _succeeds(server, hold(HoldBox(), "s-1"), confirm(HoldBox(), "s-1"))
    await _succeeds(server, hold(HoldBox(), "s-2"), cancel(HoldBox(), "s-2"))
    assert counted(engine) == (110, 0, 100)


@pytest.mark.law("L72")
async def test_confirm_and_cancel_of_one_hold_never_both_take_effect(
    server: Server, engine: sa.Engine
) -> None:
    await _succeeds(server, hold(TWO, "s-1"), confirm(TWO, "s-1"))
    refused = await server.call(cancel(TWO, "s-1"))
    assert (refused.outcome, refused.type) == (Outcome.REFUSED, "NotHeld")
    assert refused.data == {"hold": "s-1/seats/do", "status": "confirmed"}
    await _succeeds(server, hold(TWO, "s-2"), cancel(TWO, "s-2"))
    refused = await server.call(confirm(TWO, "s-2"))
    assert refused.data == {"hold": "s-2/seats/do", "status": "cancelled"}
    assert counted(engine) == (8, 0, 2)


@pytest.mark.law("L21", "L22", "L71")
async def test_a_cancel_that_comes_first_keeps_the_hold_from_coming(
    server: Server, engine: sa.Engine
) -> None:
    await _succeeds(server, cancel(TWO))
    assert (await server.call(hold(TWO))).type == "Undone"
    assert (await server.call(confirm(TWO))).data == {"hold": "s-1/seats/do", "status": "unknown"}
    assert (counted(engine), _status(engine)) == ((10, 0, 0), [])


async def test_what_is_refused_is_not_held(server: Server, engine: sa.Engine) -> None:
    many = HoldSeats(seats=SEATS + 1)
    assert (await server.call(hold(many))).type == "SoldOut"
    await _succeeds(server, cancel(many))
    assert _status(engine) == []


@pytest.mark.law("L73")
async def test_a_confirm_that_fails_is_done_by_the_next_attempt(
    server: Server, engine: sa.Engine
) -> None:
    stuck = HoldSeats(seats=2, how="fails once")
    await _succeeds(server, hold(stuck))
    assert (await server.call(confirm(stuck))).outcome is Outcome.FAILED
    assert (counted(engine), _status(engine)) == ((8, 2, 0), ["held"])
    await _succeeds(server, confirm(stuck, attempt=2))
    assert counted(engine) == (8, 0, 2)


@pytest.mark.law("L74")
async def test_what_expires_is_released_and_a_later_confirm_refused(
    server: Server, engine: sa.Engine
) -> None:
    await _succeeds(server, hold(TWO, expires=SOON))
    await eventually(lambda: _status(engine) == ["expired"])
    assert counted(engine) == (10, 0, 0)
    refused = await server.call(confirm(TWO))
    assert (refused.outcome, refused.type) == (Outcome.REFUSED, "HoldExpired")
    await _succeeds(server, cancel(TWO), cancel(TWO, round=2))
    assert (counted(engine), _status(engine)) == ((10, 0, 0), ["expired"])


@pytest.mark.law("L74")
async def test_what_is_not_released_at_once_is_released_later(
    server: Server, engine: sa.Engine
) -> None:
    await _succeeds(server, hold(HoldSeats(seats=2, how="is not released at once"), expires=SOON))
    await eventually(lambda: _status(engine) == ["expired"])
    assert counted(engine) == (10, 0, 0)


@pytest.mark.law("L74")
async def test_what_has_expired_is_not_confirmed_although_nobody_has_released_it_yet(
    engine: sa.Engine,
) -> None:
    async with Server(theatre(), engine) as server:
        await _succeeds(server, hold(TWO))
    with engine.begin() as connection:
        connection.execute(sa.update(es_holds).values(expires_at=1.0))
    async with Server(theatre(), engine) as server:
        replies = await asyncio.gather(*(server.call(confirm(TWO)) for _ in range(2)))
        assert {reply.type for reply in replies} == {"HoldExpired"}
        await eventually(lambda: counted(engine) == (10, 0, 0))


@pytest.mark.law("L74")
async def test_what_expired_while_nobody_served_is_released_at_the_start(
    engine: sa.Engine,
) -> None:
    async with Server(theatre(), engine) as server:
        await asyncio.gather(*(_succeeds(server, hold(TWO, f"s-{n}")) for n in range(5)))
    with engine.begin() as connection:
        connection.execute(sa.update(es_holds).values(expires_at=1.0))
    async with Server(theatre(), engine), Server(theatre(), engine):
        await eventually(lambda: _status(engine) == ["expired"] * 5)
    assert counted(engine) == (10, 0, 0)


async def test_a_hold_without_a_time_is_not_held(server: Server, engine: sa.Engine) -> None:
    failed = await server.call(hold(TWO, expires=None))
    assert (failed.outcome, failed.retryafter) == (Outcome.FAILED, -1.0)
    assert "does not say how long" in failed.data["detail"]
    assert counted(engine) == (10, 0, 0)


@pytest.mark.law("L72", "L74", "L75")
async def test_whatever_comes_in_whatever_order_nothing_is_made_or_lost(tmp_path: Path) -> None:
    """Holds, confirms and cancels of three sagas, some expired at once, in every order."""
    engine = make_engine(f"sqlite:///{tmp_path / 'theatre.db'}")
    create_tables(theatre(), engine)
    make: dict[str, Callable[[str], Envelope]] = {
        "h": lambda saga: hold(TWO, saga),
        "t": lambda saga: hold(TWO, saga, expires=SOON),
        "c": lambda saga: confirm(TWO, saga),
        "x": lambda saga: cancel(TWO, saga),
    }
    sent = st.tuples(st.sampled_from("htcx"), st.sampled_from(["s-1", "s-2", "s-3"]))

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(sent, max_size=12))
    def plays(script: list[tuple[str, str]]) -> None:
        _fresh(engine)
        asyncio.run(_plays(script))

    async def _plays(script: list[tuple[str, str]]) -> None:
        ended: dict[str, set[str]] = {}
        async with Server(theatre(), engine) as server:
            for what, saga in script:
                reply = await server.call(make[what](saga))
                if what in "cx" and reply.outcome is Outcome.SUCCEEDED:
                    ended.setdefault(saga, set()).add(what)
                assert sum(counted(engine)) == SEATS
        confirmed = [saga for saga, ways in ended.items() if "c" in ways]
        assert all(ended[saga] == {"c"} for saga in confirmed)
        assert counted(engine)[2] == 2 * len(confirmed)

    await asyncio.to_thread(plays)
    engine.dispose()


@pytest.mark.law("L72", "L74", "L75")
async def test_those_that_share_a_transaction_are_settled_as_if_each_had_its_own(
    engine: sa.Engine,
) -> None:
    """Commands of three sagas, after some holds have expired: together and one by one."""
    make: dict[str, Callable[[str], Envelope]] = {
        "hold": lambda saga: hold(TWO, saga),
        "hold many": lambda saga: hold(HoldSeats(seats=7), saga),
        "hold, stuck": lambda saga: hold(HoldSeats(seats=2, how="fails once"), saga),
        "confirm": lambda saga: confirm(TWO, saga),
        "confirm again": lambda saga: confirm(TWO, saga, attempt=2, round=2),
        "cancel": lambda saga: cancel(TWO, saga),
        "cancel again": lambda saga: cancel(TWO, saga, round=2),
    }
    sagas = st.sampled_from(["s-1", "s-2", "s-3"])
    expired = st.lists(sagas, unique=True)
    sent = st.lists(st.tuples(st.sampled_from(sorted(make)), sagas), max_size=10)

    async def played(early: list[str], batches: list[list[Envelope]]) -> tuple[object, ...]:
        _fresh(engine)
        now = 0.0
        served = Runner(theatre(), engine, handler_seconds=10.0, now=lambda: now)
        jobs = [Job(hold(TWO, saga, expires=SOON)) for saga in early]
        await served.run(jobs)
        now = 1.0
        answers: list[object] = []
        for batch in batches:
            jobs = [Job(envelope) for envelope in batch]
            await served.run(jobs)
            answers += [_told(job) for job in jobs]
        served.disconnect()
        return answers, counted(engine), sorted(_status(engine))

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(expired, sent)
    def same(early: list[str], script: list[tuple[str, str]]) -> None:
        envelopes = [make[what](saga) for what, saga in script]
        together = asyncio.run(played(early, [envelopes]))
        assert together == asyncio.run(played(early, [[one] for one in envelopes]))

    await asyncio.to_thread(same)


async def test_the_holds_of_a_transaction_are_read_once_and_written_once(
    engine: sa.Engine,
) -> None:
    said: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *of: said.append(str(of[2])))
    served = Runner(theatre(), engine, handler_seconds=10.0)
    one = HoldSeats(seats=1)
    await served.run([Job(hold(one, f"s-{n}")) for n in range(6)])
    said.clear()
    ends = [confirm(one, f"s-{n}") for n in range(3)] + [cancel(one, f"s-{n}") for n in range(3, 6)]
    await served.run([Job(envelope) for envelope in [*ends, hold(one, "s-7"), hold(one, "s-8")]])
    served.disconnect()
    words = [text.split()[0] for text in said if "es_holds" in text]
    assert words == ["SELECT", "UPDATE", "INSERT"]
    assert counted(engine) == (5, 2, 3)


# ── what is refused at the start ─────────────────────────────────────────────────────────────────


def test_a_hold_is_confirmed_and_cancelled_and_nothing_else_is() -> None:
    class Hold(Command[None]):
        to = "shop"

    class Other(Command[None]):
        to = "shop"

    shop = Participant("shop")
    shop.tries(Hold)(lambda cmd, tx: None)
    shop.cancels(Other)(lambda hold, held, tx: None)
    assert shop.faults() == [
        "Hold is held by 'shop', which never confirms it: write @shop.confirms(Hold)",
        "Hold is held by 'shop', which never cancels it: write @shop.cancels(Hold)",
        "'shop' cancels Other, which it does not try",
    ]


async def test_a_participant_that_never_settles_a_hold_is_not_served(engine: sa.Engine) -> None:
    half = Participant("theatre")

    @half.tries(HoldBox)
    def hold_box(cmd: HoldBox, tx: SyncTx) -> None: ...

    with pytest.raises(DefinitionError, match=r"@theatre.confirms\(HoldBox\)"):
        await Server(half, engine).start()


async def test_a_participant_with_holds_needs_their_table(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    fence.metadata.create_all(engine)
    with pytest.raises(NotPrepared, match="no table `es_holds`"):
        await Server(theatre(), engine).start()
    engine.dispose()


def test_a_hold_is_settled_by_a_function_of_three_arguments() -> None:
    shop = Participant("theatre")
    with pytest.raises(DefinitionError, match="3 arguments: the hold, its answer and tx"):
        shop.confirms(HoldBox)(lambda hold, tx: None)  # type: ignore[arg-type,misc]
