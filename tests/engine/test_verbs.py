"""Verbs by message: tried out first, for one version, once an operation, and many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from es_saga import Command, ConflictError, IllegalOperation, InvalidInput, Message, NotFound, Saga
from es_saga.adapters.memory import MemoryStore, MemoryTransport
from es_saga.core.messages import MAX_PAYLOAD_BYTES, Envelope
from es_saga.core.sensitive import Sensitive
from es_saga.core.state import SagaStatus
from es_saga.engine.client import BULK_IN_FLIGHT, MAX_BULK, Client
from es_saga.engine.requests import VerbName, VerbRequest
from tests.engine.conftest import Ground
from tests.engine.errand import Answer, Errand, Silence, World, errand, refusing, willing, world

pytestmark = pytest.mark.anyio

SECRET = "4711-0815"


def request(verb: VerbName, **more: Any) -> VerbRequest:
    return VerbRequest(verb=verb, actor="ada", reason="looked at it", **more)


def unheard(command: Envelope) -> Answer:
    """Nobody ever answers a Fetch."""
    return Silence() if command.type == "Fetch" else willing(command)


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world(MemoryStore(), MemoryTransport(), script=unheard) as made:
        yield made


@pytest.fixture
def client(w: World) -> Client:
    return Client(w.transport, "errands")


async def begun(w: World, *saga_ids: str) -> None:
    """Errands whose Fetch is in flight."""
    for saga_id in saga_ids:
        await w.manager.begin(errand, Errand(thing=saga_id), saga_id=saga_id)


async def heard(w: World, message_id: str) -> None:
    """A command has come to its participant."""
    async with asyncio.timeout(10):
        while not w.town.count()[message_id]:
            await asyncio.sleep(0.01)


# ── one path over every store and pipe ───────────────────────────────────────────────────────────


@pytest.mark.requirement("R029", "R059")
async def test_a_verb_is_tried_out_carried_out_and_not_carried_out_twice(ground: Ground) -> None:
    async with world(ground.store, ground.transport, tenant=ground.tenant, script=unheard) as w:
        client = Client(ground.transport, "errands", tenant=ground.tenant)
        await begun(w, "e1")
        await heard(w, "e1/fetch/do/1")

        shown = await client.operate("e1", request("resend", dry_run=True))
        before = await w.history("e1")
        version = shown.result()["version"]
        acted = await client.operate(
            "e1", request("resend", expected_version=version, operation="op-1")
        )
        await heard(w, "e1/fetch/do/2")
        again = await client.operate(
            "e1", request("resend", expected_version=version, operation="op-1")
        )
        moved_on = await client.operate("e1", request("resend", expected_version=version))

        assert [event["topic"] for event in shown.events or ()] == ["OperatorResent", "StepRetried"]
        assert [command["id"] for command in shown.commands or ()] == ["e1/fetch/do/2"]
        assert before == ["SagaStarted", "StepStarted fetch"]
        added = ["OperatorResent fetch", "StepRetried fetch"]
        assert await w.history("e1") == [*before, *added]
        assert acted.result()["version"] == again.result()["version"] == version + 2
        assert (acted.events, acted.commands) == (None, None)
        assert moved_on.code == "conflict"
        turned = await client.operate("e1", request("compensate"))
        assert turned.result()["status"] == "compensating"
        assert (await w.closed("e1")).status is SagaStatus.COMPENSATED


# ── dry runs ─────────────────────────────────────────────────────────────────────────────────────


async def test_what_a_dry_run_shows_is_what_then_happens(w: World, client: Client) -> None:
    await begun(w, "e1")
    before = len((await w.store.load(["e1"]))["e1"])
    for verb in (request("resend", step="fetch"), request("cancel")):
        shown = await client.operate("e1", verb.model_copy(update={"dry_run": True}))
        assert len((await w.store.load(["e1"]))["e1"]) == before, "nothing was appended"
        (await client.operate("e1", verb)).result()
        events = (await w.store.load(["e1"]))["e1"][before:]
        told = [{"topic": type(e).__name__, **e.model_dump(mode="json")} for e in events]
        before += len(events)
        assert [_timeless(one) for one in shown.events or ()] == [_timeless(one) for one in told]


def _timeless(event: dict[str, Any]) -> dict[str, Any]:
    """An event without when and by which message."""
    return {name: v for name, v in event.items() if name not in ("at", "cause", "due", "retry_at")}


async def test_a_dry_run_answers_with_the_saga_as_it_is(w: World, client: Client) -> None:
    await begun(w, "e1")
    shown = await client.operate("e1", request("cancel", dry_run=True))
    assert (shown.result()["status"], shown.result()["version"]) == ("running", 2)
    state = await w.manager.operate("e1", request("cancel", dry_run=True))
    assert state.version == 2


async def test_nothing_of_a_dry_run_is_sent(w: World, client: Client) -> None:
    await begun(w, "e1")
    await client.operate("e1", request("resend", dry_run=True))
    await client.operate("e1", request("resend"))
    await heard(w, "e1/fetch/do/2")
    assert sorted(w.town.count().items()) == [("e1/fetch/do/1", 1), ("e1/fetch/do/2", 1)]


async def test_what_is_illegal_is_so_in_a_dry_run_too(w: World, client: Client) -> None:
    await begun(w, "e1")
    answer = await client.operate("e1", request("retry", dry_run=True))
    assert (answer.code, answer.events) == ("illegal-state", None)
    for saga_id, dry_run, error in (
        ("e1", request("retry"), IllegalOperation),
        ("nobody", request("cancel"), NotFound),
        ("not an id", request("cancel"), InvalidInput),
        ("e1", request("skip"), InvalidInput),
        ("e1", request("cancel", expected_version=9), ConflictError),
    ):
        with pytest.raises(error):
            await w.manager.preview(saga_id, dry_run)


class Card(Message):
    number: Sensitive[str]
    pence: int


class ChargeCard(Command[None]):
    to = "till"
    number: Sensitive[str]
    pence: int
    note: str = ""


payment = Saga("payment", Card)

bugs: list[str] = []


@payment.check
def charge(card: Card) -> ChargeCard:
    if bugs:
        raise ZeroDivisionError
    return ChargeCard(number=card.number, pence=card.pence)


@pytest.mark.requirement("R064")
async def test_a_dry_run_hides_what_is_sensitive() -> None:
    silent = world(
        MemoryStore(),
        MemoryTransport(),
        script=lambda _: Silence(),
        definitions=[payment.definition],
    )
    hidden = {"number": "***", "pence": 5, "note": ""}
    async with silent as w:
        bugs.append("charge")
        await w.manager.begin(payment, Card(number=SECRET, pence=5), saga_id="p1")
        bugs.clear()
        events, commands = await w.manager.preview("p1", request("resume"))
        assert SECRET not in f"{events}{commands}"
        assert [event.get("command") for event in events] == [None, hidden]
        assert [command["data"] for command in commands] == [hidden]
        await w.manager.operate("p1", request("resume"))
        await heard(w, "p1/charge/do/1")
        assert w.town.asked[-1].data["number"] == SECRET, "its participant gets it as it is"


wide = Saga("wide", Errand)


def _widely(name: str) -> None:
    def build(e: Errand) -> ChargeCard:
        return ChargeCard(number="1", pence=1, note="x" * (MAX_PAYLOAD_BYTES // 3))

    build.__name__ = name
    wide.check(after=())(build)


for _name in ("one", "two", "three"):
    _widely(_name)


async def test_what_is_too_large_to_be_shown_can_be_done_all_the_same() -> None:
    silent = world(
        MemoryStore(), MemoryTransport(), script=lambda _: Silence(), definitions=[wide.definition]
    )
    async with silent as w:
        client = Client(w.transport, "errands")
        await w.manager.begin(wide, Errand(thing="x"), saga_id="w1")
        shown = await client.operate("w1", request("resend", dry_run=True))
        assert shown.code == "illegal-state"
        assert "can be shown" in shown.message
        assert (await client.operate("w1", request("resend"))).code is None


# ── many at a time ───────────────────────────────────────────────────────────────────────────────


async def test_many_are_operated_on_and_none_stops_the_others(w: World, client: Client) -> None:
    await begun(w, "e1", "e2", "e3", "e4")
    await client.operate("e2", request("cancel"))
    wanted = ["e1", "nobody", "e2", "no id", "e3", "e1", "e4"]
    versions = {"e3": 2, "e4": 9}

    results = await client.operate_all(wanted, request("compensate"), versions=versions)

    assert [(one.saga_id, one.ok, one.code) for one in results] == [
        ("e1", True, None),
        ("nobody", False, "not-found"),
        ("e2", False, "illegal-state"),
        ("no id", False, "invalid-input"),
        ("e3", True, None),
        ("e4", False, "conflict"),
    ]
    assert results[0].result()["status"] == "compensating"
    assert "compensated already" in results[2].message
    assert all(one.message for one in results if not one.ok)
    for saga_id, times in (("e1", 1), ("e3", 1), ("e4", 0)):
        assert (await w.history(saga_id)).count("OperatorCompensated") == times


async def test_a_bulk_that_is_repeated_does_what_is_left_and_nothing_twice(
    w: World, client: Client
) -> None:
    await begun(w, "e1", "e2")
    verb = request("resend", operation="night-shift")
    first = await client.operate_all(["e1"], verb)
    second = await client.operate_all(["e1", "e2"], verb)
    assert [one.ok for one in (*first, *second)] == [True, True, True]
    for saga_id in ("e1", "e2"):
        assert (await w.history(saga_id)).count("OperatorResent fetch") == 1
    causes = {event.cause for event in (await w.store.load(["e2"]))["e2"][2:]}
    assert causes == {"e2/resend/night-shift"}
    await client.operate_all(["e1", "e2"], request("resend"))
    assert (await w.history("e1")).count("OperatorResent fetch") == 2, "another operation"
    logs = await w.store.load(["e1", "e2"])
    (name,) = {(log[-1].cause or "").partition("/resend/")[2] for log in logs.values()}
    assert name != "night-shift", "its own, and one for both"


async def test_a_dry_run_of_many_shows_each_and_does_nothing(w: World, client: Client) -> None:
    await begun(w, "e1", "e2")
    results = await client.operate_all(["e1", "e2"], request("cancel", dry_run=True))
    topics = [[event["topic"] for event in one.events or ()] for one in results]
    assert topics == [["OperatorCancelled", "CompensationStarted"]] * 2
    assert await w.history("e1") == ["SagaStarted", "StepStarted fetch"]


async def test_too_many_are_refused_before_anything_is_done(w: World, client: Client) -> None:
    await begun(w, "e1")
    too_many = ["e1", *(f"x{number}" for number in range(MAX_BULK))]
    with pytest.raises(InvalidInput, match="1001 sagas are too many: 1000 at a time"):
        await client.operate_all(too_many, request("cancel"))
    assert await w.history("e1") == ["SagaStarted", "StepStarted fetch"]
    assert await client.operate_all([], request("cancel")) == []


class Counting(MemoryTransport):
    """Knows how many requests wait for their answers at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = self.most = 0

    async def request(self, subject: str, envelope: Envelope, *, timeout: float) -> Envelope:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            return await super().request(subject, envelope, timeout=timeout)
        finally:
            self.waiting -= 1


async def test_so_many_are_asked_for_at_a_time() -> None:
    transport = Counting()
    client = Client(transport, "errands")
    ids = [f"e{number}" for number in range(BULK_IN_FLIGHT * 2)]
    async with world(MemoryStore(), transport, script=unheard) as w:
        await begun(w, *ids)
        results = await client.operate_all(ids, request("cancel"))
    assert all(one.ok for one in results)
    assert [one.saga_id for one in results] == ids
    assert transport.most == BULK_IN_FLIGHT


async def test_whom_nobody_answers_for_is_told_so(w: World) -> None:
    elsewhere = Client(w.transport, "nobody-runs-this")
    results = await elsewhere.operate_all(["e1", "e2"], request("cancel"), timeout=0.05)
    assert [one.code for one in results] == ["unavailable", "unavailable"]


# ── what the process manager remembers may be old ────────────────────────────────────────────────


async def test_a_verb_is_not_refused_for_what_a_rival_has_changed_since() -> None:
    store = MemoryStore()
    first = world(store, MemoryTransport(), script=unheard)
    second = world(store, MemoryTransport(), script=unheard)
    async with first as a, second as b:
        await begun(a, "e1")
        moved_on = await b.manager.operate("e1", request("resend"))
        assert moved_on.version == 4
        _, (command,) = await a.manager.preview("e1", request("resend"))
        assert command["attempt"] == 3
    async with world(store, MemoryTransport(), script=unheard) as a:
        await begun(a, "e2")
        async with world(store, MemoryTransport(), script=unheard) as b:
            await b.manager.operate("e2", request("resend"))
            state = await a.manager.operate("e2", request("cancel", expected_version=4))
            assert state.status is SagaStatus.COMPENSATING


async def test_a_refusal_is_final_once_the_log_has_been_asked() -> None:
    async with world(MemoryStore(), MemoryTransport(), script=refusing("Bring")) as w:
        await begun(w, "e1")
        await w.closed("e1")
        with pytest.raises(IllegalOperation, match="it is closed"):
            await w.manager.operate("e1", request("resume"))


async def test_an_earlier_release_understands_a_request_that_asks_for_nothing_new() -> None:
    """It refuses fields that it has not heard of; so what is as ever is left out."""
    asked: list[Envelope] = []

    class Deaf(MemoryTransport):
        async def request(self, subject: str, envelope: Envelope, *, timeout: float) -> Envelope:
            asked.append(envelope)
            return envelope.model_copy(update={"data": {}})

    await Client(Deaf(), "errands").operate("e1", request("retry"))
    await Client(Deaf(), "errands").operate("e1", request("retry", dry_run=True))
    assert asked[0].data == {"verb": "retry", "actor": "ada", "reason": "looked at it"}
    assert asked[1].data["dry_run"] is True


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a/b"])
def test_an_operation_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="operation"):
        request("cancel", operation=name)
