"""How an event of a service begins a saga, as it is written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from es_saga.core.correlation import Header
from es_saga.core.messages import Event, Message

E = TypeVar("E", bound=Event)
D = TypeVar("D", bound=Message)


class Beginning(Generic[E, D]):
    """`@order.starts_on(OrderPlaced)`: takes the function that makes the saga's input of it."""

    def __init__(self, event: type[E], key: str | None, header: Header | None) -> None:
        self.event = event
        self.key = key
        self.header: Header | None = header
        self.fn: Callable[[E], D] | None = None

    def __call__(self, fn: Callable[[E], D], /) -> Callable[[E], D]:
        self.fn = fn
        return fn
