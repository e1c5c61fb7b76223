"""The saga log behind the interfaces of the library `eventsourcing`.

For people who know the library: its applications, repositories, notification logs and projections
read one part of the log through these recorders. Sagas themselves are written by `SqlStore`, which
keeps the views in step; what is written here is not seen by them.

To configure an application, set

    PERSISTENCE_MODULE   es_saga.adapters.recorder
    SAGA_DATABASE_URL    sqlite:///file.db or postgresql://host/name
    SAGA_PART            0 to 15; 0 unless set
    ORIGINATOR_ID_TYPE   text (ours) or uuid; uuid unless set, as in the library
    CREATE_TABLE         whether the schema is brought up to date; yes unless set

Importing this module imports `eventsourcing.persistence`, which patches `dataclasses`.
"""

from __future__ import annotations

import random
import threading
import time
import weakref
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

import sqlalchemy as sa
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    DatabaseError,
    DataError,
    InfrastructureFactory,
    IntegrityError,
    InterfaceError,
    InternalError,
    ListenNotifySubscription,
    Notification,
    NotSupportedError,
    OperationalError,
    PersistenceError,
    ProcessRecorder,
    ProgrammingError,
    Recorder,
    StoredEvent,
    Subscription,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic, strtobool

from es_saga.adapters.migrate import upgrade
from es_saga.adapters.statements import Row, statements_for
from es_saga.adapters.tables import EVENTS, TRACKING, events_table
from es_saga.adapters.trouble import Trouble, taken_position, trouble
from es_saga.core.errors import InvalidInput
from es_saga.core.messages import PARTS
from es_saga.database import READ_ONLY, make_engine

POLL_SECONDS: Final = 0.2
"""How often a subscription looks for events that another process has written."""

MAX_ATTEMPTS: Final = 200
"""How often an insert is tried again after another writer took its position."""

MAX_PAUSE_SECONDS: Final = 0.02
"""Longest pause before it is; drawn at random, so that two writers do not keep step."""

IdType = Literal["text", "uuid"]

_R = TypeVar("_R", bound="SqlAggregateRecorder")


class SqlAggregateRecorder(AggregateRecorder):
    """Events of aggregates, in a table of their own when they are snapshots.

    Writers of one recorder queue up, so that they do not take each other's positions; against other
    writers the table's keys decide, and the loser takes the next ones.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        part: int = 0,
        id_type: IdType = "text",
        table: str = "es_events",
    ) -> None:
        self.engine = engine
        self.part = part
        self.id_type = id_type
        self.table = EVENTS if table == EVENTS.name else events_table(table, sa.MetaData())
        self._statements = statements_for(engine, table)
        self._reading = engine.execution_options(**{READ_ONLY: True})
        self._writing = threading.Lock()
        self._head: int | None = None

    def create_table(self) -> None:
        """Make sure that the table is there; the log's own ones by migration."""
        upgrade(self.engine)
        self.table.create(self.engine, checkfirst=True)

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        self._insert(stored_events, None)
        return None

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        column = self.table.c
        version = column.originator_version
        query = sa.select(version, column.topic, column.state).where(
            column.originator_id == str(originator_id)
        )
        if gt is not None:
            query = query.where(version > gt)
        if lte is not None:
            query = query.where(version <= lte)
        query = query.order_by(version.desc() if desc else version).limit(limit)
        with _translated(), self._reading.connect() as connection:
            rows = connection.execute(query).all()
        return [StoredEvent(originator_id, number, topic, state) for number, topic, state in rows]

    def _insert(self, events: Sequence[StoredEvent], tracking: Tracking | None) -> list[int]:
        """Write events and the position they come from, in one transaction."""
        if not events and tracking is None:
            return []
        with self._writing:
            for _ in range(MAX_ATTEMPTS):
                try:
                    with _translated(), self.engine.begin() as connection:
                        if tracking is not None:
                            self._track(connection, tracking)
                        positions = self._append(connection, events)
                    break
                except (IntegrityError, OperationalError) as error:
                    self._head = None
                    if not self._lost_a_race(error):
                        raise
                time.sleep(random.uniform(0, MAX_PAUSE_SECONDS))
            else:
                raise OperationalError("other writers keep taking the positions of this part")
            if positions:
                self._head = positions[-1]
        return positions

    def _lost_a_race(self, error: PersistenceError) -> bool:
        """Whether the same events may be written at other positions."""
        cause = error.__cause__
        if not isinstance(cause, Exception):
            return False
        if isinstance(error, IntegrityError):
            return taken_position(cause, self.table.name)
        return trouble(cause, self.table.name) is Trouble.COLLISION

    def _append(self, connection: sa.Connection, events: Sequence[StoredEvent]) -> list[int]:
        if not events:
            return []
        head = self._head
        if head is None:
            head = self._statements.heads(connection, (self.part,))[self.part]
        now = time.time()
        rows: list[Row] = [
            (
                self.part,
                position,
                str(event.originator_id),
                event.originator_version,
                event.topic,
                event.state,
                now,
            )
            for position, event in enumerate(events, head + 1)
        ]
        self._statements.insert(connection, rows)
        return [row[1] for row in rows]

    def _track(self, connection: sa.Connection, tracking: Tracking) -> None:
        """Move a reader forward, and prove that it was not that far already."""
        statement = sa.text(
            "INSERT INTO es_tracking (name, part, position) VALUES (:name, :part, :position)"
            " ON CONFLICT (name, part) DO UPDATE SET position = excluded.position"
            " WHERE es_tracking.position < excluded.position RETURNING position"
        )
        bounds = {
            "name": tracking.application_name,
            "part": self.part,
            "position": tracking.notification_id,
        }
        if connection.execute(statement, bounds).first() is None:
            raise IntegrityError(f"already tracked: {tracking}")


class SqlRecorder(SqlAggregateRecorder, ProcessRecorder):
    """One part of the log as an application sequence, with tracking."""

    def __init__(self, engine: sa.Engine, *, part: int = 0, id_type: IdType = "text") -> None:
        super().__init__(engine, part=part, id_type=id_type)
        self._subscribing = threading.Lock()
        self._subscriptions: weakref.WeakSet[SqlSubscription] = weakref.WeakSet()

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        positions = self._insert(stored_events, kwargs.get("tracking"))
        with self._subscribing:
            for subscription in self._subscriptions:
                subscription.wake()
        return positions

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        column = self.table.c
        position = column.position
        query = sa.select(
            column.originator_id, column.originator_version, column.topic, column.state, position
        ).where(column.part == self.part)
        if start is not None:
            query = query.where(position >= start if inclusive_of_start else position > start)
        if stop is not None:
            query = query.where(position <= stop)
        if topics:
            query = query.where(column.topic.in_(topics))
        with _translated(), self._reading.connect() as connection:
            rows = connection.execute(query.order_by(position).limit(limit)).all()
        restore = UUID if self.id_type == "uuid" else str
        return [
            Notification(restore(originator_id), version, topic, state, id_)
            for originator_id, version, topic, state, id_ in rows
        ]

    def max_notification_id(self) -> int | None:
        query = sa.select(sa.func.max(self.table.c.position)).where(self.table.c.part == self.part)
        with _translated(), self._reading.connect() as connection:
            return connection.execute(query).scalar()

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        subscription = SqlSubscription(self, gt=gt, topics=topics)
        with self._subscribing:
            self._subscriptions.add(subscription)
        return subscription

    def insert_tracking(self, tracking: Tracking) -> None:
        self._insert((), tracking)

    def max_tracking_id(self, application_name: str) -> int | None:
        query = sa.select(TRACKING.c.position).where(
            TRACKING.c.name == application_name, TRACKING.c.part == self.part
        )
        with _translated(), self._reading.connect() as connection:
            return connection.execute(query).scalar()


class SqlSubscription(ListenNotifySubscription[ApplicationRecorder]):
    """Events as they come: at once when this process writes them, else at the next poll."""

    def wake(self) -> None:
        """There is something new."""
        self._has_been_notified.set()

    def _loop_on_pull(self) -> None:
        try:
            while not self._has_been_stopped:
                self._pull()
                self._has_been_notified.wait(POLL_SECONDS)
        except BaseException as error:
            self._thread_error = error
            self.stop()


class SqlFactory(InfrastructureFactory[TrackingRecorder]):
    """What the library builds its applications with; see the module for the settings."""

    SAGA_DATABASE_URL = "SAGA_DATABASE_URL"
    SAGA_PART = "SAGA_PART"
    ORIGINATOR_ID_TYPE = "ORIGINATOR_ID_TYPE"
    CREATE_TABLE = "CREATE_TABLE"

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        url = self.env.get(self.SAGA_DATABASE_URL)
        if not url:
            raise InvalidInput(
                "No database is named.", hint=f"Set {self.SAGA_DATABASE_URL} in the environment."
            )
        part = self.env.get(self.SAGA_PART) or "0"
        if not (part.isdecimal() and int(part) < PARTS):
            raise InvalidInput(f"{part!r} is no part.", hint=f"Parts are 0 to {PARTS - 1}.")
        self.part = int(part)
        id_type = (self.env.get(self.ORIGINATOR_ID_TYPE) or "uuid").lower()
        if id_type not in ("text", "uuid"):
            raise InvalidInput(f"{id_type!r} is no type of ids.", hint="They are text or uuid.")
        self.id_type: IdType = "text" if id_type == "text" else "uuid"
        self.engine = make_engine(url)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        return self._created(
            SqlAggregateRecorder(
                self.engine, part=self.part, id_type=self.id_type, table=f"es_{purpose}"
            )
        )

    def application_recorder(self) -> ApplicationRecorder:
        return self._recorder(self.APPLICATION_RECORDER_TOPIC)

    def process_recorder(self) -> ProcessRecorder:
        return self._recorder(self.PROCESS_RECORDER_TOPIC)

    def tracking_recorder(
        self, tracking_recorder_class: type[TrackingRecorder] | None = None
    ) -> TrackingRecorder:
        return self._recorder(self.TRACKING_RECORDER_TOPIC, tracking_recorder_class)

    def recorder(self, part: int) -> SqlRecorder:
        """The recorder of another part, on the same engine."""
        return SqlRecorder(self.engine, part=part, id_type=self.id_type)

    def close(self) -> None:
        self.engine.dispose()

    def _recorder(self, setting: str, kind: type[Recorder] | None = None) -> SqlRecorder:
        topic = self.env.get(setting)
        if kind is None and topic:
            kind = resolve_topic(topic)
        kind = kind or SqlRecorder
        if not issubclass(kind, SqlRecorder):
            raise InvalidInput(f"{kind.__name__} does not record in this log.")
        return self._created(kind(self.engine, part=self.part, id_type=self.id_type))

    def _created(self, recorder: _R) -> _R:
        if strtobool(self.env.get(self.CREATE_TABLE) or "yes"):
            recorder.create_table()
        return recorder


_KINDS: Final[dict[str, type[PersistenceError]]] = {
    kind.__name__: kind
    for kind in (
        DatabaseError,
        DataError,
        IntegrityError,
        InterfaceError,
        InternalError,
        NotSupportedError,
        OperationalError,
        ProgrammingError,
    )
}
_SOURCES: Final = ("sqlalchemy", "sqlite3", "psycopg")


@contextmanager
def _translated() -> Generator[None]:
    """Database errors as the library's own of the same name, with the original as cause."""
    try:
        yield
    except Exception as error:
        for base in type(error).__mro__:
            kind = _KINDS.get(base.__name__)
            if kind is not None and base.__module__.partition(".")[0] in _SOURCES:
                raise kind(str(error)) from error
        raise
