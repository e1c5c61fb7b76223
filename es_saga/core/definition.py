"""What a user writes: a saga of decorated pure functions, and what is made of it.

The decorators keep the types of the functions they take, so mypy and pyright check a compensation
against its step's reply, without a plugin. Nothing is checked while decorating: `Saga.definition`
compiles and verifies the whole at first use and reports every fault at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import (
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    NamedTuple,
    ParamSpec,
    TypeVar,
    cast,
    overload,
)

from es_saga.core.aggregate import SagaState
from es_saga.core.errors import InvalidInput
from es_saga.core.events import Json
from es_saga.core.messages import Command, Message
from es_saga.core.policy import DEFAULT_TIMEOUT, OnFailedUndo, Retry

D = TypeVar("D", bound=Message)
R = TypeVar("R")
C = TypeVar("C", bound=Command[Any])
C_co = TypeVar("C_co", bound=Command[Any], covariant=True)
P = ParamSpec("P")
Q = ParamSpec("Q")

OnUnknown = Literal["undo", "stuck"]
"""What follows when every attempt of a step stayed unanswered: undo it, or ask a human."""


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


class _Start:
    """The beginning of a saga, as a predecessor."""

    def __repr__(self) -> str:
        return "START"


START: Final = _Start()
"""`after=START`: the step depends on nothing and runs beside the others that do."""

AnyStep = "Step[Any, ..., Any]"
After = "Step[Any, ..., Any] | str | _Start | Iterable[Step[Any, ..., Any] | str]"


class _Reference(NamedTuple):
    """`of(step)` as a default value: which step's reply a parameter means."""

    step: str


def of(step: Step[Any, Any, Command[R]]) -> R:
    """The reply of `step`, where a parameter's type alone would fit several steps.

    Write it as the default: `def ship(o: Order, first: Booked = of(flight)) -> Ship: ...`
    """
    return cast(R, _Reference(step.name))  # the compiler of the definition looks for it


@dataclass(frozen=True, slots=True)
class _Undo:
    fn: Callable[..., Command[Any]]
    timeout: timedelta | None
    retry: Retry | None


class Compensation(Generic[D, R]):
    """`@reserve.compensation(...)`: takes the function that builds the undo."""

    def __init__(
        self, step: Step[Any, ..., Any], timeout: timedelta | None, retry: Retry | None
    ) -> None:
        self._step, self._timeout, self._retry = step, timeout, retry

    @overload
    def __call__(self, fn: Callable[[D], C], /) -> Callable[[D], C]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[D, R, Q], C], /
    ) -> Callable[Concatenate[D, R, Q], C]: ...
    def __call__(self, fn: Callable[..., Any], /) -> Callable[..., Any]:
        self._step.undos.append(_Undo(fn, self._timeout, self._retry))
        return fn


class Step(Generic[D, P, C_co]):
    """A step of a saga: still the function it decorates, callable in a test."""

    def __init__(
        self,
        fn: Callable[Concatenate[D, P], C_co],
        kind: StepKind,
        after: tuple[str, ...] | None,
        timeout: timedelta,
        retry: Retry | None,
        on_unknown: OnUnknown,
    ) -> None:
        self.fn = fn
        self.name = fn.__name__
        self.kind = kind
        self.after = after
        self.timeout = timeout
        self.retry = retry
        self.on_unknown: OnUnknown = on_unknown
        self.undos: list[_Undo] = []
        self.__doc__ = fn.__doc__

    def __call__(self, data: D, *args: P.args, **kwargs: P.kwargs) -> C_co:
        return self.fn(data, *args, **kwargs)

    @overload
    def compensation(
        self: Step[D, P, Command[R]], fn: Callable[[D], C], /
    ) -> Callable[[D], C]: ...
    @overload
    def compensation(
        self: Step[D, P, Command[R]], fn: Callable[Concatenate[D, R, Q], C], /
    ) -> Callable[Concatenate[D, R, Q], C]: ...
    @overload
    def compensation(
        self: Step[D, P, Command[R]],
        /,
        *,
        timeout: timedelta | None = ...,
        retry: Retry | None = ...,
    ) -> Compensation[D, R]: ...
    def compensation(
        self,
        fn: Callable[..., Any] | None = None,
        /,
        *,
        timeout: timedelta | None = None,
        retry: Retry | None = None,
    ) -> Any:
        """Register the undo: a pure function of the input and of this step's reply.

        The reply is None when the step's outcome stayed unknown, so the parameter must accept
        None, or the step must say `on_unknown="stuck"`. Further parameters are replies of earlier
        steps, as for steps.

        Args:
            timeout: longest wait for an answer to one attempt; default: the step's.
            retry: default: for ever, with capped waits.
        """
        take = Compensation[Any, Any](self, timeout, retry)
        return take if fn is None else take(fn)


class Saga(Generic[D]):
    """A saga definition: a name, the type of its input, and its steps.

    Args:
        name: stands on every instance and in its commands; letters, digits, `_`, `-`.
        data: the model of the input.
        version: raise it when the shape changes; running sagas finish on theirs.
        deadline: longest life before the pivot; after it, only an alert.
        on_failed_undo: what becomes of the other undos when one failed for good.

    The written order is the default order; `after=` says otherwise.
    """

    def __init__(
        self,
        name: str,
        data: type[D],
        *,
        version: int = 1,
        deadline: timedelta | None = None,
        on_failed_undo: OnFailedUndo = OnFailedUndo.ESCALATE,
    ) -> None:
        self.name = name
        self.data = data
        self.version = version
        self.deadline = deadline
        self.on_failed_undo = on_failed_undo
        self.steps: list[Step[Any, ..., Any]] = []
        self._definition: Definition | None = None

    def __repr__(self) -> str:
        return f"Saga({self.name!r}, version={self.version})"

    @property
    def definition(self) -> Definition:
        """The verified definition.

        Raises:
            DefinitionError: it cannot be run; all faults are listed.
        """
        from es_saga.core.verify import compile_saga

        if self._definition is None or len(self._definition.steps) != len(self.steps):
            self._definition = compile_saga(self)
        return self._definition

    @overload
    def step(self, fn: Callable[Concatenate[D, P], C], /) -> Step[D, P, C]: ...
    @overload
    def step(
        self,
        /,
        *,
        after: Step[Any, ..., Any]
        | str
        | _Start
        | Iterable[Step[Any, ..., Any] | str]
        | None = ...,
        timeout: timedelta = ...,
        retry: Retry | None = ...,
        on_unknown: OnUnknown = ...,
    ) -> Callable[[Callable[Concatenate[D, P], C]], Step[D, P, C]]: ...
    def step(self, fn: Any = None, /, **options: Any) -> Any:
        """A step that changes something: undone before the pivot, retried after it.

        Args:
            after: the steps it waits for; default: the one written before it.
            timeout: longest wait for an answer to one attempt; default 30 s.
            retry: default: three attempts before the pivot, for ever after it.
            on_unknown: what follows when every attempt stayed unanswered.
        """
        return self._add(fn, StepKind.COMPENSATABLE, **options)

    @overload
    def check(self, fn: Callable[Concatenate[D, P], C], /) -> Step[D, P, C]: ...
    @overload
    def check(
        self,
        /,
        *,
        after: Step[Any, ..., Any]
        | str
        | _Start
        | Iterable[Step[Any, ..., Any] | str]
        | None = ...,
        timeout: timedelta = ...,
        retry: Retry | None = ...,
    ) -> Callable[[Callable[Concatenate[D, P], C]], Step[D, P, C]]: ...
    def check(self, fn: Any = None, /, **options: Any) -> Any:
        """A step that reads only: it may refuse, and there is nothing to undo."""
        return self._add(fn, StepKind.CHECK, **options)

    @overload
    def pivot(self, fn: Callable[Concatenate[D, P], C], /) -> Step[D, P, C]: ...
    @overload
    def pivot(
        self,
        /,
        *,
        after: Step[Any, ..., Any]
        | str
        | _Start
        | Iterable[Step[Any, ..., Any] | str]
        | None = ...,
        timeout: timedelta = ...,
        retry: Retry | None = ...,
    ) -> Callable[[Callable[Concatenate[D, P], C]], Step[D, P, C]]: ...
    def pivot(self, fn: Any = None, /, **options: Any) -> Any:
        """The point of no return, at most one a saga: before it we undo, after it we only go on."""
        return self._add(fn, StepKind.PIVOT, **options)

    def _add(
        self,
        fn: Any,
        kind: StepKind,
        *,
        after: Any = None,
        timeout: timedelta = DEFAULT_TIMEOUT,
        retry: Retry | None = None,
        on_unknown: OnUnknown = "undo",
    ) -> Any:
        names = _names(after)

        def register(fn: Callable[..., Any]) -> Step[Any, ..., Any]:
            step: Step[Any, ..., Any] = Step(fn, kind, names, timeout, retry, on_unknown)
            self.steps.append(step)
            self._definition = None
            return step

        return register if fn is None else register(fn)


def _names(after: Any) -> tuple[str, ...] | None:
    """`after=` as step names; None: the step written before."""
    if after is None:
        return None
    if isinstance(after, _Start):
        return ()
    if isinstance(after, str | Step):
        after = (after,)
    return tuple(
        cast("Step[Any, ..., Any]", step).name if isinstance(step, Step) else step
        for step in cast(Iterable[Any], after)
    )


# ── what is made of it ───────────────────────────────────────────────────────────────────────────


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

    def check_reply(self, data: object) -> Json | None:
        """`data` as it goes into the log, if this step's participant may answer so.

        Raises:
            InvalidInput: it does not fit the model of the reply.
        """
        if self.reply is None:
            if data in (None, {}):
                return None
            raise InvalidInput(f"{self.name}: {self.command.__name__} answers with nothing.")
        try:
            self.reply.model_validate(data)
        except ValueError as error:
            raise InvalidInput(
                f"{self.name}: the reply is no {self.reply.__name__}: {error}"
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
    doc: str = ""

    @cached_property
    def pivot(self) -> str | None:
        """Name of the pivot, if there is one."""
        return next((s.name for s in self.steps.values() if s.kind is StepKind.PIVOT), None)

    @cached_property
    def shape(self) -> Json:
        """What makes two definitions the same: steps, kinds, edges, command names."""
        return {
            "name": self.name,
            "steps": [
                {
                    "name": step.name,
                    "kind": step.kind.value,
                    "after": sorted(step.after),
                    "command": step.command.__name__,
                    "undo": step.undo.command.__name__ if step.undo else None,
                }
                for step in self.steps.values()
            ],
        }

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the shape's SHA-256."""
        canonical = json.dumps(self.shape, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def check_input(self, data: object) -> Json:
        """The input as it goes into the log.

        Raises:
            InvalidInput: it does not fit the model.
        """
        try:
            return self.data.model_validate(data).model_dump(mode="json")
        except ValueError as error:
            raise InvalidInput(
                f"The input of saga {self.name!r} does not fit {self.data.__name__}: {error}",
                hint="Correct the input and start it again; nothing was written.",
            ) from error

    def next_steps(self, step: str) -> tuple[str, ...]:
        """The steps that wait for `step` directly (R018)."""
        return tuple(s.name for s in self.steps.values() if step in s.after)

    def previous_steps(self, step: str) -> tuple[str, ...]:
        """The steps that `step` waits for directly (R018)."""
        return self.steps[step].after

    def build_command(self, step: StepDefinition, state: SagaState) -> Command[Any]:
        """Call the step function on what is known so far."""
        return step.fn(self.data.model_validate(state.origin.data), **self._bound(step.binds, state))

    def build_undo(self, step: StepDefinition, state: SagaState) -> Command[Any]:
        """Call the undo function; the step's own reply may be unknown."""
        undo = step.undo
        assert undo is not None
        arguments = self._bound(undo.binds, state)
        if undo.reply is not None:
            arguments[undo.reply] = self._reply(step.name, state)
        return undo.fn(self.data.model_validate(state.origin.data), **arguments)

    def _bound(self, binds: tuple[Bind, ...], state: SagaState) -> dict[str, object]:
        return {bind.parameter: self._reply(bind.source, state) for bind in binds}

    def _reply(self, step: str, state: SagaState) -> Message | None:
        model, data = self.steps[step].reply, state.steps[step].do.reply
        return None if model is None or data is None else model.model_validate(data)
