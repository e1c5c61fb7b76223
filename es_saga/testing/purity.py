"""Definitions that are not pure: found, and named.

Step and undo functions are called again on replay, so they must make the same command of the same
arguments, whenever and wherever they are called, and leave the arguments as they were. Each is
called several times on equal copies of its arguments; what it makes is compared; and while it runs,
whatever it calls is watched, so that a clock is noticed on the day it is asked, not on the day it
shows another date.

What cannot be seen: an order that comes from iterating over a set of strings, which differs from
process to process; a branch that the given input does not reach; what compiled extensions ask for.
"""

from __future__ import annotations

import datetime
import gc
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from types import BuiltinFunctionType, FrameType
from typing import Any, NamedTuple, cast

from es_saga.core.compiled import Bind, Definition
from es_saga.core.events import Json
from es_saga.core.messages import Message
from es_saga.testing.examples import example
from es_saga.testing.exploration.roles import Answers, answers_of

CALLS = 3
"""How often each function is called on the same arguments."""

_CLOCKS = {
    name + suffix
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")
    for suffix in ("", "_ns")
} | {"localtime", "ctime", "clock_gettime", "clock_gettime_ns"}
_BY_MODULE = {
    **{("time", name): "asks the clock" for name in _CLOCKS},
    **{("posix", name): "draws random bytes" for name in ("urandom", "getrandom")},
    ("nt", "urandom"): "draws random bytes",
    ("_uuid", "generate_time_safe"): "asks the clock",
    ("io", "open"): "opens a file",
    ("_io", "open"): "opens a file",
    ("builtins", "input"): "asks the keyboard",
    ("builtins", "print"): "prints",
}
_OWN_CALLS = {
    ("builtins", "id"): "asks where an object lies in memory",
    ("builtins", "hash"): "asks for a hash, which differs from process to process",
}
"""These count only in the function's own module: libraries do so harmlessly."""

_shared_random: object = getattr(random.random, "__self__", None)


class Impurity(NamedTuple):
    """A function of a definition that is not a pure one."""

    function: str
    """`charge`, or `refund, the undo of charge`."""
    fault: str
    """What it did: `asks the clock: time.time, in shop.py, line 12`."""

    def __str__(self) -> str:
        return f"{self.function} {self.fault}"


class _Call(NamedTuple):
    """A function, and arguments to call it with, made anew each time."""

    label: str
    fn: Callable[..., Any]
    given: tuple[object, ...]
    """The input, and an item of its list where the step goes over one."""
    arguments: Mapping[str, object]


def impurities(
    definition: Definition, *, data: Message | None = None, replies: Answers | None = None
) -> tuple[Impurity, ...]:
    """What is not pure in the functions of a definition; at most one fault each.

    Args:
        data: the input they are called with; default: an example made from its model.
        replies: by step; default: likewise.

    Raises:
        InvalidInput: no example could be made.
    """
    given = data if data is not None else example(definition.data)
    answers = answers_of(definition, replies or {})
    calls = list(_calls(definition, given, answers))
    made = [[_outcome(call) for call in calls] for _ in range(CALLS - 1)]
    found: dict[str, str] = {}
    for number, call in enumerate(calls):
        fault = _fault(call, [before[number] for before in made])
        if fault is not None:
            found.setdefault(call.label, fault)
    return tuple(Impurity(function, fault) for function, fault in found.items())


def _calls(definition: Definition, data: Message, answers: Answers) -> Iterator[_Call]:
    def bound(binds: tuple[Bind, ...]) -> dict[str, object]:
        listed = {name: [answers[name]] for name, step in definition.steps.items() if step.each}
        return {bind.parameter: {**answers, **listed}[bind.source] for bind in binds}

    for name, step in definition.steps.items():
        given: tuple[object, ...] = (data,)
        if step.when is not None:
            yield _Call(f"the condition of {name}", step.when.fn, given, bound(step.when.binds))
        if step.each is not None:
            listing = _Call(f"the list of {name}", step.each.items, given, bound(step.each.binds))
            yield listing
            item = _first_item(listing)
            if not item:
                continue  # nothing is asked for
            given += item
        yield _Call(name, step.fn, given, bound(step.binds))
        undo = step.undo
        if undo is None:
            continue
        label = f"{getattr(undo.fn, '__name__', '?')}, the undo of {name},"
        known = bound(undo.binds)
        if undo.reply is None:
            yield _Call(label, undo.fn, given, known)
            continue
        yield _Call(label, undo.fn, given, {**known, undo.reply: answers[name]})
        if undo.accepts_unknown:
            yield _Call(label, undo.fn, given, {**known, undo.reply: None})


def _first_item(listing: _Call) -> tuple[object, ...]:
    """Nothing, where the list is empty or cannot be made."""
    given, arguments = deepcopy((listing.given, listing.arguments))
    try:
        return tuple(listing.fn(*given, **arguments))[:1]
    except Exception:  # a user's function may raise anything
        return ()


def _fault(call: _Call, before: list[Json]) -> str | None:
    given, arguments = deepcopy((call.given, call.arguments))
    with _Witness(call.fn) as witness:
        made = _result(call.fn, given, arguments)
    if witness.seen is not None:
        return witness.seen
    for name, now, then in [
        *zip(("its input", "its item"), given, call.given, strict=False),
        *((name, arguments[name], call.arguments[name]) for name in arguments),
    ]:
        if _dump(now) != _dump(then):
            return f"changes {name}: {_difference(_dump(then), _dump(now))}"
    for other in before:
        if made != other:
            return f"makes another command when called again: {_difference(other, made)}"
    return None


def _outcome(call: _Call) -> Json:
    given, arguments = deepcopy((call.given, call.arguments))
    return _result(call.fn, given, arguments)


def _result(
    fn: Callable[..., Any], given: tuple[object, ...], arguments: Mapping[str, object]
) -> Json:
    """What a call makes, so that it can be compared; what it raises, by its type."""
    try:
        made = fn(*given, **arguments)
    except Exception as error:  # a user's function may raise anything
        return {"raises": type(error).__name__}
    return _dump(made) if isinstance(made, Message) else {"made": repr(made)}


def _dump(value: object) -> Json:
    if isinstance(value, Message):
        return {"a": type(value).__name__, **value.model_dump()}
    if isinstance(value, list):
        return {str(number): _dump(one) for number, one in enumerate(cast(list[object], value))}
    if value is None or type(value).__repr__ is object.__repr__:  # that tells where it lies only
        return {}
    return {"value": repr(value)}


def _difference(one: Json, other: Json) -> str:
    """The first field that differs."""
    field = next(key for key in {**one, **other} if one.get(key) != other.get(key))
    return f"{field} {one.get(field)!r} became {other.get(field)!r}"


class _Witness:
    """Watches what is called inside `with`, and remembers the first call that is not pure."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._code = getattr(fn, "__code__", None)
        self._globals = getattr(fn, "__globals__", None)
        self._collects = gc.isenabled()
        self.seen: str | None = None

    def __enter__(self) -> _Witness:
        gc.disable()  # whoever is told of collections may ask the clock, and it is not the function
        if sys.getprofile() is None:  # a profiler that runs could not be put back
            sys.setprofile(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        if sys.getprofile() == self._look:
            sys.setprofile(None)
        if self._collects:
            gc.enable()

    def _look(self, frame: FrameType, event: str, argument: object) -> None:
        if self.seen is not None:
            return
        fault = None
        if event == "c_call" and isinstance(argument, BuiltinFunctionType):
            fault = self._builtin(frame, argument)
        elif event == "call" and frame.f_globals.get("__name__") == "os":
            name = frame.f_code.co_qualname
            fault = "reads the environment: os.environ" if name.startswith("_Environ.") else None
        if fault is not None:
            self.seen = f"{fault}{self._where(frame)}"

    def _builtin(self, frame: FrameType, function: BuiltinFunctionType) -> str | None:
        owner, name = function.__self__, function.__name__
        if isinstance(owner, type) and issubclass(owner, datetime.date):
            asks = name in ("now", "utcnow", "today")
            return f"asks the clock: {owner.__name__}.{name}" if asks else None
        if owner is _shared_random:
            return f"draws a random number: random.{name}"
        key = (str(function.__module__), name)
        fault = _BY_MODULE.get(key)
        if fault is None and frame.f_globals is self._globals:
            fault = _OWN_CALLS.get(key)
        return f"{fault}: {'.'.join(key)}" if fault is not None else None

    def _where(self, frame: FrameType) -> str:
        """The line of the function that led to it."""
        caller: FrameType | None = frame
        while caller is not None and caller.f_code is not self._code:
            caller = caller.f_back
        if caller is None:
            return ""
        return f", in {Path(caller.f_code.co_filename).name}, line {caller.f_lineno}"
