"""From a delivery to the reply and the acknowledgement, in that order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from es_saga.core.errors import InvalidInput, Unavailable
from es_saga.core.messages import MAX_PAYLOAD_BYTES, Envelope, Outcome
from es_saga.database import make_engine
from es_saga.engine.ports import Consumer
from es_saga.participant import NotPrepared, Participant, Server, SyncTx, create_tables, serve
from tests.participant.pipe import Letter, Pipe
from tests.participant.warehouse import (
    Held,
    Hold,
    HoldPlainly,
    ask,
    eventually,
    holds,
    left,
    remembered,
    warehouse,
)

pytestmark = pytest.mark.anyio

TO = "saga.v1.main.rpl.shop.3.s-1"


@pytest.fixture
def pipe() -> Pipe:
    return Pipe()


@pytest.fixture
async def serving(engine: sa.Engine, pipe: Pipe) -> AsyncIterator[Server]:
    async with Server(warehouse(), engine, pipe, concurrency=5) as server:
        yield server


async def _settled(letter: Letter) -> tuple[object, ...]:
    await eventually(lambda: bool(letter.settled))
    assert len(letter.settled) == 1, "settled exactly once"
    return letter.settled[0]


@pytest.mark.requirement("R025", "R065")
async def test_a_command_is_answered_to_the_address_it_names(serving: Server, pipe: Pipe) -> None:
    command = ask(Hold(sku="pear", hold="h"), attempt=2, replyto=TO)
    assert await _settled(pipe.deliver(command)) == ("ack",)
    ((address, reply),) = pipe.published
    assert address == TO
    assert reply == Envelope(
        id="s-1/hold/do/2/r",
        source="svc/stock",
        type="Held",
        sagaid="s-1",
        step="hold",
        commandid="s-1/hold/do",
        attempt=2,
        outcome=Outcome.SUCCEEDED,
        causationid="s-1/hold/do/2",
        traceparent=command.traceparent,
        direction="REQUEST",
        data={"hold": "h"},
    )


@pytest.mark.requirement("R067")
async def test_a_service_reads_as_one_durable_consumer(serving: Server, pipe: Pipe) -> None:
    assert pipe.consumer == Consumer(
        name="svc-stock",
        stream="CMD",
        filter="saga.v1.main.cmd.stock.>",
        max_ack_pending=10,
        backoff=(1, 5, 30, 120),
        max_deliver=8,
    )


@pytest.mark.requirement("R074")
async def test_the_reply_is_published_after_the_commit(
    serving: Server, pipe: Pipe, engine: sa.Engine
) -> None:
    seen: list[set[str]] = []
    pipe.on_publish = lambda: seen.append(holds(engine))
    await _settled(pipe.deliver(ask(Hold(sku="pear", hold="h"), replyto=TO)))
    assert seen == [{"h"}]


async def test_the_command_is_acknowledged_after_the_reply_is_confirmed(
    serving: Server, pipe: Pipe
) -> None:
    pipe.confirming = False
    letter = pipe.deliver(ask(Hold(sku="pear", hold="h"), replyto=TO))
    await eventually(lambda: bool(pipe.published))
    assert letter.settled == []
    pipe.confirm()
    assert await _settled(letter) == ("ack",)


@pytest.mark.requirement("R030")
@pytest.mark.law("L23")
async def test_a_crash_between_commit_and_reply_is_repaired_by_redelivery(
    engine: sa.Engine,
) -> None:
    broken, pipe = Pipe(), Pipe()
    broken.confirming = False
    command = ask(Hold(sku="pear", hold="h"), replyto=TO)
    crashed = Server(warehouse(), engine, broken)
    await crashed.start()
    lost = broken.deliver(command)
    await eventually(lambda: bool(broken.published))
    await crashed.stop(within=0)
    async with Server(warehouse(), engine, pipe):
        assert await _settled(pipe.deliver(command, delivered=2)) == ("ack",)
    assert lost.settled == []
    assert pipe.published == broken.published
    assert left(engine, "pear") == 2


async def test_a_redelivery_during_the_work_is_settled_with_it(
    serving: Server, pipe: Pipe, engine: sa.Engine
) -> None:
    pipe.confirming = False
    command = ask(Hold(sku="pear", hold="h"), replyto=TO)
    letters = [pipe.deliver(command, n) for n in (1, 2)]
    await eventually(lambda: bool(pipe.published))
    letters.append(pipe.deliver(command, 3))
    pipe.confirm()
    assert [await _settled(letter) for letter in letters] == [("ack",)] * 3
    assert len(pipe.published) == 1


async def test_a_closed_transport_leaves_the_command_unsettled(
    serving: Server, pipe: Pipe, engine: sa.Engine
) -> None:
    pipe.confirming = False
    letter = pipe.deliver(ask(Hold(sku="pear", hold="h"), replyto=TO))
    await eventually(lambda: bool(pipe.published))
    pipe.confirm(Unavailable("closed"))
    await serving.stop()
    assert letter.settled == []


@pytest.mark.requirement("R065")
async def test_a_private_inbox_is_told_and_not_published_to(serving: Server, pipe: Pipe) -> None:
    letter = pipe.deliver(ask(Hold(sku="pear", hold="h"), replyto="_INBOX.abc"))
    assert await _settled(letter) == ("ack",)
    assert [address for address, _ in pipe.told] == ["_INBOX.abc"]
    assert pipe.published == []


async def test_a_command_without_an_address_is_carried_out_and_not_answered(
    serving: Server, pipe: Pipe, engine: sa.Engine
) -> None:
    assert await _settled(pipe.deliver(ask(Hold(sku="pear", hold="h")))) == ("ack",)
    assert holds(engine) == {"h"}
    assert pipe.published == []


@pytest.mark.parametrize(
    ("how", "error", "retry_after"),
    [
        ("unavailable", "Unavailable", 7.5),
        ("terminal", "Terminal", -1.0),
        ("raise after the write", "ValueError", None),
    ],
)
async def test_what_a_handler_raises_is_a_technical_failure(
    serving: Server, pipe: Pipe, how: str, error: str, retry_after: float | None
) -> None:
    letter = pipe.deliver(ask(Hold(sku="pear", hold="h", how=how), replyto=TO))
    assert await _settled(letter) == ("ack",)
    ((_, reply),) = pipe.published
    assert (reply.outcome, reply.type, reply.retryafter) == (Outcome.FAILED, error, retry_after)
    assert reply.data["error"] == error
    assert 0 < len(reply.data["detail"]) <= 500


async def test_a_database_error_tells_neither_statement_nor_parameters(
    server: Server, logged: list[MutableMapping[str, Any]]
) -> None:
    first, second = Hold(sku="pear", hold="secret"), Hold(sku="pear", hold="secret")
    await server.call(ask(first, "s-1"))
    reply = await server.call(ask(second, "s-2"))
    assert (reply.outcome, reply.type) == (Outcome.FAILED, "IntegrityError")
    assert "INSERT" not in reply.data["detail"]
    (entry,) = [entry for entry in logged if entry["event"] == "command_failed"]
    assert (entry["command_id"], entry["attempt"]) == ("s-2/hold/do", 1)
    assert "secret" not in str(entry["exc_info"].statement)
    assert entry["exc_info"].hide_parameters


BAD = [
    (ask(Hold(sku="pear", hold="h")).model_copy(update={"type": "Explode"}), "unknown-command"),
    (ask(Hold(sku="pear", hold="h")).model_copy(update={"data": {"sku": 5}}), "bad-payload"),
    (ask(Hold(sku="pear", hold="h")).model_copy(update={"data": None}), "bad-payload"),
]


@pytest.mark.parametrize(("command", "reason"), BAD)
async def test_what_cannot_be_read_is_a_dead_letter_and_the_saga_is_told(
    serving: Server, pipe: Pipe, engine: sa.Engine, command: Envelope, reason: str
) -> None:
    silent = pipe.deliver(command)
    settled = await _settled(silent)
    assert settled[:2] == ("reject", reason)
    told = pipe.deliver(command.model_copy(update={"replyto": TO, "id": "other"}))
    assert (await _settled(told))[:2] == ("reject", reason)
    ((_, reply),) = pipe.published
    assert (reply.outcome, reply.retryafter) == (Outcome.FAILED, -1.0)
    assert remembered(engine) == {}


@pytest.mark.law("L43")
async def test_a_command_without_a_key_is_refused_and_not_guessed(
    serving: Server, pipe: Pipe, server: Server
) -> None:
    for value in (None, "", "x" * 301):
        command = ask(Hold(sku="pear", hold="h"), replyto=TO)
        command = command.model_copy(update={"commandid": value})
        letter = pipe.deliver(command)
        assert (await _settled(letter))[:2] == ("reject", "bad-command-id")
        with pytest.raises(InvalidInput):
            await server.call(command)
    assert pipe.published == []


async def test_a_handler_that_breaks_its_promise_fails_for_good(
    engine: sa.Engine, logged: list[MutableMapping[str, Any]]
) -> None:
    stock = Participant("stock")

    def hold(cmd: HoldPlainly, tx: SyncTx) -> object:
        if cmd.how == "large":
            return Held(hold="x" * MAX_PAYLOAD_BYTES)
        return "held" if cmd.how == "other type" else None

    stock.register(HoldPlainly, hold)
    async with Server(stock, engine) as server:
        for number, how in enumerate(("large", "other type", "nothing")):
            command = HoldPlainly(sku="pear", hold="h", how=how)
            reply = await server.call(ask(command, f"s-{number}"))
            assert (reply.outcome, reply.type, reply.retryafter) == (
                Outcome.FAILED,
                "BadReply",
                -1.0,
            )
    assert remembered(engine) == {}
    told = [entry for entry in logged if entry["event"] == "command_failed"]
    named = [(entry["participant"], entry["saga"], entry["step"]) for entry in told]
    assert named == [("stock", f"s-{number}", "hold") for number in range(3)]
    assert "returned str, not Held or a Refusal" in told[1]["detail"]


async def test_stopping_finishes_what_is_running_and_takes_no_more(
    engine: sa.Engine, pipe: Pipe
) -> None:
    server = Server(warehouse(), engine, pipe)
    await server.start()
    running = [
        pipe.deliver(ask(Hold(sku="apple", hold=f"h-{n}", how="wait"), f"s-{n}", replyto=TO))
        for n in range(5)
    ]
    stopping = asyncio.create_task(server.stop())
    await eventually(lambda: pipe.stopped)
    late = pipe.deliver(ask(Hold(sku="apple", hold="late"), replyto=TO))
    await stopping
    assert [letter.settled for letter in running] == [[("ack",)]] * 5
    assert late.settled == [("nak", 0.0)]
    assert holds(engine) == {f"h-{n}" for n in range(5)}
    with pytest.raises(Unavailable):
        await server.call(ask(Hold(sku="apple", hold="late")))


async def test_stopping_waits_until_replies_are_confirmed(engine: sa.Engine, pipe: Pipe) -> None:
    server = Server(warehouse(), engine, pipe)
    await server.start()
    pipe.confirming = False
    letter = pipe.deliver(ask(Hold(sku="pear", hold="h"), replyto=TO))
    await eventually(lambda: bool(pipe.published))
    stopping = asyncio.create_task(server.stop())
    _, waiting = await asyncio.wait({stopping}, timeout=0.3)
    assert waiting, "it stopped without them"
    pipe.confirm()
    await stopping
    assert letter.settled == [("ack",)]


@pytest.mark.requirement("R069")
async def test_calls_beyond_the_limit_are_turned_away(engine: sa.Engine) -> None:
    async with Server(warehouse(), engine, concurrency=1) as server:
        results = await asyncio.gather(
            *(server.call(ask(Hold(sku="apple", hold=f"h-{n}"), f"s-{n}")) for n in range(5)),
            return_exceptions=True,
        )
    assert [type(result) for result in results] == [Envelope] * 2 + [Unavailable] * 3


@pytest.mark.requirement("R060")
async def test_a_participant_keeps_its_own_database(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path / name}.db" for name in ("one", "other")]
    command = ask(HoldPlainly(sku="pear", hold="h"))
    for url in urls:
        async with Server(warehouse(), url, create_tables=True) as server:
            reply = await server.call(command)
        assert reply.outcome is Outcome.REFUSED  # out of stock, in either of them
    for url in urls:
        assert remembered(make_engine(url)) == {"s-1/hold/do": "refused"}


async def test_without_a_fence_nothing_is_served(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'bare.db'}")
    with pytest.raises(NotPrepared, match="es_fence"):
        await Server(warehouse(), engine).start()
    create_tables(warehouse(), engine)
    create_tables(warehouse(), engine)
    async with Server(warehouse(), engine):
        pass


async def test_a_database_out_of_reach_is_told_at_the_start(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path / 'no' / 'folder.db'}", "postgresql://localhost:1/none"):
        with pytest.raises(Unavailable) as caught:
            await Server(warehouse(), url).start()
        assert "out of reach" in caught.value.message


async def test_serve_goes_on_until_it_is_told_to_stop(engine: sa.Engine, pipe: Pipe) -> None:
    until = asyncio.Event()
    task = asyncio.create_task(serve(warehouse(), engine, pipe, until=until, tenant="t2"))
    await eventually(lambda: pipe.consumer is not None)
    assert pipe.consumer is not None
    assert pipe.consumer.filter == "saga.v1.t2.cmd.stock.>"
    until.set()
    await task
    assert pipe.stopped
