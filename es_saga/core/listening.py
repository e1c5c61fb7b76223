"""Which events of services a saga listens for: those that begin it, and those that it waits for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, get_type_hints

from es_saga.core.beginning import Beginning
from es_saga.core.compiled import Opening, Told, told_by
from es_saga.core.correlation import Correlation, Header
from es_saga.core.definition import Saga
from es_saga.core.messages import Event, Message, is_event
from es_saga.core.signatures import named


class Listened(NamedTuple):
    """What `Definition` says of the events that are heard."""

    openings: dict[Told, Opening]
    correlations: dict[Told, Correlation]


def listen(saga: Saga[Any], fault: Callable[[str], None]) -> Listened:
    """What a saga listens for; whatever is wrong with that is told to `fault`."""
    heard = Listened({}, {})
    usual: str | None = None
    """The field that has the key, where an event is not said to have another one."""

    def add(event: type[Event], key: str | None, header: Header | None) -> Correlation:
        if key is None and header is None:
            key = usual or event.about
        correlation = Correlation(event, key, header)
        if told_by(event) in heard.correlations:
            fault(f"{event.__name__} is listened for twice: derive a class for each meaning")
        for text in correlation.faults():
            fault(text)
        heard.correlations[told_by(event)] = correlation
        return correlation

    for beginning in saga.beginnings:
        event = beginning.event
        if not is_event(event):
            fault(f"starts_on({named(event)}): that is no Event of a service")
            continue
        found = add(event, beginning.key, beginning.header)
        usual = usual or found.field
        heard.openings[told_by(event)] = Opening(event, _making(beginning, saga.data, fault))
    for step in saga.steps:
        wait = step.wait
        if wait is None or wait.message is None:
            continue
        if is_event(wait.message):
            add(wait.message, wait.key, wait.header)
        elif wait.key is not None or wait.header is not None:
            name = named(wait.message)
            fault(f"{step.name} has key= or header=, and {name} is no Event of a service")
    return heard


def _making(
    beginning: Beginning[Any, Any], data: type[Message], fault: Callable[[str], None]
) -> Callable[[Any], Message]:
    """What makes the input of the event; without a function the event is it."""
    if beginning.fn is not None:
        made: Any = data
        with suppress(NameError):  # written inside a function: seen when an event comes
            made = get_type_hints(beginning.fn).get("return", data)
        if not (inspect.isclass(made) and issubclass(made, data)):
            label = getattr(beginning.fn, "__name__", "?")
            fault(f"{label} returns {named(made)}, but the input of the saga is {named(data)}")
        return beginning.fn
    if not issubclass(beginning.event, data):
        name = beginning.event.__name__
        fault(f"{name} is no {named(data)}: decorate a function that makes one of it")
    return itself


def itself(event: Message) -> Message:
    """Of an event that is the saga's input."""
    return event
