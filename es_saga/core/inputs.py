"""What can reach a saga from outside: the closed list of inputs to `decide`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from es_saga.core.events import Json, Parent
from es_saga.core.messages import CommandKey, Direction, Outcome
from es_saga.core.nested import Order


@dataclass(frozen=True, slots=True)
class Start:
    """Begin a saga. `data` has passed `Definition.check_input`."""

    saga_id: str
    data: Json
    key: str | None = None
    notify: str | None = None
    trace: str | None = None
    message_id: str | None = None
    parent: Parent | None = None


class Reply(NamedTuple):
    """A participant's answer to one attempt of one command."""

    key: CommandKey
    attempt: int
    outcome: Outcome
    type: str
    data: Any
    message_id: str
    retry_after: float | None = None
    """On a failure: seconds to wait at least; negative: never try again."""


class Signal(NamedTuple):
    """A message from outside, for the step that waits for its type, now or later."""

    type: str
    data: Any
    message_id: str


class Heard(NamedTuple):
    """An event that a service told, for a saga that it begins, or that listens for it."""

    saga_id: str
    by: str
    """The service."""
    type: str
    data: Any
    message_id: str
    key: str | None = None
    """The business key that it names the saga by."""
    trace: str | None = None


class FromParent(NamedTuple):
    """What the saga that runs it wants of a child."""

    begin: Start
    """How the child begins, or began."""
    order: Order
    command_id: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. Whatever is due by now happens."""


@dataclass(frozen=True, slots=True)
class Verb:
    """An operator's intervention. `message_id` makes a redelivery act once."""

    actor: str
    reason: str
    message_id: str
    expected_version: int | None = field(default=None, kw_only=True)
    """The saga as the operator saw it; if it has moved on, nothing is done."""


@dataclass(frozen=True, slots=True)
class RetryStuck(Verb):
    """Try again what the saga is stuck at: one step, or all of them."""

    step: str | None = None


@dataclass(frozen=True, slots=True)
class Skip(Verb):
    """Waive a step after the pivot, or an undo that keeps failing."""

    step: str


@dataclass(frozen=True, slots=True)
class Resolve(Verb):
    """Say what became of work the saga is stuck at, found out or done by hand."""

    step: str
    direction: Direction
    outcome: Outcome
    reply: Json | None = None


@dataclass(frozen=True, slots=True)
class Cancel(Verb):
    """Undo the saga, if it has not passed the pivot; if it has, note who asked (law L17)."""


@dataclass(frozen=True, slots=True)
class Compensate(Verb):
    """Undo the saga, stuck or not, if it has not passed the pivot."""


@dataclass(frozen=True, slots=True)
class Resume(Verb):
    """Do now what waits for its time, or for a function to be mended: one step, or all."""

    step: str | None = None


@dataclass(frozen=True, slots=True)
class Resend(Verb):
    """Send again what is in flight and not answered: one step, or all."""

    step: str | None = None


OperatorVerb = RetryStuck | Skip | Resolve | Cancel | Compensate | Resume | Resend
Input = Start | Reply | Signal | Heard | FromParent | Tick | OperatorVerb
