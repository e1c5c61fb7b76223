"""Fields that not everybody may read: marked in the models, hidden in views, sealed in the log.

    class ChargeCard(Command[None]):
        to = "payments"
        card: Sensitive[str]

Participants get them as they are. Which fields of a saga are sensitive follows from its models and
is kept with its definition in the database, so that whoever shows a saga can hide them without its
code (requirement R064).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from types import UnionType
from typing import Annotated, Any, Final, TypeAlias, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel

from es_saga.core.events import Json, SagaEvent
from es_saga.core.messages import as_written
from es_saga.core.state import SagaState, StepState, Work

T = TypeVar("T")


_MARK: Final = object()

Sensitive: TypeAlias = Annotated[T, _MARK]
"""A field of a message that is hidden in views, in logs and from the HTTP API."""

HIDDEN: Final = "***"
"""What stands in the place of a sensitive value."""

EACH: Final = "*"
"""In a path: every item of a list, every value of a mapping."""

ANYWHERE: Final = "**"
"""In a path: however deep."""

Path = tuple[str, ...]
"""Where a field stands in a JSON object."""

Change = Callable[[Any], Any]


def sensitive_paths(model: type[BaseModel]) -> tuple[Path, ...]:
    """Where the sensitive fields of a model stand; one inside another is not told of.

    Where a model contains itself it is hidden as a whole, if anything in the message is sensitive.

    >>> from es_saga.core.messages import Message
    >>> class Card(Message):
    ...     number: Sensitive[str]
    ...     bank: str
    >>> class Payment(Message):
    ...     pence: int
    ...     cards: list[Card]
    >>> sensitive_paths(Payment)
    (('cards', '*', 'number'),)
    """
    circles: list[Path] = []
    found = dict.fromkeys(_of_model(model, (), (), circles))
    return (*found, *circles) if found else ()


def _of_model(
    model: type[BaseModel], at: Path, above: tuple[type[BaseModel], ...], circles: list[Path]
) -> Iterator[Path]:
    if model in above:
        circles.append(at)
        return
    for name, field in model.model_fields.items():
        where = (*at, field.serialization_alias or name)
        if _MARK in field.metadata:
            yield where
        else:
            yield from _of_type(field.annotation, where, (*above, model), circles)


def _of_type(
    kind: Any, at: Path, above: tuple[type[BaseModel], ...], circles: list[Path]
) -> Iterator[Path]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from _of_model(kind, at, above, circles)
        return
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        if _MARK in arguments[1:]:
            yield at
        else:
            yield from _of_type(arguments[0], at, above, circles)
    elif origin in (Union, UnionType):
        for one in arguments:
            yield from _of_type(one, at, above, circles)
    elif origin is not None:
        for one in arguments:
            yield from _of_type(one, (*at, EACH), above, circles)


def changed(value: Any, paths: tuple[Path, ...], change: Change) -> Any:
    """A copy of JSON data in which what stands at these paths is changed; null stays null.

    >>> changed({"card": "4711", "pence": 5}, (("card",),), lambda _: HIDDEN)
    {'card': '***', 'pence': 5}
    """
    for path in paths:
        value = _changed(value, path, change)
    return value


def _changed(value: Any, path: Path, change: Change) -> Any:
    if not path:
        return value if value is None else change(value)
    first, rest = path[0], path[1:]
    if isinstance(value, list):
        items = cast(list[object], value)
        if first == EACH:
            return [_changed(item, rest, change) for item in items]
        return [_changed(item, path, change) for item in items] if first == ANYWHERE else items
    if not isinstance(value, dict):
        return value
    fields = cast(Json, value)
    if first == EACH:
        return {name: _changed(inner, rest, change) for name, inner in fields.items()}
    if first == ANYWHERE:
        return {
            name: _changed(inner, rest[1:] if name == rest[0] else path, change)
            for name, inner in fields.items()
        }
    if first not in fields:
        return fields
    return {**fields, first: _changed(fields[first], rest, change)}


class SensitiveFields:
    """Which fields of one saga type are sensitive.

    Args:
        found: as `Definition.sensitive` has it: `{"input": [path], "steps": {step: {"command",
            "reply", "undo": [path]}}, "signals": {message: [path]}}`, a path being a list of names.
    """

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._input = _read(found.get("input", ()))
        self._steps: dict[str, dict[str, tuple[Path, ...]]] = {
            step: {what: _read(paths) for what, paths in own.items()}
            for step, own in found.get("steps", {}).items()
        }
        self._signals = {name: _read(paths) for name, paths in found.get("signals", {}).items()}
        of_steps = (paths for own in self._steps.values() for paths in own.values())
        names = {path[-1] for path in chain(self._input, *of_steps) if path[-1] != EACH}
        # Nothing says what a refusal is made of: what is called like a sensitive field is one.
        self._named = tuple((ANYWHERE, name) for name in sorted(names))

    def __bool__(self) -> bool:
        return bool(self._input or self._named)

    def changed(self, topic: str, event: Json, change: Change = lambda _: HIDDEN) -> Json:
        """The JSON of an event with every sensitive value changed; by default, hidden."""
        where = _PLACES.get(topic)
        if where is None or not self:
            return event
        field, what = where
        if event.get(field) is None:
            return event
        about = event.get(_ABOUT.get(what, "step"))
        return {**event, field: changed(event[field], self._of(what, about), change)}

    def event(self, event: SagaEvent) -> SagaEvent:
        """An event with its sensitive values hidden."""
        where = _PLACES.get(type(event).__name__)
        if where is None:
            return event
        field, what = where
        about: str | None = getattr(event, _ABOUT.get(what, "step"), None)
        shown = self._shown(what, about, getattr(event, field))
        return event.model_copy(update={field: shown})

    def state(self, state: SagaState) -> SagaState:
        """A saga with its sensitive values hidden."""
        origin = state.origin
        return state._replace(
            origin=origin._replace(data=self._shown("input", None, origin.data)),
            steps=self._of_steps(state.steps),
            past=self._of_steps(state.past),
            signals={
                name: self._shown("signal", name, data) for name, data in state.signals.items()
            },
        )

    def _of_steps(self, steps: Mapping[str, StepState]) -> dict[str, StepState]:
        return {
            name: step._replace(
                do=self._work("command", name, step.do),
                undo=step.undo and self._work("undo", name, step.undo),
            )
            for name, step in steps.items()
        }

    def _work(self, what: str, step: str, work: Work) -> Work:
        sent = work.sent
        if sent is not None:
            sent = sent._replace(data=self._shown(what, step, sent.data))
        return work._replace(sent=sent, reply=self._shown("reply", step, work.reply))

    def _shown(self, what: str, about: str | None, data: Any) -> Any:
        return changed(data, self._of(what, about), lambda _: HIDDEN)

    def _of(self, what: str, about: str | None) -> tuple[Path, ...]:
        if what == "input":
            return self._input
        if what == "refusal":
            return self._named
        if what == "signal":
            return self._signals.get(about or "", ())
        found = self._steps.get(about or "") or self._steps.get(as_written(about or ""), {})
        return found.get(what, ())


_PLACES: Final[Mapping[str, tuple[str, str]]] = {
    "SagaStarted": ("data", "input"),
    "StepStarted": ("command", "command"),
    "StepSucceeded": ("reply", "reply"),
    "StepRefused": ("refusal", "refusal"),
    "SignalReceived": ("data", "signal"),
    "CompensationIssued": ("command", "undo"),
    "LateReplyNoted": ("data", "reply"),
    "OperatorResolved": ("reply", "reply"),
}
"""By topic: the field of the event that holds people's data, and whose model it follows."""

_ABOUT: Final = {"signal": "name"}
"""The field that names whose it is, where that is not a step."""


def _read(paths: Iterable[Iterable[str]]) -> tuple[Path, ...]:
    return tuple(map(tuple, paths))
