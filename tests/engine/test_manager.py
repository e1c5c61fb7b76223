"""One process manager: what it asks, what it makes of answers, and what it keeps."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from es_saga import ConflictError, InvalidInput, NotFound
from es_saga.core.aggregate import SagaStatus
from es_saga.core.messages import Envelope, Outcome
from es_saga.engine.client import Client
from es_saga.engine.ports import Consumer, Delivery
from es_saga.engine.requests import VerbRequest
from tests.engine.conftest import Ground
from tests.engine.errand import (
    Answer,
    Errand,
    Fetched,
    Paid,
    Silence,
    errand,
    glance,
    refusing,
    reply_to,
    willing,
    world,
)

pytestmark = pytest.mark.anyio

FORWARD = [
    "SagaStarted",
    "StepStarted fetch",
    "StepSucceeded fetch",
    "StepStarted pay",
    "StepSucceeded pay",
    "StepStarted bring",
]


@pytest.mark.requirement("R001", "R010", "R022", "R023", "R065")
async def test_one_coordinator_commands_every_participant_in_order(ground: Ground) -> None:
    async with world(ground.store, ground.transport, tenant=ground.tenant) as w:
        state = await w.run(saga_id="e1")
    assert state.status is SagaStatus.COMPLETED
    assert await w.history("e1") == [*FORWARD, "StepSucceeded bring", "SagaCompleted"]
    assert [(e.type, e.sagaid, e.direction) for e in w.town.asked] == [
        ("Fetch", "e1", "REQUEST"),
        ("Pay", "e1", "REQUEST"),
        ("Bring", "e1", "REQUEST"),
    ]
    assert w.town.asked[2].data == {"shelf": "s1", "receipt": "r1"}


@pytest.mark.requirement("R025", "R026", "R027", "R032", "R075")
async def test_a_refusal_undoes_what_was_done_in_reverse_order(ground: Ground) -> None:
    script = refusing("Bring")
    async with world(ground.store, ground.transport, tenant=ground.tenant, script=script) as w:
        state = await w.run(saga_id="e1")
    assert state.status is SagaStatus.COMPENSATED
    assert (await w.history("e1"))[6:] == [
        "StepRefused bring",
        "CompensationStarted bring",
        "CompensationIssued pay",
        "CompensationSucceeded pay",
        "CompensationIssued fetch",
        "CompensationSucceeded fetch",
        "SagaCompensated",
    ]
    undos = [e for e in w.town.asked if e.direction == "CANCEL"]
    assert [(e.type, e.commandid, e.undoes) for e in undos] == [
        ("GiveBack", "e1/pay/undo", "e1/pay/do"),
        ("PutBack", "e1/fetch/undo", "e1/fetch/do"),
    ]


@pytest.mark.requirement("R029", "R045")
async def test_an_unanswered_command_is_sent_again_under_the_same_id(ground: Ground) -> None:
    def script(command: Envelope) -> Answer:
        first_pay = command.type == "Pay" and command.attempt == 1
        return Silence() if first_pay else willing(command)

    async with world(ground.store, ground.transport, tenant=ground.tenant, script=script) as w:
        state = await w.run(saga_id="e1")
    assert state.status is SagaStatus.COMPLETED
    pays = [(e.id, e.commandid) for e in w.town.asked if e.type == "Pay"]
    assert pays == [("e1/pay/do/1", "e1/pay/do"), ("e1/pay/do/2", "e1/pay/do")]


@pytest.mark.requirement("R033", "R045")
async def test_a_step_that_is_never_answered_is_undone_as_if_it_had_happened(
    ground: Ground,
) -> None:
    def script(command: Envelope) -> Answer:
        return Silence() if command.type == "Pay" else willing(command)

    async with world(ground.store, ground.transport, tenant=ground.tenant, script=script) as w:
        state = await w.run(saga_id="e1")
    assert state.status is SagaStatus.COMPENSATED
    assert sum(e.type == "Pay" for e in w.town.asked) == 3
    assert [e.type for e in w.town.asked][-2:] == ["GiveBack", "PutBack"]


@pytest.mark.requirement("R030", "R031")
async def test_repeated_foreign_and_late_replies_change_nothing(ground: Ground) -> None:
    def script(command: Envelope) -> list[Answer]:
        return [willing(command), willing(command)]

    async with world(ground.store, ground.transport, tenant=ground.tenant, script=script) as w:
        state = await w.run(saga_id="e1")
        before = await w.history("e1")
        pay = next(e for e in w.town.asked if e.type == "Pay")
        inbox = w.subjects.inbox("errands", "e1")
        strays: list[dict[str, object]] = [
            {"attempt": 7},
            {"commandid": "e1/nothing/do"},
            {"commandid": "e1/fetch/undo"},
            {"outcome": Outcome.REFUSED},
        ]
        for number, changes in enumerate(strays):
            stray = reply_to(pay, Paid(receipt="other"), id=f"stray-{number}", **changes)
            await ground.transport.publish(inbox, stray)
        await w.run(saga_id="e2")
        assert await w.history("e1") == before
    assert state.status is SagaStatus.COMPLETED


async def test_what_cannot_be_a_reply_goes_to_the_dead_letters(ground: Ground) -> None:
    async with world(ground.store, ground.transport, tenant=ground.tenant) as w:
        command = Envelope(id="x", source="t", type="Fetch", commandid="ghost/fetch/do")
        inbox = w.subjects.inbox("errands", "ghost")
        unknown = reply_to(command, Fetched(shelf="s"), id="m1")
        nameless = Envelope(id="m2", source="t", type="Fetched", sagaid="ghost")
        for stray in (unknown, nameless):
            await ground.transport.publish(inbox, stray)
        await w.run()
        letters = await ground.dead_letters(2)
    assert {letter.data["reason"] for letter in letters} == {"unknown-saga", "bad-reply"}


async def test_a_reply_that_does_not_fit_its_model_is_put_aside_and_the_step_asked_again(
    ground: Ground,
) -> None:
    def script(command: Envelope) -> Answer:
        garbled = command.type == "Pay" and command.attempt == 1
        return Fetched(shelf="the wrong model") if garbled else willing(command)

    with capture_logs() as logged:
        async with world(ground.store, ground.transport, tenant=ground.tenant, script=script) as w:
            state = await w.run(saga_id="e1")
    assert state.status is SagaStatus.COMPLETED
    assert "StepRetried pay" in await w.history("e1")
    (told,) = [entry for entry in logged if entry["event"] == "bad_reply"]
    assert (told["saga"], told["step"]) == ("e1", "pay")
    assert told["source"]
    assert "pay: the reply is no Paid: receipt: Field required" in told["why"]
    assert "wrong model" not in str(told), "nobody's data"


@pytest.mark.requirement("R024")
async def test_one_key_is_one_saga(ground: Ground) -> None:
    async with world(ground.store, ground.transport, tenant=ground.tenant) as w:
        first, created = await w.manager.begin(errand, Errand(thing="lamp"), key="k1")
        await w.closed(first.saga_id)
        again, created_again = await w.manager.begin(errand, Errand(thing="lamp"), key="k1")
        assert (created, created_again) == (True, False)
        assert again.saga_id == first.saga_id == "errand-k1"
        with pytest.raises(ConflictError, match="another input"):
            await w.manager.begin(errand, Errand(thing="vase"), key="k1")
    assert sum(e.type == "Fetch" for e in w.town.asked) == 1


async def test_bad_starts_are_refused_and_write_nothing(ground: Ground) -> None:
    async with world(ground.store, ground.transport, tenant=ground.tenant) as w:
        with pytest.raises(NotFound, match="no saga type 'nonsense'"):
            await w.manager.begin("nonsense", {})
        with pytest.raises(InvalidInput, match="does not fit Errand"):
            await w.manager.begin("errand", {"pence": "many"})
        with pytest.raises(InvalidInput, match="cannot be a saga id"):
            await w.manager.begin("errand", {"thing": "a"}, saga_id="no spaces please")
        with pytest.raises(InvalidInput, match="are allowed"):
            await w.manager.begin("errand", {"thing": "x" * 300_000}, saga_id="big")
    assert sum([await ground.store.head(part) for part in range(16)]) == 0


@pytest.mark.requirement("R020")
async def test_several_saga_types_run_side_by_side(ground: Ground) -> None:
    async with world(ground.store, ground.transport, tenant=ground.tenant) as w:
        one, _ = await w.manager.begin(errand, Errand(thing="a"))
        two, _ = await w.manager.begin(glance, Errand(thing="b"))
        states = [await w.closed(one.saga_id), await w.closed(two.saga_id)]
    assert [s.origin.saga_type for s in states] == ["errand", "glance"]
    assert all(s.status is SagaStatus.COMPLETED for s in states)


async def test_a_poison_saga_is_parked_with_its_traceback_and_delays_no_other(
    ground: Ground,
) -> None:
    async with world(ground.store, ground.transport, tenant=ground.tenant) as w:
        state, _ = await w.manager.begin(errand, Errand(thing="poison"), saga_id="p1")
        other = await w.run()
    assert state.status is SagaStatus.STUCK
    assert state.stuck is not None
    assert "nobody fetches poison" in state.stuck.detail
    assert "Traceback" in state.stuck.detail
    assert other.status is SagaStatus.COMPLETED


async def test_requests_by_message_are_answered_by_the_owner_of_the_part(ground: Ground) -> None:
    def script(command: Envelope) -> Answer:
        return Silence() if command.type == "Fetch" else willing(command)

    async with world(ground.store, ground.transport, tenant=ground.tenant, script=script) as w:
        client = Client(ground.transport, "errands", tenant=ground.tenant)
        answer = await client.start("errand", Errand(thing="a"), key="k")
        assert (answer.created, answer.result()["status"]) == (True, "running")
        repeated = await client.start("errand", Errand(thing="a"), key="k")
        assert not repeated.created
        for request, error in (
            (client.start("errand", Errand(thing="b"), key="k"), ConflictError),
            (client.start("nonsense", {}, key="k"), NotFound),
            (client.start("errand", {"pence": 1}, key="k2"), InvalidInput),
        ):
            with pytest.raises(error):
                (await request).result()
        verb = VerbRequest(verb="cancel", actor="ada", reason="changed my mind")
        cancelled = (await client.operate("errand-k", verb)).result()
        assert cancelled["status"] == "compensating"
        with pytest.raises(NotFound):
            (await client.operate("nobody", verb)).result()
        state = await w.closed("errand-k")
    assert state.status is SagaStatus.COMPENSATED
    assert "OperatorCancelled" in await w.history("errand-k")


@pytest.mark.requirement("R052", "R054")
async def test_a_cache_smaller_than_the_open_sagas_only_costs_time(ground: Ground) -> None:
    async with world(ground.store, ground.transport, tenant=ground.tenant, cached=16) as w:
        started = await asyncio.gather(
            *(w.manager.begin(errand, Errand(thing=f"t{n}")) for n in range(60))
        )
        states = [await w.closed(state.saga_id) for state, _ in started]
    assert all(state.status is SagaStatus.COMPLETED for state in states)
    assert max(w.town.count().values()) == 1


@pytest.mark.requirement("R076")
async def test_whoever_asked_to_be_notified_is_told_the_outcome(ground: Ground) -> None:
    async with world(ground.store, ground.transport, tenant=ground.tenant) as w:
        told: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()

        def listen(delivery: Delivery) -> None:
            told.set_result(delivery.envelope)
            delivery.ack()

        consumer = Consumer("listener", "RPL", f"{w.subjects.root}.rpl.listener.>")
        await ground.transport.consume(consumer, listen)
        address = w.subjects.inbox("listener", "e1")
        await w.manager.begin(errand, Errand(thing="a"), saga_id="e1", notify=address)
        async with asyncio.timeout(10):
            notice = await told
    assert notice.outcome is Outcome.SUCCEEDED
    assert notice.data["status"] == "completed"
