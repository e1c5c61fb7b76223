"""What a verified step is made of: kinds, conditions, lists, waits, joins, and the step itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, cast

from pydantic import ValidationError

from es_saga.core.correlation import Header
from es_saga.core.errors import InvalidInput
from es_saga.core.events import Json
from es_saga.core.messages import (
    Command,
    Direction,
    Event,
    Message,
    Outcome,
)
from es_saga.core.policy import Retry

if TYPE_CHECKING:
    from es_saga.core.compiled import Definition

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
    on_timeout: OnNothing = "undo"
    key: str | None = None
    header: Header | None = None
    """Of a service's event: how it names the saga that it belongs to."""

    @property
    def goes_on(self) -> bool:
        """When nothing has come in time, the saga goes on without it."""
        return self.on_timeout == "go-on"


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


def shape_of(step: StepDefinition) -> Json:
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
