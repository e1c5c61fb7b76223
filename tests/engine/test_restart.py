"""What one manager leaves behind, the next one finishes."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from es_saga.core.aggregate import SagaStatus
from es_saga.core.messages import Envelope
from es_saga.engine.ports import Transport
from tests.engine.conftest import Ground
from tests.engine.errand import (
    Answer,
    Errand,
    Silence,
    errand,
    refusing,
    willing,
    world,
)

pytestmark = pytest.mark.anyio


class Mute:
    """A transport whose publishes never arrive: the process dies between commit and publish."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.swallowed: list[str] = []

    def publish(
        self, subject: str, envelope: Envelope, *, ttl: float | None = None
    ) -> asyncio.Future[None]:
        if ".cmd." not in subject:
            return self._transport.publish(subject, envelope, ttl=ttl)
        self.swallowed.append(envelope.id)
        return asyncio.get_running_loop().create_future()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@pytest.mark.requirement("R007", "R052", "R053", "R074")
async def test_a_command_committed_but_not_published_is_published_by_the_next_owner(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_saga.engine.manager.DRAIN_SECONDS", 0.1)
    mute = Mute(ground.transport)
    async with world(ground.store, cast(Transport, mute), tenant=ground.tenant) as w:
        await w.manager.begin(errand, Errand(thing="a"), saga_id="e1")
    assert mute.swallowed == ["e1/fetch/do/1"]
    assert w.town.asked == []
    async with world(ground.store, ground.transport, tenant=ground.tenant) as w:
        state = await w.closed("e1")
        asked = [e.id for e in w.town.asked]
    assert state.status is SagaStatus.COMPLETED
    assert asked[0] == "e1/fetch/do/1", "at once, not by the timer"


@pytest.mark.requirement("R041")
async def test_compensation_goes_on_after_a_restart_in_its_middle(ground: Ground) -> None:
    def silent_undo(command: Envelope) -> Answer:
        return Silence() if command.type == "PutBack" else refusing("Bring")(command)

    options: dict[str, Any] = {"tenant": ground.tenant}
    async with world(ground.store, ground.transport, script=silent_undo, **options) as w:
        await w.manager.begin(errand, Errand(thing="a"), saga_id="e1")
        await w.until("e1", lambda s: s.backward and bool(s.steps["fetch"].undo))
    async with world(ground.store, ground.transport, script=willing, **options) as w:
        state = await w.closed("e1")
        asked = [e.type for e in w.town.asked]
    assert state.status is SagaStatus.COMPENSATED
    assert "GiveBack" not in asked, "what was undone is not undone again"
    assert [k for k in await w.history("e1") if k == "CompensationSucceeded fetch"] != []


async def test_timers_survive_a_restart(ground: Ground) -> None:
    def silent(command: Envelope) -> Answer:
        return Silence()

    options: dict[str, Any] = {"tenant": ground.tenant}
    async with world(ground.store, ground.transport, script=silent, **options) as w:
        await w.manager.begin(errand, Errand(thing="a"), saga_id="e1")
    async with world(ground.store, ground.transport, script=willing, **options) as w:
        state = await w.closed("e1")
    assert state.status is SagaStatus.COMPLETED
    assert "StepRetried fetch" in await w.history("e1")


async def test_a_restart_publishes_nothing_of_closed_sagas(ground: Ground) -> None:
    async with world(ground.store, ground.transport, tenant=ground.tenant) as w:
        await asyncio.gather(*(w.run() for _ in range(10)))
    async with world(ground.store, ground.transport, tenant=ground.tenant) as again:
        await again.run(saga_id="new")
    assert {e.sagaid for e in again.town.asked} == {"new"}
