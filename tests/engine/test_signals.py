"""A saga that waits: told by a message, over every store and pipe, and found by a new owner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from es_saga import IllegalOperation, InvalidInput, Message, NotFound, Saga
from es_saga.adapters.memory import MemoryStore, MemoryTransport
from es_saga.core.messages import Envelope
from es_saga.core.state import SagaStatus
from es_saga.engine.client import Client
from es_saga.engine.requests import SIGNAL_TYPE
from tests.engine.conftest import Ground
from tests.engine.errand import (
    PATIENCE,
    RETRY,
    Bring,
    Errand,
    Fetch,
    Fetched,
    PutBack,
    World,
    willing,
    world,
)

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("R009")]

NAP = timedelta(seconds=0.2)


class Approval(Message):
    by: str


patient = Saga("patient", Errand)


@patient.step(timeout=PATIENCE, retry=RETRY)
def fetch(e: Errand) -> Fetch:
    return Fetch(thing=e.thing)


@fetch.compensation
def put_back(e: Errand) -> PutBack:
    return PutBack(thing=e.thing)


patient.wait(Approval, timeout=timedelta(hours=1), when=lambda e: e.pence > 100)
patient.sleep("nap", NAP)


@patient.pivot(timeout=PATIENCE, retry=RETRY)
def bring(e: Errand, fetched: Fetched, approval: Approval | None) -> Bring:
    return Bring(shelf=fetched.shelf, receipt=approval.by if approval else "nobody")


DEFINITIONS = [patient.definition]


async def waiting(w: World, saga_id: str) -> None:
    await w.manager.begin(patient, Errand(thing="tea", pence=500), saga_id=saga_id)
    await w.until(saga_id, lambda state: state.status is SagaStatus.WAITING)


async def test_it_waits_until_it_is_told_then_sleeps_and_goes_on(ground: Ground) -> None:
    where: dict[str, Any] = {"tenant": ground.tenant, "definitions": DEFINITIONS}
    async with world(ground.store, ground.transport, **where) as w:
        client = Client(ground.transport, "errands", tenant=ground.tenant)
        await waiting(w, "e1")
    async with world(ground.store, ground.transport, **where) as w:  # another owner
        told = await client.signal("e1", "Approval", Approval(by="ada"))
        again = await client.signal("e1", "Approval", Approval(by="eve"))
        assert told.result()["version"] <= again.result()["version"]
        assert (await w.closed("e1")).status is SagaStatus.COMPLETED
        assert await w.history("e1") == [
            "SagaStarted",
            "StepStarted fetch",
            "StepSucceeded fetch",
            "StepStarted approval",
            "SignalReceived",
            "StepSucceeded approval",
            "StepStarted nap",
            "StepSucceeded nap",
            "StepStarted bring",
            "StepSucceeded bring",
            "SagaCompleted",
        ]


async def test_what_is_not_wanted_is_not_waited_for(ground: Ground) -> None:
    where: dict[str, Any] = {"tenant": ground.tenant, "definitions": DEFINITIONS}
    async with world(ground.store, ground.transport, **where) as w:
        await w.manager.begin(patient, Errand(thing="tea"), saga_id="e2")
        assert (await w.closed("e2")).status is SagaStatus.COMPLETED
        assert "StepSkipped approval" in await w.history("e2")


@pytest.fixture
async def w() -> AsyncIterator[World]:
    made = world(MemoryStore(), MemoryTransport(), script=willing, definitions=DEFINITIONS)
    async with made as found:
        yield found


@pytest.mark.parametrize(
    ("saga_id", "kind", "data", "error"),
    [
        ("nobody", "Approval", {"by": "ada"}, NotFound),
        ("e1", "Approbation", {"by": "ada"}, NotFound),
        ("e1", "Approval", {"by": 7}, InvalidInput),
    ],
)
async def test_a_wrong_message_is_refused_and_leaves_no_trace(
    w: World, saga_id: str, kind: str, data: dict[str, Any], error: type[Exception]
) -> None:
    await waiting(w, "e1")
    before = await w.history("e1")
    answer = await Client(w.transport, "errands").signal(saga_id, kind, data)
    with pytest.raises(error):
        answer.result()
    assert await w.history("e1") == before


async def test_nobody_waits_in_a_saga_that_is_closed(w: World) -> None:
    await waiting(w, "e1")
    client = Client(w.transport, "errands")
    (await client.signal("e1", "Approval", {"by": "ada"})).result()
    await w.closed("e1")
    (await client.signal("e1", "Approval", {"by": "ada"})).result()  # the same: it was heard
    await w.manager.begin(patient, Errand(thing="tea"), saga_id="e2")
    await w.closed("e2")
    with pytest.raises(IllegalOperation, match="waits for nothing any more"):
        (await client.signal("e2", "Approval", {"by": "ada"})).result()


async def test_a_message_that_nobody_awaits_an_answer_to_is_not_lost(ground: Ground) -> None:
    where: dict[str, Any] = {"tenant": ground.tenant, "definitions": DEFINITIONS}
    async with world(ground.store, ground.transport, **where) as w:
        data = {"type": "Approval", "data": {"by": "ada"}}
        envelope = Envelope(id="s-1", source="x", type=SIGNAL_TYPE, sagaid="nobody", data=data)
        await w.transport.publish(w.subjects.inbox("errands", "nobody"), envelope)
        letters = await ground.dead_letters(1)
        assert "ada" in letters[0].model_dump_json()
