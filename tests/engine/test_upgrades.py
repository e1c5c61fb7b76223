"""A new version of a saga is deployed while others run on the old one, and withdrawn again."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from es_saga import App, ConflictError, InProcess, Saga, Unavailable
from es_saga.adapters.memory import MemoryStore, MemoryTransport
from es_saga.core.messages import Envelope
from es_saga.core.state import SagaStatus
from es_saga.engine.ports import Transport
from es_saga.engine.requests import VerbRequest
from tests.engine.conftest import Ground
from tests.engine.errand import (
    Answer,
    Errand,
    Fetch,
    Silence,
    World,
    errand,
    glance,
    willing,
    world,
)
from tests.engine.test_restart import Mute
from tests.engine.voyage import Voyage, booking, voyage

pytestmark = pytest.mark.anyio

CANCEL = VerbRequest(verb="cancel", actor="ann", reason="it rains")
RESEND = VerbRequest(verb="resend", actor="ann", reason="it is up again")


class Wrapped(Errand):
    """What the second version takes: a field more."""

    gift: bool = False


patient = Saga("errand", Wrapped, version=2)
"""Its timers never help."""


@patient.check(timeout=timedelta(hours=1))
def fetch(e: Wrapped) -> Fetch:
    return Fetch(thing=e.thing)


@pytest.fixture
def ground(monkeypatch: pytest.MonkeyPatch) -> Ground:
    """In memory; and what waits for another release is looked at often."""
    monkeypatch.setattr("es_saga.engine.arrival.UNREADY_SECONDS", 0.02)
    monkeypatch.setattr("es_saga.engine.manager.DRAIN_SECONDS", 0.1)
    return Ground(MemoryStore(), MemoryTransport(), "main")


def release(
    ground: Ground, *sagas: Saga[Any], transport: object = None, **options: Any
) -> AbstractAsyncContextManager[World]:
    """A manager that knows these."""
    pipe = cast(Transport, transport or ground.transport)
    return world(ground.store, pipe, definitions=[saga.definition for saga in sagas], **options)


@pytest.mark.requirement("R024")
async def test_a_start_that_is_repeated_after_an_upgrade_is_the_same_saga(ground: Ground) -> None:
    async with release(ground, errand) as w:
        await w.manager.begin("errand", {"thing": "lamp"}, key="k1")
        await w.closed("errand-k1")
    async with release(ground, errand, patient) as w:
        state, created = await w.manager.begin("errand", {"thing": "lamp"}, key="k1")
        assert (created, state.origin.definition) == (False, 1)
        with pytest.raises(ConflictError, match="another input"):
            await w.manager.begin("errand", {"thing": "lamp", "gift": True}, key="k1")


async def test_the_id_of_a_saga_of_another_type_is_taken(ground: Ground) -> None:
    async with release(ground, errand, glance) as w:
        await w.manager.begin(errand, Errand(thing="lamp"), saga_id="x")
        with pytest.raises(ConflictError, match="another input"):
            await w.manager.begin(glance, Errand(thing="lamp"), saga_id="x")


@pytest.mark.law("L45", "L51")
async def test_what_a_release_that_is_withdrawn_has_not_sent_is_sent_when_it_is_back(
    ground: Ground,
) -> None:
    async with release(ground, patient, transport=Mute(ground.transport)) as w:
        await w.manager.begin("errand", {"thing": "lamp"}, saga_id="e1")
    async with release(ground, errand) as w:
        with pytest.raises(Unavailable, match="'errand' version 2, which is not registered"):
            await w.manager.operate("e1", CANCEL)
        with pytest.raises(Unavailable, match="'errand' version 2, which is not registered"):
            await w.manager.begin("errand", {"thing": "lamp"}, saga_id="e1")
        assert w.town.asked == []
    async with release(ground, errand, patient) as w:
        assert (await w.closed("e1")).status is SagaStatus.COMPLETED


@pytest.mark.law("L51", "L59")
@pytest.mark.parametrize("until", ["begun", "held"])
async def test_a_child_waits_for_a_release_that_knows_it(ground: Ground, until: str) -> None:
    """It is neither failed nor refused: who runs it may be of a newer release than who has it."""

    def held(command: Envelope) -> Answer:
        return Silence() if command.type == "Settle" else willing(command)

    known = [voyage] if until == "begun" else [voyage, booking]
    async with release(ground, *known, script=held) as w:
        await w.manager.begin(voyage, Voyage(who="ann"), saga_id="v1")
        waits_at = {"begun": "book", "held": "_pay"}[until]
        await w.until("v1", lambda saga: waits_at in saga.steps)
    async with release(ground, voyage) as w:
        if until == "held":
            await w.manager.operate("v1", RESEND)
            await w.until("v1", lambda saga: "close_book" in saga.steps)
    async with release(ground, voyage, booking) as w:
        assert (await w.closed("v1")).status is SagaStatus.COMPLETED
        assert (await w.closed("v1--book")).status is SagaStatus.COMPLETED
        told = {event.split()[0] for event in await w.history("v1")}
    assert not told & {"StepFailed", "StepRefused", "StepTimedOut", "SagaStuck"}


async def test_who_starts_without_a_version_that_sagas_are_on_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_SAGA_DATA", str(tmp_path))
    database = f"sqlite:///{tmp_path / 'log.db'}"
    async with InProcess(App("shop", sagas=[errand]), database=database) as sagas:
        await sagas.start(errand, Errand(thing="lamp"), key="1")
    for app, told in ((App("shop", sagas=[patient, errand]), 0), (App("shop", sagas=[patient]), 1)):
        with capture_logs() as logs:
            async with InProcess(app, database=database):
                pass
        missing = [log for log in logs if log["event"] == "version_missing"]
        assert len(missing) == told
    assert (missing[0]["saga_type"], missing[0]["version"], missing[0]["open"]) == ("errand", 1, 1)
    assert "Keep old versions in the app" in missing[0]["hint"]
