"""Functions of a saga taken apart: what they are given, and the command that they make."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeGuard, Union, get_args, get_origin, get_type_hints

from es_saga.core.messages import Command, Message, is_token, reply_type

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
NO_ITEM = object()
"""What is read takes no item of a list."""
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass
class Signature:
    """A function taken apart: what it is given and what it makes."""

    parameters: list[inspect.Parameter] = field(default_factory=list[inspect.Parameter])
    hints: dict[str, Any] = field(default_factory=dict[str, Any])
    command: type[Command[Any]] | None = None


class Reader:
    """Reads the functions of one saga, and tells what cannot be called as it will be.

    Args:
        data: the type of the saga's input.
        fault: is told.
    """

    def __init__(self, data: Any, fault: Callable[[str], None]) -> None:
        self._data = data
        self._fault = fault

    def read(
        self,
        label: str,
        fn: Callable[..., Any],
        *,
        condition: bool = False,
        item: Any = NO_ITEM,
    ) -> Signature:
        """Take a function apart; faults where it cannot be called as it will be.

        A condition makes no command, and may be a lambda: it takes the input, annotated or not.
        Where `item` is given, the second parameter takes an item of a list, of that type (None:
        nobody knows).
        """
        signature = Signature()
        if not callable(fn):
            self._fault(f"{label} is {fn!r}, no function")
            return signature
        if inspect.iscoroutinefunction(fn):
            self._fault(f"{label} is async: it is a pure function, so write a plain def")
        try:
            parameters = list(inspect.signature(fn).parameters.values())
            signature.hints = get_type_hints(fn)
        except Exception as error:  # an annotation may be any expression
            self._fault(
                f"{label}: an annotation cannot be resolved ({error}): define or import it at the "
                f"top of the module, not inside a function or under TYPE_CHECKING"
            )
            return signature
        signature.parameters = parameters
        if not condition:
            self._check_command(label, signature)
        elif parameters:
            signature.hints.setdefault(parameters[0].name, self._data)
        self._check_parameters(label, signature)
        if item is not NO_ITEM:
            self._take_item(label, signature, item)
        return signature

    def _check_command(self, label: str, signature: Signature) -> None:
        command = signature.hints.get("return")
        if not is_command(command):
            self._fault(
                f"{label} returns {named(command)}, not a Command: annotate what it returns"
            )
            return
        try:
            reply = reply_type(command)
        except TypeError as error:
            self._fault(f"{label}: {error}")
        else:
            signature.command = command
            if reply is not type(None) and not is_message(reply):
                self._fault(f"{label}: {command.__name__} answers {named(reply)}, no Message")
        if not is_token(command.to):
            self._fault(f"{label}: {command.__name__} is addressed to nobody: set its `to`")

    def _take_item(self, label: str, signature: Signature, item: Any) -> None:
        """The second parameter is given an item of the list."""
        if not signature.parameters:
            self._fault(f"{label} takes no item: its second parameter is one of the list")
            return
        own = signature.parameters.pop(0)
        given = signature.hints.get(own.name)
        if item is not None and given is not None and given != item:
            self._fault(f"{label} takes {named(given)} second, but its list has {named(item)}")

    def _check_parameters(self, label: str, signature: Signature) -> None:
        """The first takes the input; it is taken off. The others are passed by name."""
        data = self._data
        if not signature.parameters:
            self._fault(f"{label} takes no input: its first parameter is the {named(data)}")
            return
        first = signature.parameters.pop(0)
        given = signature.hints.get(first.name)
        fits = inspect.isclass(given) and is_message(data) and issubclass(data, given)
        if not fits or first.kind not in _POSITIONAL:
            self._fault(
                f"{label} takes {named(given)} first, but the input of the saga is {named(data)}"
            )
        for parameter in signature.parameters:
            if parameter.kind not in _BY_NAME:
                self._fault(f"{label}({parameter}): write each parameter out, to be passed by name")
        signature.parameters = [one for one in signature.parameters if one.kind in _BY_NAME]


def is_command(candidate: object) -> TypeGuard[type[Command[Any]]]:
    """Whether it is a type of commands."""
    return inspect.isclass(candidate) and issubclass(candidate, Command)


def is_message(candidate: object) -> bool:
    """Whether it is a type of messages."""
    return inspect.isclass(candidate) and issubclass(candidate, Message)


def optional(hint: Any) -> tuple[Any, bool]:
    """`X | None` as X and True; anything else as itself and False."""
    if get_origin(hint) in (Union, types.UnionType):
        members = [member for member in get_args(hint) if member is not type(None)]
        if len(members) == 1 and len(members) < len(get_args(hint)):
            return members[0], True
    return hint, False


def named(hint: Any) -> str:
    """A type as a person calls it."""
    if hint is None or hint is type(None):
        return "nothing"
    return getattr(hint, "__name__", str(hint))
