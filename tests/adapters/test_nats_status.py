"""The status checker: any NATS client starts sagas, asks how they ended, cancels them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient
from nats.errors import Error
from structlog.testing import capture_logs

from es_saga.adapters import nats_service
from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_link import Login
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.adapters.nats_status import StatusChecker
from es_saga.adapters.store import connect
from es_saga.core.errors import Unavailable
from es_saga.database import make_engine
from es_saga.engine.client import Client
from es_saga.projections.audit import AuditView
from es_saga.projections.queries import Queries
from es_saga.projections.status import StatusView
from tests.adapters.pipes import SMALL
from tests.engine.errand import Silence, World, refusing, world

pytestmark = pytest.mark.anyio

ERRAND = {"type": "errand", "data": {"thing": "lamp"}}


class Asker:
    """A client that knows nothing of us but NATS."""

    def __init__(self, client: NatsClient, tenant: str) -> None:
        self.client = client
        self._root = f"saga.v1.{tenant}.svc"

    async def ask(self, name: str, body: Any, within: float = 15) -> tuple[str, Any]:
        """The error's code, or nothing, and what is said."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self.client.request(f"{self._root}.{name}", raw, timeout=within)
        return (answer.headers or {}).get("Nats-Service-Error-Code", ""), json.loads(answer.data)

    async def until(self, saga_id: str, ending: str) -> Any:
        async with asyncio.timeout(20):
            while True:
                _, found = await self.ask("status", {"saga_id": saga_id})
                if found.get("ending") == ending:
                    return found
                await asyncio.sleep(0.02)

    async def every(self, subject: str, count: int = 1) -> list[Any]:
        """What so many answer to one question."""
        inbox = self.client.new_inbox()
        heard: list[Any] = []
        enough = asyncio.Event()

        async def hear(message: Any) -> None:
            heard.append(json.loads(message.data))
            if len(heard) >= count:
                enough.set()

        subscription = await self.client.subscribe(inbox, cb=hear)  # pyright: ignore[reportUnknownMemberType]
        await self.client.publish(subject, b"", inbox)
        async with asyncio.timeout(10):
            await enough.wait()
        await subscription.unsubscribe()
        return heard


@asynccontextmanager
async def checking(
    server: EmbeddedNats, tenant: str, folder: Path, checkers: int = 1
) -> AsyncGenerator[tuple[World, Asker]]:
    url = f"sqlite:///{folder / 'log.db'}"
    store = connect(url, views=[StatusView(), AuditView()], migrate=True)
    pipe = await NatsTransport.connect(server.url, tenant=tenant, limits=SMALL)
    engine = make_engine(url)
    async with world(store, pipe, tenant=tenant) as running:
        made = [
            StatusChecker(
                [server.url],
                Login(),
                app="errands",
                tenant=tenant,
                queries=Queries(engine),
                client=Client(pipe, "errands", tenant=tenant),
            )
            for _ in range(checkers)
        ]
        for checker in made:
            await checker.open()
        client = NatsClient()
        await client.connect(server.url)
        yield running, Asker(client, tenant)
        await client.close()
        for checker in made:
            await checker.close()
    await pipe.close()
    await store.close()
    engine.dispose()


@pytest.fixture
async def asked(
    nats_server: EmbeddedNats, nats_tenant: str, tmp_path: Path
) -> AsyncIterator[tuple[World, Asker]]:
    async with checking(nats_server, nats_tenant, tmp_path) as found:
        yield found


Asked = tuple[World, Asker]


@pytest.mark.requirement("R077")
async def test_a_client_starts_a_saga_and_learns_from_the_status_checker_that_it_completed(
    asked: Asked,
) -> None:
    _, asker = asked
    code, started = await asker.ask("start", {**ERRAND, "key": "7"})
    assert (code, started["saga_id"], started["created"]) == ("", "errand-7", True)
    found = await asker.until("errand-7", "completed")
    assert (found["code"], found["business_id"]) == (200, "7")
    assert found["replies"]["pay"] == {"receipt": "r1"}
    code, again = await asker.ask("start", {**ERRAND, "key": "7"})
    assert (code, again["created"]) == ("", False)


@pytest.mark.requirement("R077")
async def test_refusals_errors_and_what_is_not_over_are_told_apart(asked: Asked) -> None:
    running, asker = asked
    running.town.script = refusing("Pay")
    await asker.ask("start", {**ERRAND, "key": "refused"})
    found = await asker.until("errand-refused", "refused")
    assert (found["code"], found["reason"], found["reason_step"]) == (409, "No", "pay")
    running.town.script = lambda envelope: Silence()
    await asker.ask("start", {**ERRAND, "key": "silent"})
    found = await asker.until("errand-silent", "pending")
    assert (found["code"], found["status"]) == (202, "running")
    await asker.ask("start", {"type": "errand", "data": {"thing": "poison"}, "key": "stuck"})
    found = await asker.until("errand-stuck", "failed")
    assert (found["code"], found["status"]) == (500, "stuck")


@pytest.mark.requirement("R078")
async def test_whoever_leaves_an_address_is_told_the_outcome(asked: Asked) -> None:
    _, asker = asked
    told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def hear(message: Any) -> None:
        told.set_result(json.loads(message.data))

    client: NatsClient = asker.client
    address = client.new_inbox()
    await client.subscribe(address, cb=hear)  # pyright: ignore[reportUnknownMemberType]
    await asker.ask("start", {**ERRAND, "key": "7", "notify": address})
    async with asyncio.timeout(20):
        envelope = await told
    assert envelope["data"]["status"] == "completed"
    assert envelope["sagaid"] == "errand-7"


async def test_a_saga_is_cancelled_with_actor_and_reason(asked: Asked) -> None:
    running, asker = asked
    running.town.script = lambda envelope: Silence() if envelope.type == "Pay" else None
    await asker.ask("start", {**ERRAND, "key": "7"})
    code, told = await asker.ask(
        "cancel", {"saga_id": "errand-7", "actor": "ada", "reason": "changed her mind"}
    )
    assert (code, told["saga_id"]) == ("", "errand-7")
    found = await asker.until("errand-7", "refused")
    assert found["reason"] == "cancelled: changed her mind"


BAD: dict[str, tuple[str, Any, str]] = {
    "unknown saga": ("status", {"saga_id": "nobody"}, "not-found"),
    "no id": ("status", {"saga_id": "a b"}, "invalid-input"),
    "no body": ("status", b"", "invalid-input"),
    "no json": ("status", b"\xff{", "invalid-input"),
    "more than is known": ("status", {"saga_id": "x", "wait": True}, "invalid-input"),
    "unknown type": ("start", {"type": "nothing", "data": {}}, "not-found"),
    "data does not fit": ("start", {"type": "errand", "data": {}}, "invalid-input"),
    "nothing to cancel": (
        "cancel",
        {"saga_id": "nobody", "actor": "a", "reason": "r"},
        "not-found",
    ),
    "no reason": ("cancel", {"saga_id": "nobody", "actor": "a", "reason": ""}, "invalid-input"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_request_is_a_micro_error_with_our_code(case: str, asked: Asked) -> None:
    name, body, expected = BAD[case]
    _, asker = asked
    code, told = await asker.ask(name, body)
    assert code == expected
    assert told["error"]["code"] == expected
    assert told["error"]["message"]


async def test_a_key_with_another_input_is_a_conflict(asked: Asked) -> None:
    _, asker = asked
    await asker.ask("start", {**ERRAND, "key": "7"})
    code, _ = await asker.ask("start", {"type": "errand", "data": {"thing": "x"}, "key": "7"})
    assert code == "conflict"


async def test_it_is_found_and_counted_as_a_micro_service(asked: Asked, nats_tenant: str) -> None:
    _, asker = asked
    await asker.ask("errands.status", {"saga_id": "nobody"})
    (info,) = await asker.every("$SRV.INFO.es_saga-errands")
    assert info["metadata"] == {"app": "errands"}
    assert {endpoint["subject"] for endpoint in info["endpoints"]} == {
        f"saga.v1.{nats_tenant}.svc.{of}{name}"
        for of in ("", "errands.")
        for name in ("status", "start", "cancel")
    }
    (stats,) = await asker.every("$SRV.STATS.es_saga-errands")
    counted = {one["subject"]: one for one in stats["endpoints"]}
    own = counted[f"saga.v1.{nats_tenant}.svc.errands.status"]
    assert own["num_requests"] == 1
    assert own["data"]["failed"] == 1


async def test_of_several_one_answers(
    nats_server: EmbeddedNats, nats_tenant: str, tmp_path: Path
) -> None:
    async with checking(nats_server, nats_tenant, tmp_path, checkers=3) as (_, asker):
        for _ in range(20):
            await asker.ask("status", {"saga_id": "nobody"})
        subject = f"saga.v1.{nats_tenant}.svc.status"
        asked = [
            endpoint["num_requests"]
            for one in await asker.every("$SRV.STATS.es_saga-errands", count=3)
            for endpoint in one["endpoints"]
            if endpoint["subject"] == subject
        ]
        assert len(asked) == 3
        assert sum(asked) == 20


async def test_more_than_it_can_answer_at_once_are_turned_away(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_service, "MAX_AT_ONCE", 0)
    _, asker = asked
    code, _ = await asked[1].ask("status", {"saga_id": "x"})
    assert code == "unavailable"
    monkeypatch.undo()
    code, _ = await asker.ask("status", {"saga_id": "x"})
    assert code == "not-found"


async def test_what_nobody_foresaw_is_told_without_its_inside(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Queries, saga_id: str) -> None:
        raise RuntimeError(f"a secret about {saga_id}")

    monkeypatch.setattr(Queries, "status", broken)
    code, told = await asked[1].ask("status", {"saga_id": "x"})
    assert code == "error"
    assert "secret" not in json.dumps(told)


async def test_after_the_broker_was_away_it_answers_again_and_has_told_of_it_once(
    tmp_path: Path, nats_tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_service, "RECONNECT_SECONDS", 0.01)
    with capture_logs() as told, EmbeddedNats(tmp_path / "nats") as server:
        async with checking(server, nats_tenant, tmp_path) as (_, asker):
            await asker.ask("start", {**ERRAND, "key": "7"})
            await asker.until("errand-7", "completed")
            server.kill()
            for _ in range(10):
                with pytest.raises((Error, TimeoutError)):
                    await asker.ask("status", {"saga_id": "errand-7"}, within=0.05)
            server.start()
            async with asyncio.timeout(20):
                while True:
                    try:
                        code, _ = await asker.ask("status", {"saga_id": "errand-7"}, within=0.5)
                        break
                    except (Error, TimeoutError):
                        await asyncio.sleep(0.05)
            assert code == ""
    assert [one["event"] for one in told].count("micro_service_error") <= 1


async def test_a_broker_out_of_reach_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_service, "CONNECT_SECONDS", 0.3)
    engine = make_engine(f"sqlite:///{tmp_path / 'log.db'}")
    with EmbeddedNats() as gone:
        url = gone.url
    transport: Any = None
    checker = StatusChecker(
        [url],
        Login(),
        app="errands",
        tenant="main",
        queries=Queries(engine),
        client=Client(transport, "errands"),
    )
    with pytest.raises(Unavailable):
        await checker.open()
    await checker.close()
    engine.dispose()
