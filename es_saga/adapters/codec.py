"""Events as they are stored: a topic and JSON.

The topic is the name of the event's class. The JSON leaves out fields that have their default, so a
default, once released, never changes (events are for ever: add fields with defaults, or upcast).
What an earlier release wrote is lifted by an upcaster before it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic_core import PydanticSerializationError, from_json

from es_saga.core.errors import CorruptHistory, InvalidInput
from es_saga.core.events import EVENTS, Json, SagaEvent

MAX_EVENT_BYTES: Final = 1024 * 1024
"""Largest event that is written: four times the largest message, for escapes and a traceback."""

Upcaster = Callable[[Json], tuple[str, Json]]
"""Takes the JSON of an event under an old topic; returns the topic and JSON of today."""

UPCASTERS: dict[str, Upcaster] = {}
"""By topic as stored. Empty as long as no event has changed."""

MAX_LIFTS: Final = 16
"""Upcasters that may follow one another for one event, so that a circle of them ends."""

_READERS: dict[str, Callable[[bytes], Any]] = {
    topic: event.__pydantic_validator__.validate_json for topic, event in EVENTS.items()
}
# One serializer a class, bound once: a third quicker than `event.model_dump_json`.
_WRITERS: dict[type[SagaEvent], tuple[str, Callable[..., bytes]]] = {
    event: (topic, event.__pydantic_serializer__.to_json) for topic, event in EVENTS.items()
}


def encode(event: SagaEvent) -> tuple[str, bytes]:
    """Topic and JSON of an event.

    Raises:
        InvalidInput: it is larger than MAX_EVENT_BYTES, or holds what JSON cannot.
    """
    topic, write = _WRITERS[type(event)]
    try:
        payload = write(event, exclude_defaults=True)
    except PydanticSerializationError as error:
        raise InvalidInput(f"{topic} cannot be written as JSON: {error}") from error
    if len(payload) > MAX_EVENT_BYTES:
        raise InvalidInput(
            f"{topic} takes {len(payload)} bytes; {MAX_EVENT_BYTES} are allowed.",
            hint="Send a reference to large data, not the data.",
        )
    return topic, payload


def decode(topic: str, payload: bytes) -> SagaEvent:
    """The event that was stored, lifted to today's form.

    Raises:
        CorruptHistory: the topic is unknown, or the JSON does not fit it.
    """
    try:
        if topic in UPCASTERS:
            topic, data = upcast(topic, from_json(payload))
            event: SagaEvent = EVENTS[topic].model_validate(data)
            return event
        read = _READERS.get(topic)
        if read is not None:
            event = read(payload)
            return event
    except (ValueError, LookupError, TypeError) as error:
        raise CorruptHistory(f"{topic} cannot be read: {error}") from error
    raise CorruptHistory(f"there is no event {topic!r}.", hint="Was it written by a later release?")


def upcast(topic: str, data: Json) -> tuple[str, Json]:
    """Lift an event step by step to the topic and fields of today.

    An upcaster that keeps its topic is the last step for it.
    """
    for _ in range(MAX_LIFTS):
        lift = UPCASTERS.get(topic)
        if lift is None:
            break
        before = topic
        topic, data = lift(data)
        if topic == before:
            break
    return topic, data
