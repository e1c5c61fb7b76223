"""Sagas that the store has written, read by the library's application."""

from __future__ import annotations

from pathlib import Path

import pytest
from eventsourcing.application import AggregateNotFoundError

from es_saga.adapters.application import SagaAggregate, SagaApplication, SagaRecord
from es_saga.adapters.store import connect
from es_saga.core.aggregate import SagaStatus, fold
from es_saga.core.errors import CorruptHistory, Unavailable
from es_saga.core.events import SagaCompleted, SagaEvent, SagaStarted, StepStarted, StepSucceeded
from es_saga.core.messages import part_of
from es_saga.engine.ports import Append

pytestmark = pytest.mark.anyio

HISTORY: list[SagaEvent] = [
    SagaStarted(at=1.0, saga_type="order", definition=1, fingerprint="f", data={}),
    StepStarted(
        at=1.0,
        step="ship",
        command_type="Ship",
        to="post",
        command={},
        command_id="order-1/ship/do",
        due=9.0,
    ),
    StepSucceeded(at=2.0, step="ship", attempt=1, reply={"parcel": "p"}),
    SagaCompleted(at=2.0),
]
PART = part_of("order-1")


@pytest.fixture(params=["sqlite", "postgres"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database in which the saga order-1 has run."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'log.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    store = connect(url, migrate=True)
    state = fold("order-1", HISTORY)
    assert state is not None
    await store.append(PART, [Append("order-1", 0, HISTORY, state)])
    await store.close()
    return url


async def test_a_saga_written_by_the_store_is_read_through_the_repository(url: str) -> None:
    with SagaApplication({"SAGA_DATABASE_URL": url}) as application:
        saga: SagaAggregate = application.repository.get("order-1")
        assert (saga.id, saga.version) == ("order-1", 4)
        assert saga.state == fold("order-1", HISTORY)
        assert application.saga("order-1") == saga
        assert "order-1" in application.repository
        with pytest.raises(AggregateNotFoundError):
            application.saga("order-2")


async def test_a_saga_is_read_as_it_was(url: str) -> None:
    with SagaApplication({"SAGA_DATABASE_URL": url}) as application:
        earlier = application.saga("order-1", version=2)
        assert earlier.state.status is SagaStatus.RUNNING
        assert earlier.state.current == ("ship",)


async def test_a_part_has_a_notification_log(url: str) -> None:
    settings = {"SAGA_DATABASE_URL": url, "SAGA_PART": str(PART)}
    with SagaApplication(settings) as application:
        section = application.notification_log["1,10"]
        assert section.id == "1,4"
        assert [each.topic for each in section.items] == [type(each).__name__ for each in HISTORY]
        assert application.log_of(PART)["1,10"] == section
        assert application.log_of((PART + 1) % 16)["1,10"].items == []


async def test_what_the_application_puts_is_read_by_the_store(url: str) -> None:
    with SagaApplication({"SAGA_DATABASE_URL": url, "SAGA_PART": "3"}) as application:
        application.events.put([SagaRecord("order-9", 1, HISTORY[0])])
    store = connect(url)
    assert await store.load(["order-9"]) == {"order-9": HISTORY[:1]}
    assert await store.head(3) == 1
    await store.close()


async def test_a_gap_in_a_history_is_found(url: str) -> None:
    with SagaApplication({"SAGA_DATABASE_URL": url}) as application:
        application.events.put([SagaRecord("order-1", 6, HISTORY[1])])
        with pytest.raises(CorruptHistory, match="event 6 comes where 5"):
            application.saga("order-1")


def test_a_database_without_the_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="es-saga migrate up"):
        SagaApplication({"SAGA_DATABASE_URL": f"sqlite:///{tmp_path / 'empty.db'}"})
