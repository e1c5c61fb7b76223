"""The recorders pass the persistence test cases of the library they are written for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from eventsourcing.persistence import (
    IntegrityError,
    OperationalError,
    StoredEvent,
    Tracking,
)
from eventsourcing.tests.persistence import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    InfrastructureFactoryTestCase,
    NonInterleavingNotificationIDsBaseCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
)
from eventsourcing.utils import Environment, get_topic

from es_saga.adapters import recorder as module
from es_saga.adapters.recorder import IdType, SqlAggregateRecorder, SqlFactory, SqlRecorder
from es_saga.core.errors import InvalidInput
from es_saga.database import make_engine

DATABASES = ("sqlite", "postgres")


def url_of(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if database == "sqlite":
        return f"sqlite:///{tmp_path / 'log.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


# ── the library's own cases ──────────────────────────────────────────────────────────────────────


class OurRecorder:
    """Gives a test case of the library its recorder and its ids."""

    database: ClassVar[str]
    id_type: ClassVar[IdType]
    recorder_class: ClassVar[type[SqlAggregateRecorder]] = SqlRecorder
    engine: sa.Engine

    @pytest.fixture(autouse=True)
    def opened(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
        self.engine = make_engine(url_of(self.database, request, tmp_path))
        before = set(threading.enumerate())
        yield
        # The library's cases do not wait for their reading threads.
        for thread in set(threading.enumerate()) - before:
            thread.join(timeout=10)
        self.engine.dispose()

    def create_recorder(self) -> Any:
        recorder = self.recorder_class(self.engine, id_type=self.id_type)
        recorder.create_table()
        return recorder

    def new_originator_id(self) -> UUID | str:
        return str(uuid4()) if self.id_type == "text" else uuid4()


class OurAggregateRecorder(OurRecorder):
    recorder_class = SqlAggregateRecorder


class OurFactory:
    """Gives the library's test case of factories ours."""

    database: ClassVar[str]
    id_type: ClassVar[IdType]
    env: Environment

    @pytest.fixture(autouse=True)
    def configured(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        settings = {
            "PERSISTENCE_MODULE": "es_saga.adapters.recorder",
            "SAGA_DATABASE_URL": url_of(self.database, request, tmp_path),
            "ORIGINATOR_ID_TYPE": self.id_type,
        }
        self.env = Environment("Test", settings)

    def expected_factory_class(self) -> Any:
        return SqlFactory

    def expected_aggregate_recorder_class(self) -> Any:
        return SqlAggregateRecorder

    def expected_recorder_class(self) -> Any:
        return SqlRecorder

    expected_application_recorder_class = expected_recorder_class
    expected_process_recorder_class = expected_recorder_class
    expected_tracking_recorder_class = expected_recorder_class

    def tracking_recorder_subclass(self) -> Any:
        return OtherRecorder


class OtherRecorder(SqlRecorder):
    """Of a user who extends ours."""


class WithSubscriptions(ApplicationRecorderTestCase):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


_CASES: dict[type, type] = {
    AggregateRecorderTestCase: OurAggregateRecorder,
    WithSubscriptions: OurRecorder,
    TrackingRecorderTestCase: OurRecorder,
    ProcessRecorderTestCase: OurRecorder,
    NonInterleavingNotificationIDsBaseCase: OurRecorder,
    InfrastructureFactoryTestCase: OurFactory,
}

for _database in DATABASES:
    for _id_type in ("text", "uuid"):
        for _case, _ours in _CASES.items():
            _name = f"Test{_case.__name__}_{_database}_{_id_type}"
            _members = {"database": _database, "id_type": _id_type, "__module__": __name__}
            globals()[_name] = type(_name, (_ours, _case), _members)

# Only the classes made of them are to be collected.
del AggregateRecorderTestCase, ApplicationRecorderTestCase, InfrastructureFactoryTestCase
del NonInterleavingNotificationIDsBaseCase, ProcessRecorderTestCase, TrackingRecorderTestCase
del WithSubscriptions


# ── what they do not cover ───────────────────────────────────────────────────────────────────────


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    engine = make_engine(url_of(request.param, request, tmp_path))
    yield engine
    engine.dispose()


def events(originator_id: str, *versions: int) -> list[StoredEvent]:
    return [StoredEvent(originator_id, version, "topic", b"{}") for version in versions]


def test_two_recorders_of_one_part_leave_no_gap(engine: sa.Engine) -> None:
    first, second = SqlRecorder(engine), SqlRecorder(engine)
    first.create_table()
    errors: list[Exception] = []

    def write(recorder: SqlRecorder, name: str) -> None:
        try:
            for version in range(1, 41):
                recorder.insert_events(events(name, version))
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=write, args=(first, "a")),
        threading.Thread(target=write, args=(second, "b")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = first.select_notifications(None, 100)
    assert [each.id for each in found] == list(range(1, 81))
    assert [len(first.select_events(name)) for name in ("a", "b")] == [40, 40]


def test_a_subscription_sees_what_another_recorder_writes(engine: sa.Engine) -> None:
    reader, writer = SqlRecorder(engine), SqlRecorder(engine)
    reader.create_table()
    with reader.subscribe() as subscription:
        writer.insert_events(events("a", 1))
        assert next(subscription).originator_id == "a"


def test_a_subscription_does_not_wait_for_the_poll_in_its_own_process(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 3_600.0)
    recorder = SqlRecorder(engine)
    recorder.create_table()
    with recorder.subscribe() as subscription:
        for version in range(1, 6):
            recorder.insert_events(events("a", version))
            assert next(subscription).originator_version == version


def test_parts_are_sequences_of_their_own(engine: sa.Engine) -> None:
    recorders = [SqlRecorder(engine, part=part) for part in (0, 1)]
    recorders[0].create_table()
    assert recorders[0].insert_events(events("a", 1, 2), tracking=Tracking("up", 4)) == [1, 2]
    assert recorders[1].insert_events(events("b", 1), tracking=Tracking("up", 2)) == [1]
    assert [each.max_notification_id() for each in recorders] == [2, 1]
    assert [each.max_tracking_id("up") for each in recorders] == [4, 2]
    assert [each.originator_id for each in recorders[1].select_notifications(None, 9)] == ["b"]
    with pytest.raises(IntegrityError):
        recorders[1].insert_events(events("a", 2))


def test_snapshots_have_a_table_of_their_own(engine: sa.Engine) -> None:
    log = SqlRecorder(engine)
    log.create_table()
    snapshots = SqlAggregateRecorder(engine, table="es_snapshots")
    snapshots.create_table()
    log.insert_events(events("a", 1, 2))
    snapshots.insert_events(events("a", 2))
    assert [each.originator_version for each in snapshots.select_events("a")] == [2]
    assert log.max_notification_id() == 2


def test_an_outage_is_the_librarys_operational_error(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'missing' / 'log.db'}")
    with pytest.raises(OperationalError, match="unable to open"):
        SqlRecorder(engine).max_notification_id()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "SAGA_DATABASE_URL"),
        ({"SAGA_DATABASE_URL": "sqlite:///x.db", "SAGA_PART": "16"}, "no part"),
        ({"SAGA_DATABASE_URL": "sqlite:///x.db", "ORIGINATOR_ID_TYPE": "int"}, "type of ids"),
        (
            {
                "SAGA_DATABASE_URL": "sqlite:///x.db",
                "TRACKING_RECORDER_TOPIC": get_topic(StoredEvent),
            },
            "does not record",
        ),
    ],
)
def test_a_faulty_configuration_is_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        SqlFactory(settings).tracking_recorder()
