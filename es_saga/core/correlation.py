"""Which saga an event of a service belongs to: its id follows from what the event itself says.

An event names it by a field of its payload, by default the one that it is `about`, or by an
attribute of its envelope:

    sagaid          the saga's own id: its participant told the event on the saga's behalf
    correlationid   a business key, of CloudEvents' Correlation extension
    subject         the id of the aggregate that it happened to
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from es_saga.core.errors import InvalidInput
from es_saga.core.messages import Envelope, Event, check_id, is_token

Header: TypeAlias = Literal["sagaid", "correlationid", "subject"]
"""The attributes of an envelope that may name a saga."""

HEADERS: tuple[Header, ...] = ("sagaid", "correlationid", "subject")


class Named(NamedTuple):
    """The saga that an event names."""

    saga_id: str
    key: str | None
    """Its business key; None: the event has its id only."""


@dataclass(frozen=True, slots=True)
class Correlation:
    """Where an event of one type names its saga."""

    event: type[Event]
    field: str | None
    header: Header | None = None

    def faults(self) -> Iterator[str]:
        """Why it cannot."""
        name = self.event.__name__
        if not is_token(self.event.by):
            yield f"{name} does not say whose event it is: set `by` in its class"
        if self.header is not None:
            if self.header not in HEADERS:
                yield f"{name}: header={self.header!r} names no saga: use {', '.join(HEADERS)}"
            if self.field is not None:
                yield f"{name} is correlated by its header or by a key, not by both"
        elif not self.field:
            yield f"{name} has no correlation key: set `about` in its class, or give key="
        elif self.field not in self.event.model_fields:
            yield f"{name} has no field {self.field!r}, so nobody knows which saga it belongs to"

    def saga_of(self, event: Envelope, saga_type: str) -> Named | None:
        """The saga of this type that it names; None: it belongs to none.

        Raises:
            InvalidInput: it ought to, and does not, or what it names cannot be an id.
        """
        if self.header == "sagaid":
            if event.sagaid is None or event.sagatype != saga_type:
                return None
            return Named(check_id(event.sagaid), None)
        found = self._key(event)
        if found in (None, ""):
            where = self.field or self.header
            raise InvalidInput(f"{event.type} has no {where}, so it tells of no {saga_type}.")
        key = str(found)
        return Named(keyed_id(saga_type, key), key)

    def _key(self, event: Envelope) -> object:
        if self.header == "correlationid":
            return event.correlationid
        if self.header == "subject":
            return event.subject
        data, field = event.data, self.field or ""
        return cast("dict[str, Any]", data).get(field) if isinstance(data, dict) else None


def keyed_id(saga_type: str, key: str) -> str:
    """The id of the saga with a business key: one key means one saga.

    >>> keyed_id("order", "2026-0001")
    'order-2026-0001'

    Raises:
        InvalidInput: type and key together do not make an id.
    """
    return check_id(f"{saga_type}-{key}", "saga id made from its key")
