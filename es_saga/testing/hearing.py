"""A scene of a saga that hears from outside: what it waits for, or what services tell.

given(fulfilment, OrderCreated(order_id="1"))
    .tells(PaymentCompleted(order_id="1"))
    .wait(300).stuck(StockReserved)
    .tells(StockReserved(order_id="1"))
    .tells(ShipmentCreated(order_id="1")).completed()
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from es_saga.core.compiled import Definition, told_by
from es_saga.core.correlation import keyed_id
from es_saga.core.errors import InvalidInput
from es_saga.core.inputs import Heard, Signal
from es_saga.core.messages import Event, Message
from es_saga.testing.stage import Stage

S = TypeVar("S")


def opening_of(definition: Definition, event: Event, saga_id: str | None, key: str | None) -> Heard:
    """The first event of a choreography; by its key it names the saga, unless that has a name."""
    key = key_of(definition, event) if key is None else key
    chosen = saga_id or keyed_id(definition.name, str(key))
    return _heard(event, chosen, key, "start")


def key_of(definition: Definition, event: Event) -> str | None:
    """The business key that an event has; None: its envelope says which saga it belongs to.

    Raises:
        InvalidInput: the saga does not listen for it.
    """
    found = definition.correlations.get(told_by(type(event)))
    if found is None:
        known = ", ".join(dict.fromkeys(name for _, name in definition.correlations))
        raise InvalidInput(
            f"{definition.name} does not listen for {type(event).__name__}.",
            hint=f"It listens for {known}." if known else "It listens for nothing.",
        )
    return None if found.field is None else str(getattr(event, found.field))


class Hearing(ABC, Generic[S]):
    """What comes from outside."""

    _stage: Stage

    def signal(self, message: Message, /) -> S:
        """A message comes from outside, that the saga waits for, or will wait for."""
        __tracebackhide__ = True
        kind, stage = type(message).__name__, self._settled()
        signal = Signal(kind, message.model_dump(mode="json"), f"signal-{len(stage.inputs)}")
        return self._at(stage.feed(signal))

    def tells(self, event: Event, /) -> S:
        """A service tells of something that has happened there.

        Raises:
            InvalidInput: it tells of another saga, or the saga does not listen for it.
            NotYet: what leads to it has not been told.
        """
        __tracebackhide__ = True
        stage = self._settled()
        origin, key = stage.saga.origin, key_of(stage.definition, event)
        if None not in (key, origin.key) and key != origin.key:
            raise InvalidInput(
                f"{type(event).__name__} tells of {key!r}; this saga is {origin.key!r}."
            )
        return self._at(stage.feed(_heard(event, origin.saga_id, key, f"told-{len(stage.inputs)}")))

    @abstractmethod
    def _settled(self) -> Stage:
        """The stage, once all that was sent has been expected."""

    @abstractmethod
    def _at(self, stage: Stage) -> S:
        """The scene there."""


def _heard(event: Event, saga_id: str, key: str | None, message_id: str) -> Heard:
    data = event.model_dump(mode="json")
    return Heard(saga_id, event.by, type(event).__name__, data, message_id, key)
