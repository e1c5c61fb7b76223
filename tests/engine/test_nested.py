"""A saga that runs another: over every store and pipe, and through kills of the manager."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import pytest

from es_saga import Saga
from es_saga.adapters.memory import MemoryStore, MemoryTransport
from es_saga.core.messages import Envelope, Subjects
from es_saga.core.nested import command_of
from es_saga.core.state import SagaState, SagaStatus
from es_saga.engine.ports import Transport
from es_saga.engine.requests import VerbRequest
from tests.engine.conftest import Ground
from tests.engine.errand import REPLIES, Answer, Silence, World, willing, world
from tests.engine.voyage import Booking, No, Voyage, booking, hasty, voyage

pytestmark = pytest.mark.anyio

DEFINITIONS = [voyage.definition, hasty.definition, booking.definition]
CHILD = "v1--book"
CANCEL = VerbRequest(verb="cancel", actor="ann", reason="it rains")


def around(
    ground: Ground, transport: object = None, **options: Any
) -> AbstractAsyncContextManager[World]:
    pipe = cast(Transport, transport or ground.transport)
    return world(ground.store, pipe, tenant=ground.tenant, definitions=DEFINITIONS, **options)


async def begin(w: World, saga: Saga[Voyage] = voyage) -> None:
    await w.manager.begin(saga, Voyage(who="ann"), saga_id="v1")


def refusing(*commands: str) -> Callable[[Envelope], Answer]:
    return lambda envelope: No() if envelope.type in commands else willing(envelope)


def silent(*commands: str) -> Callable[[Envelope], Answer]:
    return lambda envelope: Silence() if envelope.type in commands else willing(envelope)


# ── how it ends ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.law("L59")
async def test_a_child_is_held_until_its_parent_ends(ground: Ground) -> None:
    async with around(ground) as w:
        await begin(w)
        assert (await w.closed("v1")).status is SagaStatus.COMPLETED
        assert (await w.history("v1"))[-6:] == [
            "StepSucceeded book",
            "StepStarted _pay",
            "StepSucceeded _pay",
            "StepStarted close_book",
            "StepSucceeded close_book",
            "SagaCompleted",
        ]
        assert (await w.history(CHILD))[-4:] == [
            "StepSucceeded seat",
            "SagaHeld",
            "ParentDecided",
            "SagaCompleted",
        ]


@pytest.mark.law("L59")
async def test_a_child_is_undone_with_its_parent(ground: Ground) -> None:
    async with around(ground, script=refusing("Settle")) as w:
        await begin(w)
        assert (await w.closed("v1")).status is SagaStatus.COMPENSATED
        assert (await w.history(CHILD))[-7:] == [
            "ParentDecided",
            "CompensationStarted",
            "CompensationIssued seat",
            "CompensationSucceeded seat",
            "CompensationIssued bed",
            "CompensationSucceeded bed",
            "SagaCompensated",
        ]


async def test_a_child_that_is_refused_refuses_its_parents_step(ground: Ground) -> None:
    async with around(ground, script=refusing("BookSeat")) as w:
        await begin(w)
        assert (await w.closed("v1")).status is SagaStatus.COMPENSATED
        assert "StepRefused book" in await w.history("v1")
        assert "CompensationIssued book" not in await w.history("v1")
        assert (await w.closed(CHILD)).status is SagaStatus.COMPENSATED


@pytest.mark.law("L60")
async def test_a_child_that_its_operator_cancels_refuses_and_no_more(ground: Ground) -> None:
    willing_by_now = [silent("BookSeat")]

    def script(envelope: Envelope) -> Answer:
        return willing_by_now[-1](envelope)

    async with around(ground, script=script) as w:
        await begin(w)
        await w.until(CHILD, lambda saga: "seat" in saga.steps)
        willing_by_now.append(lambda envelope: REPLIES.get(envelope.type))
        await w.manager.operate(CHILD, CANCEL)
        assert (await w.closed("v1")).status is SagaStatus.COMPENSATED
        history = await w.history("v1")
        assert history[history.index("CompensationStarted book") - 1] == "StepRefused book"


async def test_a_parent_that_is_cancelled_undoes_a_child_wherever_it_stands(ground: Ground) -> None:
    async with around(ground, script=silent("BookSeat")) as w:
        await begin(w, hasty)
        await w.until(CHILD, lambda saga: "seat" in saga.steps)
        await w.manager.operate("v1", CANCEL)
        await w.until(CHILD, lambda saga: saga.decided is not None)
        assert "CompensationIssued book" in await w.history("v1")


# ── what is lost on the way ──────────────────────────────────────────────────────────────────────


class Losing:
    """A transport that loses some messages, once; or whose process dies before it sends them."""

    def __init__(self, transport: Transport, *ids: str, dies: bool) -> None:
        self._transport = transport
        self.ids = set(ids)
        self.lost = asyncio.Event()
        self._dies = dies

    def publish(
        self, subject: str, envelope: Envelope, *, ttl: float | None = None
    ) -> asyncio.Future[None]:
        if envelope.id not in self.ids:
            return self._transport.publish(subject, envelope, ttl=ttl)
        self.lost.set()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._dies:
            self.ids.discard(envelope.id)
            future.set_result(None)
        return future

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


WAY_TO_THE_END = ["v1/book/do/1", "v1/book/do/1/r", "v1/close_book/do/1", "v1/close_book/do/1/r"]
WAY_BACK = ["v1/book/undo/1", "v1/book/undo/1/r"]


def _fate(lost: str) -> tuple[Callable[[Envelope], Answer], SagaStatus]:
    if lost in WAY_TO_THE_END:
        return willing, SagaStatus.COMPLETED
    return refusing("Settle"), SagaStatus.COMPENSATED


@pytest.mark.requirement("R007", "R074")
@pytest.mark.parametrize("lost", WAY_TO_THE_END + WAY_BACK)
async def test_what_was_committed_and_not_sent_is_sent_by_the_next_owner(
    lost: str, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parent and child wait an hour before they ask again: so nobody has asked again."""
    monkeypatch.setattr("es_saga.engine.manager.DRAIN_SECONDS", 0.1)
    script, ending = _fate(lost)
    dying = Losing(ground.transport, lost, dies=True)
    async with around(ground, dying, script=script) as w:
        await begin(w)
        async with asyncio.timeout(20):
            await dying.lost.wait()
    async with around(ground, script=script) as w:
        assert (await w.closed("v1")).status is ending
        assert (await w.closed(CHILD)).status is ending


@pytest.mark.requirement("R049")
@pytest.mark.parametrize("lost", WAY_TO_THE_END + WAY_BACK)
async def test_what_the_broker_loses_is_asked_for_and_answered_again(lost: str) -> None:
    ground = Ground(MemoryStore(), MemoryTransport(), "main")
    script, ending = _fate(lost)
    async with around(ground, Losing(ground.transport, lost, dies=False), script=script) as w:
        await begin(w, hasty)
        assert (await w.closed("v1")).status is ending
        assert (await w.closed(CHILD)).status is ending
        sent = [event for event in await w.history(CHILD) if event == "StepStarted bed"]
        assert len(sent) == 1, "it is the same child"


# ── bad input ────────────────────────────────────────────────────────────────────────────────────


def asked(ground: Ground, **changes: Any) -> Envelope:
    """A parent's request to its child, as it is or as it should not be."""
    begin = command_of("begin", booking)
    fields: dict[str, Any] = {
        "id": "x/book/do/1",
        "source": "somebody",
        "type": begin.__name__,
        "sagaid": "x",
        "runs": "booking",
        "commandid": "x/book/do",
        "replyto": Subjects(ground.tenant).inbox("errands", "v1"),
        "data": {"order": "begin", "input": {"who": "ann"}, "version": 1},
    }
    return Envelope.model_validate(fields | changes)


async def _send(ground: Ground, envelope: Envelope) -> None:
    inbox = Subjects(ground.tenant).inbox("errands", "x--book")
    await ground.transport.publish(inbox, envelope)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"data": {"order": "begin", "input": {}, "version": 1}}, "InvalidInput"),
        ({"data": {"order": "eat"}}, "InvalidInput"),
    ],
)
async def test_a_request_that_cannot_be_met_is_answered_with_a_failure(
    changes: dict[str, Any], error: str, ground: Ground
) -> None:
    replies: list[Envelope] = []
    heard = asyncio.Event()

    class Hearing(Losing):
        def publish(
            self, subject: str, envelope: Envelope, *, ttl: float | None = None
        ) -> asyncio.Future[None]:
            if envelope.commandid == "x/book/do":
                replies.append(envelope)
                heard.set()
            return super().publish(subject, envelope, ttl=ttl)

    async with around(ground, Hearing(ground.transport, dies=False)):
        await _send(ground, asked(ground, **changes))
        async with asyncio.timeout(10):
            await heard.wait()
    (reply,) = replies
    assert (reply.outcome, reply.type) == ("failed", error)
    assert reply.retryafter == -1.0


async def test_a_request_that_names_no_command_is_put_aside(ground: Ground) -> None:
    async with around(ground) as w:
        await _send(ground, asked(ground, commandid="nonsense"))
        assert len(await ground.dead_letters(1)) == 1
        assert await w.state("x--book") is None


async def test_an_id_that_is_taken_fails_the_step_for_good(ground: Ground) -> None:
    async with around(ground) as w:
        await w.manager.begin(booking, Booking(who="ann"), saga_id=CHILD)
        await w.closed(CHILD)
        await begin(w)
        state: SagaState = await w.closed("v1")
        assert state.status is SagaStatus.COMPENSATED
        assert state.failure is not None
        assert state.failure.why == "ConflictError"
