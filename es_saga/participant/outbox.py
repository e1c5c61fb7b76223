"""The outbox: a service's events, written in the transaction of what they tell of.

A row commits with the business row or not at all; a relay publishes it afterwards, see
`es_saga.participant.relay` and `es_saga.participant.tailing`. Nothing else of es_saga is needed:
any SQLAlchemy session or connection of any framework will do.

    outbox = Outbox("orders")

    with Session(engine) as session:
        session.add(Order(id="1", pence=1999))
        outbox.add(session, OrderPlaced(order_id="1", pence=1999))
        session.commit()

Services may share a database. Rows may also be written by SQL, in any language: `id` (unique),
`service`, `aggregate_type`, `aggregate_id`, `type` and `payload` (JSON) are enough.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Coroutine
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import sqlalchemy as sa
from pydantic_core import PydanticSerializationError, from_json
from sqlalchemy.orm import Session, registry

from es_saga.core.errors import DefinitionError, InvalidInput
from es_saga.core.messages import MAX_PAYLOAD_BYTES, Envelope, Event, Message, check_id, is_token
from es_saga.participant.sessions import is_async_connection

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

MAX_EVENT_BYTES = MAX_PAYLOAD_BYTES - 4 * 1024
"""Largest event accepted, in bytes of JSON; the rest is for the envelope around it."""

metadata = sa.MetaData()
"""The outbox's table, for `create_all` or for the service's own migrations."""

es_outbox = sa.Table(
    "es_outbox",
    metadata,
    # Positions are never given again: a relay that is late must not delete somebody else's row.
    sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("aggregate_type", sa.Text, nullable=False),
    sa.Column("aggregate_id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("attributes", sa.Text),
    sa.Column("at", sa.Double),
    sa.Column("fault", sa.Text),
    sqlite_autoincrement=True,
)

CAUSE = ("sagaid", "sagatype", "step", "correlationid", "traceparent")
"""Attributes that an event takes over from the message that caused it."""


class Row(NamedTuple):
    """One event on its way."""

    position: int
    """The order in which the events of one aggregate are published."""
    id: str
    service: str
    """Whose event it is."""
    aggregate_type: str
    aggregate_id: str
    type: str
    payload: str
    attributes: str | None = None
    """JSON: further attributes of the envelope."""
    at: float | None = None
    """When it was added, in seconds since the epoch."""

    @property
    def aggregate(self) -> tuple[str, str]:
        """Whose order it stands in."""
        return (self.aggregate_type, self.aggregate_id)

    def envelope(self) -> Envelope:
        """As it is published: the id of the row is the id of the message.

        Raises:
            InvalidInput: somebody wrote a row that cannot be published.
        """
        check_id(self.aggregate_id, "aggregate id")
        if not is_token(self.type):
            raise InvalidInput(f"{self.type[:200]!r} cannot be the type of an event.")
        moment = None if self.at is None else datetime.fromtimestamp(self.at, UTC).isoformat()
        try:
            return Envelope.model_validate(
                {
                    **(from_json(self.attributes) if self.attributes else {}),
                    "id": self.id,
                    "source": f"svc/{self.service}",
                    "type": self.type,
                    "datacontenttype": "application/json",
                    "time": moment,
                    "subject": self.aggregate_id,
                    "aggregatetype": self.aggregate_type,
                    "data": from_json(self.payload),
                }
            )
        except (TypeError, ValueError) as error:  # pydantic's ValidationError is one, too
            raise InvalidInput(f"Row {self.position} of the outbox: {error}") from error


COLUMNS = tuple(es_outbox.c[name] for name in Row._fields)
"""What of a row is read, in the order of `Row`."""


class Outbox:
    """Adds events of one service to `es_outbox`.

    The events of one aggregate are published in the order in which they were added, if
    transactions that change one aggregate exclude each other (a row lock, a version): of two that
    run side by side nobody could say which was first.

    `events` are those that it publishes, where that is declared.

    Raises:
        DefinitionError: the service's name cannot stand in a subject, or an event is not its own or
            has no field that says what it is about.
    """

    def __init__(self, service: str, events: Collection[type[Event]] = ()) -> None:
        faults: list[str] = []
        if not is_token(service):
            faults.append("the name may have letters, digits, '_' and '-' only")
        for event in events:
            if event.by != service:
                faults.append(f"{event.__name__} is an event of {event.by!r}, not of {service!r}")
            if event.about not in event.model_fields:
                faults.append(f"{event.__name__} has no field {event.about!r}: set `about` to one")
        if faults:
            raise DefinitionError(service, faults, kind="outbox")
        self.service = service
        self.events = frozenset(events)

    @overload
    def add(
        self,
        session: Session | AsyncSession | sa.Connection,
        event: Message,
        *,
        aggregate_id: str | None = None,
        aggregate_type: str | None = None,
        cause: Envelope | None = None,
        correlation_id: str | None = None,
    ) -> None: ...
    @overload
    def add(
        self,
        session: AsyncConnection,
        event: Message,
        *,
        aggregate_id: str | None = None,
        aggregate_type: str | None = None,
        cause: Envelope | None = None,
        correlation_id: str | None = None,
    ) -> Coroutine[Any, Any, None]: ...
    def add(
        self,
        session: Session | AsyncSession | sa.Connection | AsyncConnection,
        event: Message,
        *,
        aggregate_id: str | None = None,
        aggregate_type: str | None = None,
        cause: Envelope | None = None,
        correlation_id: str | None = None,
    ) -> Coroutine[Any, Any, None] | None:
        """Publish the event once the transaction of `session` has committed.

        With a session, asynchronous or not, it is written at the next flush, as whatever is added
        to it; with a connection, at once, and an asynchronous one must be awaited.

        `aggregate_id` and `aggregate_type` say what it happened to where the event's class does
        not, see `Event`. `cause` is the message that it is a consequence of, `correlation_id` the
        business key of the saga that it belongs to, where sagas find it by that header; default:
        that of its cause.

        Raises:
            InvalidInput: no aggregate id, or one that has other characters than `[A-Za-z0-9_-]`; an
                event of another service; more than MAX_EVENT_BYTES.
        """
        values = self.row(
            event,
            aggregate_id=aggregate_id,
            aggregate_type=aggregate_type,
            cause=cause,
            correlation_id=correlation_id,
        )
        if isinstance(session, sa.Connection):
            session.execute(sa.insert(es_outbox), values)
        elif is_async_connection(session):
            return _insert(session, values)
        else:
            session.add(_mapped()(**values))
        return None

    def row(
        self,
        event: Message,
        *,
        aggregate_id: str | None = None,
        aggregate_type: str | None = None,
        cause: Envelope | None = None,
        correlation_id: str | None = None,
    ) -> dict[str, object]:
        """What `add` writes, as column to value. Raises like `add`."""
        name = type(event).__name__
        about = ""
        if isinstance(event, Event):
            about = event.about
            if event.by not in ("", self.service):
                raise InvalidInput(
                    f"{name} is an event of {event.by!r}, not of {self.service!r}.",
                    hint="A service tells of itself only.",
                )
        found = aggregate_id if aggregate_id is not None else getattr(event, about or "-", None)
        if found is None:
            raise InvalidInput(
                f"{name} does not say which aggregate it happened to.",
                hint="Set `about` in its class to a field that has the id, or give aggregate_id=.",
            )
        try:
            payload = event.model_dump_json()
        except PydanticSerializationError as error:
            raise InvalidInput(f"{name} cannot be written as JSON: {error}") from error
        size = len(payload.encode())
        if size > MAX_EVENT_BYTES:
            raise InvalidInput(
                f"{name} takes {size} bytes; {MAX_EVENT_BYTES} are allowed.",
                hint="Send a reference to large data, not the data.",
            )
        attributes = {} if cause is None else {key: getattr(cause, key) for key in CAUSE}
        attributes |= {"causationid": None if cause is None else cause.id}
        if correlation_id is not None:
            attributes["correlationid"] = correlation_id
        kind = aggregate_type or about.removesuffix("_id") or self.service
        known = {key: value for key, value in attributes.items() if value is not None}
        return {
            "id": uuid.uuid4().hex,
            "service": self.service,
            "aggregate_type": check_id(kind, f"aggregate type of {name}"),
            "aggregate_id": check_id(str(found), f"aggregate id of {name}"),
            "type": name,
            "payload": payload,
            "attributes": json.dumps(known) if known else None,
            "at": time.time(),
        }


async def _insert(connection: AsyncConnection, values: dict[str, object]) -> None:
    await connection.execute(sa.insert(es_outbox), values)


@cache
def _mapped() -> type[Any]:
    """A class that sessions can add. Made on first use: not every service has an ORM."""

    class OutboxRow:
        def __init__(self, **values: object) -> None:
            for name, value in values.items():
                setattr(self, name, value)

    registry(metadata=metadata).map_imperatively(OutboxRow, es_outbox)
    return OutboxRow
