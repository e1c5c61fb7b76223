"""A verified saga definition: what the interpreter runs, made by `es_saga.core.verify`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, cast

from pydantic import ValidationError

from es_saga.core.correlation import Correlation, Header
from es_saga.core.errors import InvalidInput
from es_saga.core.events import Json, SagaEvent
from es_saga.core.messages import (
    Command,
    Direction,
    Event,
    Message,
    Outcome,
    names_of_each,
    of_each,
)
from es_saga.core.policy import OnFailedUndo, Retry
from es_saga.core.sensitive import sensitive_paths
from es_saga.core.state import SagaState, WorkStatus

C = TypeVar("C", bound=Command[Any])

OnUnknown = Literal["undo", "stuck"]
"""What follows when every attempt of a step stayed unanswered: undo it, or ask a human."""

OnNothing = Literal["undo", "go-on"]
"""What follows when the message that a saga waits for does not come in time."""

UndoOrder = Literal["reverse", "parallel"]
"""Last done, first undone; or all at once, where no undo depends on another (R042)."""


class StepKind(StrEnum):
    """What a step may do to the world, and so how it recovers."""

    CHECK = "check"
    """Reads only; nothing to undo."""
    COMPENSATABLE = "compensatable"
    """Before the pivot, or in a saga without one; has an undo."""
    PIVOT = "pivot"
    """The point of no return: may refuse, is never undone."""
    RETRIABLE = "retriable"
    """After the pivot: retried until done."""
    WAIT = "wait"
    """Asks nobody: an outside message ends it, or time does; nothing to undo."""


class Bind(NamedTuple):
    """One parameter of a step function beyond the input: whose reply it gets."""

    parameter: str
    source: str


@dataclass(frozen=True, slots=True)
class UndoDefinition:
    """A step's undo, ready to be built."""

    fn: Callable[..., Command[Any]]
    command: type[Command[Any]]
    reply: str | None
    """The parameter that takes the step's own reply, if it has one."""
    accepts_unknown: bool
    """Whether it can be built without the step's reply."""
    binds: tuple[Bind, ...]
    timeout: float
    retry: Retry


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether a step has to run at all."""

    fn: Callable[..., object]
    binds: tuple[Bind, ...]


@dataclass(frozen=True, slots=True)
class Fan:
    """The list that a step goes over: one of it for each item."""

    items: Callable[..., Sequence[object]]
    binds: tuple[Bind, ...]
    most: int
    at_once: int


@dataclass(frozen=True, slots=True)
class Await:
    """What a wait is for."""

    message: type[Message] | None
    """None: for time to pass."""
    goes_on: bool
    """When nothing has come in time, the saga goes on without it."""
    key: str | None = None
    header: Header | None = None
    """Of a service's event: how it names the saga that it belongs to."""


@dataclass(frozen=True, slots=True)
class Opening:
    """An event that begins a saga, and the input that is made of it."""

    event: type[Event]
    fn: Callable[[Any], Message]


@dataclass(frozen=True, slots=True)
class Join:
    """How many of its predecessors a step needs; without one, all of them."""

    least: int
    all_settled: bool
    """It waits for an answer of each, or until they are given up."""


class Way(Message):
    """What a save-point tells the steps after it."""

    number: int
    """Counts from 1."""
    failed: str | None = None
    """The step that failed on the way before."""
    why: str | None = None


class Nothing(Command[None]):
    """What a wait asks: it is sent to nobody."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Which events tell what became of a step that nobody commands."""

    done: type[Event]
    refused: tuple[type[Event], ...]
    undone: type[Event] | None
    undone_after: tuple[type[Event], ...] = ()
    """Any one of these brings the undo about."""


Told: TypeAlias = tuple[str, str]
"""An event: the service that tells it, and its name."""


def told_by(event: type[Event]) -> Told:
    return event.by, event.__name__


class Meaning(NamedTuple):
    """What an event tells of a saga: which step came to which outcome, in which direction."""

    step: str
    direction: Direction
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class StepDefinition:
    """A verified step. Times in seconds."""

    name: str
    kind: StepKind
    after_pivot: bool
    fn: Callable[..., Command[Any]]
    command: type[Command[Any]]
    reply: type[Message] | None
    """Model of the reply; None when it answers with nothing but success."""
    after: tuple[str, ...]
    ancestors: frozenset[str]
    binds: tuple[Bind, ...]
    timeout: float
    retry: Retry
    on_unknown: OnUnknown
    undo: UndoDefinition | None
    doc: str
    expires: float | None = None
    """Of a hold: how long its participant keeps it unsettled, in seconds."""
    confirms: str | None = None
    """The step that this one makes final: a hold, or one that runs a saga."""
    when: Condition | None = None
    wait: Await | None = None
    observed: Observed | None = None
    join: Join | None = None
    each: Fan | None = None
    """It goes over a list."""
    ways: int | None = None
    """Of a save-point: how often the saga may go on from it."""
    past: bool = False
    """It is on a way that was given up, and undone."""
    item: int | None = None
    """Which item of the list it is for, from 0; None with `each`: it stands for all of them."""
    child: Definition | None = None
    """The saga that it runs."""

    @property
    def asks(self) -> str:
        """The name of its command, or of the message that it waits for."""
        if self.ways is not None:
            return "SavePoint"
        if self.wait is None:
            return self.command.__name__
        return "Sleep" if self.wait.message is None else self.wait.message.__name__

    @property
    def asks_nobody(self) -> bool:
        """Whether it waits for the world outside, or is only expected."""
        return self.wait is not None or self.observed is not None

    def check_reply(self, data: object) -> Json | None:
        """`data` as it goes into the log, if this step's participant may answer so.

        Raises:
            InvalidInput: it does not fit the model of the reply.
        """
        if self.reply is None:
            if data in (None, {}):
                return None
            raise InvalidInput(f"{self.name}: {self.asks} answers with nothing.")
        try:
            self.reply.model_validate(data)
        except ValidationError as error:
            raise InvalidInput(
                f"{self.name}: the reply is no {self.reply.__name__}: {misfits(error)}."
            ) from error
        return cast(Json, data)  # an object: the model took it


@dataclass(frozen=True)
class Definition:
    """A verified saga definition: what the interpreter runs."""

    name: str
    version: int
    data: type[Message]
    steps: Mapping[str, StepDefinition]
    deadline: float | None
    on_failed_undo: OnFailedUndo
    undo_order: UndoOrder = "reverse"
    openings: Mapping[Told, Opening] = field(default_factory=dict[Told, Opening])
    """The events that begin it."""
    correlations: Mapping[Told, Correlation] = field(default_factory=dict[Told, Correlation])
    """Every event that is heard for its sagas, and how it names the one that it belongs to."""
    fans: Mapping[str, int] = field(default_factory=dict[str, int])
    """Steps over a list that were unfolded, and into how many; see `es_saga.core.unfolding`."""
    ways: tuple[tuple[str, int], ...] = ()
    """The save-points that were gone on from anew; likewise."""
    written: Definition | None = None
    """What it was before its lists were unfolded, or our rules put in the place of others."""
    decide: Callable[..., Sequence[SagaEvent]] | None = None
    """What stands in for our rules; see `es_saga.core.by_hand`."""

    @cached_property
    def pivot(self) -> str | None:
        """Name of the pivot, if there is one."""
        steps = self.steps.values()
        return next((s.name for s in steps if s.kind is StepKind.PIVOT and not s.past), None)

    @cached_property
    def shape(self) -> Json:
        """What makes two definitions the same: steps, kinds, edges, command names."""
        if self.written is not None:
            return self.written.shape
        shape: Json = {"name": self.name, "steps": [_shape(one) for one in self.steps.values()]}
        if self.undo_order != "reverse":
            shape["undo_order"] = self.undo_order
        if self.decide is not None:
            shape["by_hand"] = True
        return shape

    @cached_property
    def conducted(self) -> bool:
        """Whether it asks anybody for anything: a choreography only watches."""
        return all(step.observed is None for step in self.steps.values())

    @cached_property
    def meanings(self) -> Mapping[Told, Meaning]:
        """What each event of a choreography tells."""
        found: dict[Told, Meaning] = {}
        for step in self.steps.values():
            if step.observed is None:
                continue
            seen = step.observed
            done = Meaning(step.name, Direction.DO, Outcome.SUCCEEDED)
            found[told_by(seen.done)] = done
            for event in seen.refused:
                found[told_by(event)] = done._replace(outcome=Outcome.REFUSED)
            if seen.undone is not None:
                undone = done._replace(direction=Direction.UNDO)
                found[told_by(seen.undone)] = undone
        return found

    def waits_for(self, message: str) -> StepDefinition | None:
        """The step that waits for a message of this name."""
        waits = (s for s in self.steps.values() if s.wait and s.wait.message and not s.past)
        return next((step for step in waits if step.asks == message), None)

    def wanted(self, step: StepDefinition, state: SagaState) -> bool:
        """Call the step's condition on what is known so far; without one, it is wanted.

        To make something final, if it was done.

        Raises:
            TypeError: it returned something else than a bool.
            Exception: whatever the condition raises.
        """
        if step.confirms is not None:
            return state.steps[step.confirms].do.status is WorkStatus.SUCCEEDED
        if step.when is None:
            return True
        data = self.data.model_validate(state.origin.data)
        found = step.when.fn(data, **self._bound(step.when.binds, state))
        if not isinstance(found, bool):
            raise TypeError(f"its condition returned {type(found).__name__}, not bool")
        return found

    @cached_property
    def by_our_rules(self) -> Definition:
        """The same without what stands in for them."""
        return replace(self, decide=None, written=self.written or self)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the shape's SHA-256."""
        canonical = json.dumps(self.shape, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @cached_property
    def sensitive(self) -> Json:
        """Which fields of its messages are sensitive: what `SensitiveFields` is made of."""
        found: Json = {"input": sensitive_paths(self.data)}
        for step in self.steps.values():
            models = {
                "command": step.command,
                "reply": step.reply,
                "undo": step.undo.command if step.undo else None,
            }
            all_of_it = {what: sensitive_paths(model) for what, model in models.items() if model}
            own = {what: paths for what, paths in all_of_it.items() if paths}
            if own:
                found.setdefault("steps", {})[step.name] = own
        return found if any(found.values()) else {}

    def check_input(self, data: object) -> Json:
        """The input as it goes into the log.

        Raises:
            InvalidInput: it does not fit the model.
        """
        try:
            return self.data.model_validate(data).model_dump(mode="json")
        except ValidationError as error:
            raise InvalidInput(
                f"The input of saga {self.name!r} does not fit {self.data.__name__}: "
                f"{misfits(error)}.",
                hint="Correct the input and start it again; nothing was written.",
            ) from error

    def next_steps(self, step: str) -> tuple[str, ...]:
        """The steps that wait for `step` directly (R018)."""
        return tuple(s.name for s in self.steps.values() if step in s.after)

    def previous_steps(self, step: str) -> tuple[str, ...]:
        """The steps that `step` waits for directly (R018)."""
        return self.steps[step].after

    def build_command(self, step: StepDefinition, state: SagaState) -> Command[Any]:
        """Call the step function on what is known so far.

        Raises:
            TypeError: it returned something else than its annotation says.
            Exception: whatever the function raises.
        """
        given = self._given(step, state)
        return _as_promised(step.fn(*given, **self._bound(step.binds, state)), step.command)

    def build_undo(self, step: StepDefinition, state: SagaState) -> Command[Any]:
        """Call the undo function; the step's own reply may be unknown. Raises as above."""
        undo = step.undo
        assert undo is not None
        arguments = self._bound(undo.binds, state)
        if undo.reply is not None:
            arguments[undo.reply] = self._one_reply(step.name, state)
        given = self._given(step, state)
        return _as_promised(undo.fn(*given, **arguments), undo.command)

    def items(self, step: StepDefinition, state: SagaState) -> Sequence[object]:
        """The list that a step goes over.

        Raises:
            TypeError: its function returned no list.
            ValueError: it is longer than was declared, or than it was when the step began.
            Exception: whatever the function raises.
        """
        assert step.each is not None, "it goes over a list"
        data = self.data.model_validate(state.origin.data)
        found = step.each.items(data, **self._bound(step.each.binds, state))
        if not isinstance(found, list | tuple):
            raise TypeError(f"its list is a {type(found).__name__}")
        if len(found) > step.each.most:
            raise ValueError(f"its list has {len(found)} items; most={step.each.most}")
        return found

    def _given(self, step: StepDefinition, state: SagaState) -> tuple[object, ...]:
        """What a step's functions are given first: the input, and its item of a list."""
        data = self.data.model_validate(state.origin.data)
        if step.item is None:
            return (data,)
        items, began = self.items(step, state), state.fans[of_each(step.name)]
        if len(items) != began:
            raise ValueError(f"its list has {len(items)} items, and had {began} when it began")
        return (data, items[step.item])

    def _bound(self, binds: tuple[Bind, ...], state: SagaState) -> dict[str, object]:
        return {bind.parameter: self._reply(bind.source, state) for bind in binds}

    def _reply(self, step: str, state: SagaState) -> Message | list[Message | None] | None:
        if step in self.fans:
            return [self._one_reply(one, state) for one in names_of_each(step, self.fans[step])]
        return [] if self.steps[step].each else self._one_reply(step, state)

    def _one_reply(self, step: str, state: SagaState) -> Message | None:
        model, data = self.steps[step].reply, state.steps[step].do.reply
        return None if model is None or data is None else model.model_validate(data)


def _shape(step: StepDefinition) -> Json:
    """What is new since version 1 of the log is left out where it is not used."""
    shape: Json = {
        "name": step.name,
        "kind": step.kind.value,
        "after": sorted(step.after),
        "command": step.asks,
        "undo": step.undo.command.__name__ if step.undo else None,
    }
    if step.when is not None:
        shape["when"] = True
    if step.join is not None:
        shape["join"] = [step.join.least, step.join.all_settled]
    if step.each is not None:
        shape["each"] = [step.each.most, step.each.at_once]
    if step.child is not None:
        shape["saga"] = step.child.name
    if step.observed is not None:
        shape["expected"] = True
    if step.ways is not None:
        shape["ways"] = step.ways
    return shape


def misfits(error: ValidationError) -> str:
    """Which fields do not fit and why, without what stood in them: that is people's data."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)


def _as_promised(made: object, promised: type[C]) -> C:
    """The reply is read by the promised command's model, so nothing else may be sent."""
    if not isinstance(made, promised):
        raise TypeError(f"it returned {type(made).__name__}, not {promised.__name__}")
    return made
