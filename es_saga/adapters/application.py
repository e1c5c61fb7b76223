"""The sagas as an application of the library `eventsourcing`: for looking, in its own terms.

    with SagaApplication(env={"SAGA_DATABASE_URL": "sqlite:///sagas.db"}) as application:
        saga = application.saga("order-1")
        earlier = application.saga("order-1", version=3)
        section = application.log_of(part_of("order-1"))["1,10"]

Sagas move through the process manager alone. What is put into `application.events` by hand takes
part in the log's numbering, but no view and no engine is told of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from eventsourcing.application import Application, LocalNotificationLog
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import ApplicationRecorder, Mapper, StoredEvent

from es_saga.adapters.codec import decode, encode
from es_saga.adapters.recorder import SqlFactory
from es_saga.adapters.store import check_schema
from es_saga.core.aggregate import SagaState, evolve, fold
from es_saga.core.errors import CorruptHistory
from es_saga.core.events import SagaEvent


@dataclass(frozen=True, slots=True)
class SagaAggregate:
    """A saga as the library's immutable aggregate."""

    state: SagaState

    @property
    def id(self) -> str:
        """The saga's id."""
        return self.state.saga_id

    @property
    def version(self) -> int:
        """The number of its events."""
        return self.state.version


class SagaRecord(NamedTuple):
    """An event and its place in its saga: the library's domain event."""

    originator_id: str
    originator_version: int
    event: SagaEvent

    def mutate(self, aggregate: SagaAggregate | None) -> SagaAggregate:
        """The saga after this event. Lets `repository.get` do without a projector function.

        Raises:
            CorruptHistory: the event does not fit what came before.
        """
        due = 1 if aggregate is None else aggregate.version + 1
        if self.originator_version != due:
            raise CorruptHistory(
                f"saga {self.originator_id!r}: event {self.originator_version} comes where "
                f"{due} is due."
            )
        if aggregate is not None:
            return SagaAggregate(evolve(aggregate.state, self.event))
        state = fold(self.originator_id, [self.event])
        assert state is not None
        return SagaAggregate(state)


def project_saga(
    aggregate: SagaAggregate | None, records: Iterable[SagaRecord]
) -> SagaAggregate | None:
    """Projector function: fold the rest of a history onto a saga, or onto nothing."""
    for record in records:
        aggregate = record.mutate(aggregate)
    return aggregate


class SagaMapper(Mapper[str]):
    """Writes and reads events exactly as the store does; transcoders and ciphers have no part."""

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        """Raises TypeError for an event that is no SagaRecord."""
        if not isinstance(domain_event, SagaRecord):
            raise TypeError(f"the log holds SagaRecords, not {type(domain_event).__name__}")
        topic, state = encode(domain_event.event)
        return StoredEvent(
            domain_event.originator_id, domain_event.originator_version, topic, state
        )

    def to_domain_event(self, stored_event: StoredEvent) -> SagaRecord:
        """Raises CorruptHistory for an event that cannot be read."""
        return SagaRecord(
            str(stored_event.originator_id),
            stored_event.originator_version,
            decode(stored_event.topic, stored_event.state),
        )


class SagaApplication(Application[str]):
    """The log, read with the library's repository and notification logs.

    Settings are those of `es_saga.adapters.recorder`; only SAGA_DATABASE_URL has no default.
    `notification_log` is the one of SAGA_PART; `log_of` gives those of the other parts.

    Raises:
        InvalidInput: a setting is missing or wrong.
        Unavailable: the database is out of reach, or has not the schema that is needed.
    """

    env: ClassVar[dict[str, str]] = {
        "PERSISTENCE_MODULE": "es_saga.adapters.recorder",
        "ORIGINATOR_ID_TYPE": "text",
        "CREATE_TABLE": "no",
    }

    def saga(self, saga_id: str, *, version: int | None = None) -> SagaAggregate:
        """A saga as it is, or as it was when it had `version` events.

        Raises:
            AggregateNotFoundError: there is no such saga (the library's own error).
            CorruptHistory: its history contradicts itself.
        """
        return self.repository.get(saga_id, version=version, projector_func=project_saga)

    def log_of(self, part: int) -> LocalNotificationLog:
        """The notification log of one part of the log, 0 to 15."""
        assert isinstance(self.factory, SqlFactory)
        return LocalNotificationLog(self.factory.recorder(part), self.log_section_size)

    def construct_mapper(self) -> Mapper[str]:
        return self.factory.mapper(mapper_class=SagaMapper)

    def construct_recorder(self) -> ApplicationRecorder:
        recorder = super().construct_recorder()
        assert isinstance(self.factory, SqlFactory)
        check_schema(self.factory.engine)
        return recorder
