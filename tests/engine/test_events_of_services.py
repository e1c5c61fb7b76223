"""A saga that a service's event begins, or signals: over every store and pipe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from es_saga.adapters.memory import MemoryStore, MemoryTransport
from es_saga.core.state import SagaStatus
from es_saga.engine import arrival, inbox
from tests.engine.conftest import Ground
from tests.engine.errand import World, errand, world
from tests.engine.listener import (
    ORDERED,
    PAID,
    SEALED,
    WEIGHED,
    Ordered,
    Paid,
    Sealed,
    parcel,
    tell,
)

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("R002")]

DEFINITIONS = [parcel.definition, errand.definition]

HISTORY = [
    "SagaStarted",
    "StepStarted fetch",
    "StepSucceeded fetch",
    "StepStarted paid",
    "SignalReceived",
    "StepSucceeded paid",
    "StepStarted weighed",
    "SignalReceived",
    "StepSucceeded weighed",
    "StepStarted sealed",
    "SignalReceived",
    "StepSucceeded sealed",
    "SagaCompleted",
]


@pytest.fixture
async def everywhere(ground: Ground) -> AsyncIterator[World]:
    where: dict[str, Any] = {"tenant": ground.tenant, "definitions": DEFINITIONS}
    async with world(ground.store, ground.transport, **where) as found:
        yield found


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world(MemoryStore(), MemoryTransport(), definitions=DEFINITIONS) as found:
        yield found


async def heard(w: World, count: int) -> None:
    await w.until("parcel-7", lambda state: len(state.signals) == count)


async def letters_of(w: World, count: int) -> list[dict[str, Any]]:
    assert isinstance(w.transport, MemoryTransport)
    async with asyncio.timeout(10):
        while len(letters := await w.transport.dead_letters()) < count:
            await asyncio.sleep(0.01)
    return [letter.data for _, letter in letters]


async def test_events_begin_a_saga_and_lead_it_on_and_come_twice_without_harm(
    everywhere: World,
) -> None:
    w = everywhere
    for number, event in enumerate((ORDERED, PAID, WEIGHED, SEALED)):
        for id in ("first", "first", "again"):
            await tell(w, event, f"{type(event).__name__}-{id}")
        await heard(w, number)
    state = await w.closed("parcel-7")
    assert state.status is SagaStatus.COMPLETED
    assert state.origin.key == "7"
    assert sorted(await w.history("parcel-7")) == sorted(HISTORY)
    assert w.town.count() == {"parcel-7/fetch/do/1": 1}
    for event in (ORDERED, PAID):  # long after
        await tell(w, event, f"{type(event).__name__}-late")
    await tell(w, Ordered(order_id="8", thing="tea"), "marker")
    await w.until("parcel-8", lambda state: True)
    assert len(await w.history("parcel-7")) == len(HISTORY)


async def test_events_that_come_before_the_saga_wait_for_it(everywhere: World) -> None:
    w = everywhere
    for event in (SEALED, WEIGHED, PAID):
        await tell(w, event)
    await w.run()  # by now they were delivered, and given back
    assert await w.state("parcel-7") is None
    await tell(w, ORDERED)
    assert (await w.closed("parcel-7")).status is SagaStatus.COMPLETED


async def test_an_event_whose_saga_never_begins_is_put_aside_in_the_end(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival, "EARLY_SECONDS", (0.01,))
    monkeypatch.setattr(arrival, "EARLY_DELIVERIES", 3)
    await tell(w, PAID)
    (letter,) = await letters_of(w, 1)
    assert letter["reason"] == "not-yet"
    assert letter["detail"] == "Paid tells of parcel-7, which has not begun."


async def test_those_who_wait_for_their_sagas_do_not_hold_up_the_replies_to_others(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MAX_EARLY", 2)
    for number in range(5):
        await tell(w, PAID, f"paid-{number}")  # five payments of one order
    letters = await letters_of(w, 3)
    assert {letter["reason"] for letter in letters} == {"not-yet"}
    await tell(w, ORDERED)
    await w.until("parcel-7", lambda state: "Paid" in state.signals)


@pytest.mark.parametrize(
    ("event", "attributes", "reason"),
    [
        (Paid(payment_id="p", order_id=""), {}, "no-correlation"),
        (Paid(payment_id="p", order_id="a.b"), {}, "no-correlation"),
        (WEIGHED, {"subject": "s"}, "no-correlation"),
        (Ordered(order_id="9", thing="nothing"), {}, "bad-event"),
    ],
)
async def test_what_belongs_to_no_saga_or_makes_none_is_put_aside_and_delays_no_other(
    w: World, event: Any, attributes: dict[str, str], reason: str
) -> None:
    await tell(w, event, "odd", **attributes)
    (letter,) = await letters_of(w, 1)
    assert letter["reason"] == reason
    await tell(w, ORDERED)
    await w.until("parcel-7", lambda state: True)


async def test_what_was_told_for_a_saga_of_another_type_is_none_of_its_business(w: World) -> None:
    await tell(w, SEALED, "1", sagaid="errand-1", sagatype="errand")
    await tell(w, Sealed(scales_id="t"), "2", subject="t")
    await tell(w, ORDERED)
    await w.until("parcel-7", lambda state: True)
    assert isinstance(w.transport, MemoryTransport)
    assert await w.transport.dead_letters() == []
