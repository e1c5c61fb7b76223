"""Alerts: one per saga that needs a human, closed when it no longer does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from es_saga import Retry, Saga
from es_saga.adapters.memory import MemoryStore, MemoryTransport
from es_saga.core.messages import Envelope
from es_saga.core.state import SagaStatus
from es_saga.engine.alerts import Alert, AlertKind
from es_saga.engine.monitor import Monitor
from es_saga.engine.requests import VerbRequest
from tests.engine.errand import (
    Answer,
    Bring,
    Errand,
    Fetch,
    Fetched,
    No,
    PutBack,
    refusing,
    willing,
    world,
)

pytestmark = pytest.mark.anyio

frail = Saga("frail", Errand)
"""Its undo is tried once."""


@frail.step
def fetch(e: Errand) -> Fetch:
    return Fetch(thing=e.thing)


@fetch.compensation(retry=Retry(attempts=1))
def put_back(e: Errand) -> PutBack:
    return PutBack(thing=e.thing)


@frail.pivot
def bring(e: Errand, fetched: Fetched) -> Bring:
    return Bring(shelf=fetched.shelf, receipt="")


hasty = Saga("hasty", Errand, deadline=timedelta(milliseconds=50))
"""Takes longer than it may."""


@hasty.step(timeout=timedelta(milliseconds=300))
def fetch_slowly(e: Errand) -> Fetch:
    return Fetch(thing=e.thing)


@fetch_slowly.compensation
def put_back_slowly(e: Errand) -> PutBack:
    return PutBack(thing=e.thing)


def stubborn(command: Envelope) -> Answer:
    """The pivot is refused, and what was fetched is not taken back."""
    return No(why="closed") if command.type in ("Bring", "PutBack") else willing(command)


@pytest.mark.requirement("R040")
@pytest.mark.law("L32", "L33")
async def test_a_failed_compensation_opens_one_alert_a_cause_and_its_resolution_closes_it() -> None:
    alerts: list[Alert] = []
    store, transport = MemoryStore(), MemoryTransport()
    definitions = [frail.definition]
    async with world(store, transport, script=stubborn, definitions=definitions) as w:
        monitor = Monitor([alerts.append])
        w.manager.listen(monitor)
        await w.manager.begin(frail, Errand(thing="lamp"), saga_id="f1")
        await w.until("f1", lambda state: state.status is SagaStatus.STUCK)
        opened = [("stuck", True, "fetch"), ("undo", True, "fetch")]
        assert shown(alerts) == opened
        assert set(monitor.open["f1"]) == {(kind, step) for kind, _, step in opened}

        again = VerbRequest(verb="retry", actor="ada", reason="try once more")
        await w.manager.operate("f1", again)
        await w.until("f1", lambda state: state.status is SagaStatus.STUCK and state.version > 9)
        w.town.script = refusing("Bring")
        await w.manager.operate("f1", again)
        state = await w.closed("f1")
    await transport.close()
    assert state.status is SagaStatus.COMPENSATED
    for kind in AlertKind.STUCK, AlertKind.UNDO:
        of_kind = [alert.opened for alert in alerts if alert.kind is kind]
        assert of_kind == [True, False, True, False], "each time once, and each closed"
    assert len({alert.id for alert in alerts}) == len(alerts)
    assert monitor.open == {}


async def test_a_hook_that_raises_stops_neither_sagas_nor_other_hooks() -> None:
    alerts: list[Alert] = []

    def broken(alert: Alert) -> None:
        raise OSError("no line")

    store, transport = MemoryStore(), MemoryTransport()
    async with world(store, transport) as w:
        w.manager.listen(Monitor([broken, alerts.append]))
        await w.manager.begin("errand", {"thing": "poison"})
        other = await w.run()
    await transport.close()
    assert len(alerts) == 1
    assert "nobody fetches poison" in alerts[0].why
    assert other.status is SagaStatus.COMPLETED


async def test_an_exceeded_deadline_is_an_alert_until_the_saga_is_over() -> None:
    alerts: list[Alert] = []

    def slow(command: Envelope) -> Answer | list[Answer]:
        return [] if command.type == "Fetch" else willing(command)

    store, transport = MemoryStore(), MemoryTransport()
    async with world(store, transport, script=slow, definitions=[hasty.definition]) as w:
        w.manager.listen(Monitor([alerts.append]))
        await w.manager.begin(hasty, Errand(thing="lamp"), saga_id="h1")
        await w.until("h1", lambda state: state.deadline_noted)
        assert shown(alerts) == [("deadline", True, None)]
        await w.closed("h1")
    await transport.close()
    assert shown(alerts) == [("deadline", True, None), ("deadline", False, None)]


def shown(alerts: Sequence[Alert]) -> list[tuple[str, bool, str | None]]:
    found = [(alert.kind.value, alert.opened, alert.step) for alert in alerts]
    return sorted(found, key=lambda one: not one[1])
