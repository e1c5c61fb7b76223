"""A saga as a step of another: what the parent sends, what it is answered, and who the child is.

    @order.saga(shipping)
    def ship(o: PlaceOrder, stock: StockReserved) -> BookShipping: ...      # the child's input

The child answers like a participant that holds something (`es_saga.core.tcc`): once its steps are
done it is held, and undone or closed as its parent ends. So the step's undo and, where it may be
undone, a step that closes the child follow from it; nobody writes them. The child's own side is in
`es_saga.core.child`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, overload

from pydantic import create_model

from es_saga.core.compiled import Definition, StepDefinition, StepKind, UndoDefinition
from es_saga.core.messages import MAX_ID_CHARS, Command, CommandKey, Message
from es_saga.core.policy import FOR_EVER

if TYPE_CHECKING:
    from es_saga.core.definition import Saga

I_ = TypeVar("I_", bound=Message)

Order = Literal["begin", "undo", "close"]

SAGA: Final = "saga:"
"""What the address of a saga type begins with; a service's is a token, and has no colon."""

DIGEST_CHARS: Final = 16
"""Of the SHA-256 that stands in the id of a child for what is too long, in hexadecimal digits."""


def is_for_saga(to: str) -> bool:
    """Whether an address is that of a saga type, not of a service."""
    return to.startswith(SAGA)


# ── what travels between parent and child ────────────────────────────────────────────────────────


class ChildSaga(Message):
    """The reply of a step that runs a saga: that one's steps are done."""

    saga_id: str


class BeginSaga(Command[ChildSaga], Generic[I_]):
    """Runs a saga; asked again, it is the same one."""

    order: Literal["begin"] = "begin"
    input: I_
    version: int
    undoable: bool = True
    """Once done it is held until its parent says what becomes of it, else it closes by itself."""


class UndoSaga(Command[None], Generic[I_]):
    """Has a child undone; one that never began never will."""

    order: Literal["undo"] = "undo"
    input: I_
    version: int


class CloseSaga(Command[None], Generic[I_]):
    """Lets a child that is held complete."""

    order: Literal["close"] = "close"
    input: I_
    version: int


@overload
def nested_command(order: Literal["begin"], saga: str, data: type[I_]) -> type[BeginSaga[I_]]: ...
@overload
def nested_command(order: Literal["undo"], saga: str, data: type[I_]) -> type[UndoSaga[I_]]: ...
@overload
def nested_command(order: Literal["close"], saga: str, data: type[I_]) -> type[CloseSaga[I_]]: ...
@overload
def nested_command(order: Order, saga: str, data: type[Message]) -> type[Command[Any]]: ...
def nested_command(order: Order, saga: str, data: type[Message]) -> type[Command[Any]]:
    """What a parent sends one of its children: `BeginBookShipping`, where that takes a
    `BookShipping`."""
    return _command(order, saga, data)


@cache  # one class a saga and order: commands are compared by their classes
def _command(order: Order, saga: str, data: type[Message]) -> type[Command[Any]]:
    base = _COMMANDS[order]
    made = create_model(
        f"{order.capitalize()}{data.__name__}",
        __base__=base,
        __doc__=base.__doc__,
        __module__=data.__module__,
        input=(data, ...),
    )
    made.to = f"{SAGA}{saga}"
    return made


_COMMANDS: Final[Mapping[Order, type[Command[Any]]]] = {
    "begin": BeginSaga,
    "undo": UndoSaga,
    "close": CloseSaga,
}


@overload
def command_of(order: Literal["begin"], child: Saga[I_]) -> type[BeginSaga[I_]]: ...
@overload
def command_of(order: Literal["undo"], child: Saga[I_]) -> type[UndoSaga[I_]]: ...
@overload
def command_of(order: Literal["close"], child: Saga[I_]) -> type[CloseSaga[I_]]: ...
@overload
def command_of(order: Order, child: Saga[Any] | Definition) -> type[Command[Any]]: ...
def command_of(order: Order, child: Saga[Any] | Definition) -> type[Command[Any]]:
    """What a parent sends this child: in a scene, `expect(command_of("begin", shipping))`."""
    data: type[Message] = child.data
    return _command(order, child.name, data)


def order_of(command: type[object]) -> tuple[Order, str, type[Message]] | None:
    """What `nested_command` makes this command of; None: it does not."""
    for order, base in _COMMANDS.items():
        if issubclass(command, base) and command is not base:
            data: Any = command.model_fields["input"].annotation
            return order, command.to.removeprefix(SAGA), data
    return None


def child_id(begun_by: CommandKey) -> str:
    """The id of the child that a step's command runs, a function of that command's id.

    >>> child_id(CommandKey("order-1", "ship", Direction.DO, 1))
    'order-1--ship'
    >>> child_id(CommandKey("order-1", "ship.2", Direction.DO, 1))
    'order-1--ship--2'

    What would be too long is cut, and a hash of the whole takes its place.
    """
    round = "" if begun_by.round == 1 else f"-{begun_by.round}"
    step = begun_by.step.replace(".", "--")  # on another way from a save-point
    readable = f"{begun_by.saga_id}--{step}{round}"
    if len(readable) <= MAX_ID_CHARS:
        return readable
    digest = hashlib.sha256(readable.encode()).hexdigest()[:DIGEST_CHARS]
    return f"{readable[: MAX_ID_CHARS - DIGEST_CHARS - 2]}--{digest}"


def child_prefix(saga_id: str) -> str:
    """How the ids of all children of a saga begin; those of others may, too."""
    return f"{saga_id}--"[: MAX_ID_CHARS - DIGEST_CHARS - 2]


# ── compiling it ─────────────────────────────────────────────────────────────────────────────────


def beginning(fn: Callable[..., I_], child: Saga[I_]) -> Callable[..., BeginSaga[I_]]:
    """The function of a step that runs `child`, out of one that makes its input."""

    @wraps(fn)
    def begin(*args: Any, **replies: Any) -> BeginSaga[I_]:
        made: Any = command_of("begin", child)
        begun: BeginSaga[I_] = made(input=fn(*args, **replies), version=child.version)
        return begun

    return begin


def nested(step: StepDefinition, child: Definition) -> StepDefinition:
    """A compiled step as one that runs `child`: undone where it may be, else closed at once."""
    if step.kind is StepKind.COMPENSATABLE:
        undo = UndoDefinition(
            fn=_again(step, command_of("undo", child)),
            command=command_of("undo", child),
            reply=None,
            accepts_unknown=True,
            binds=step.binds,
            timeout=step.timeout,
            retry=FOR_EVER,
        )
        return replace(step, undo=undo, child=child)
    begin = step.fn

    @wraps(begin)
    def finally_(*args: Any, **replies: Any) -> Command[Any]:
        return begin(*args, **replies).model_copy(update={"undoable": False})

    return replace(step, fn=finally_, child=child)


def closing(step: str) -> str:
    """The name of the step that closes a child."""
    return f"close_{step}"


def closes(steps: Mapping[str, StepDefinition]) -> dict[str, StepDefinition]:
    """For each step whose child is held, the one that closes it, after all else."""
    followed = {name for step in steps.values() for name in step.after}
    ends = tuple(name for name in steps if name not in followed)
    held = {
        name: step.child
        for name, step in steps.items()
        if step.child is not None and step.kind is StepKind.COMPENSATABLE
    }
    return {
        closing(name): replace(
            steps[name],
            name=closing(name),
            kind=StepKind.RETRIABLE,
            after_pivot=True,
            fn=_again(steps[name], command_of("close", child)),
            command=command_of("close", child),
            reply=None,
            after=ends,
            ancestors=frozenset(steps),
            retry=FOR_EVER,
            undo=None,
            when=None,
            join=None,
            confirms=name,
            child=None,
            doc=f"Closes the saga that {name} ran.",
        )
        for name, child in held.items()
    }


def _again(step: StepDefinition, command: type[Command[Any]]) -> Callable[..., Command[Any]]:
    """The function of an undo or close: the child's input once more."""

    @wraps(step.fn)
    def about(*args: Any, **replies: Any) -> Command[Any]:
        begun: Any = step.fn(*args, **replies)
        return command.model_validate({"input": begun.input, "version": begun.version})

    return about
