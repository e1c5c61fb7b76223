"""A step as a user writes it: a decorated pure function, and its compensation.

The decorators keep the types of the functions they take, so mypy and pyright check a compensation
against its step's reply, without a plugin.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    NamedTuple,
    ParamSpec,
    TypeAlias,
    TypeVar,
    overload,
)

from es_saga.core.after import Quorum
from es_saga.core.compiled import Await, Nothing, OnUnknown, StepKind, Way
from es_saga.core.messages import Command, Message
from es_saga.core.policy import Retry

if TYPE_CHECKING:
    from es_saga.core.definition import Saga

D = TypeVar("D", bound=Message)
R = TypeVar("R")
C = TypeVar("C", bound=Command[Any])
C_co = TypeVar("C_co", bound=Command[Any], covariant=True)
F = TypeVar("F", bound=Callable[..., Command[Any]])
P = ParamSpec("P")
Q = ParamSpec("Q")
I = TypeVar("I")  # noqa: E741  # an item

When: TypeAlias = Callable[[D], bool] | Callable[[D, Any], bool] | Callable[[D, Any, Any], bool]
"""Whether a step is wanted: of the input, and of up to two earlier replies."""

AT_ONCE: Final = 10
"""How many steps of one list are under way at most, unless it says otherwise."""


class Reference(NamedTuple):
    """`of(step)` as a default value: which step's reply a parameter means."""

    step: str


@overload
def of(step: ListStep[Any, Any, Any, Command[R]]) -> list[R]: ...
@overload
def of(step: Step[Any, Any, Command[R]]) -> R: ...
def of(step: Step[Any, Any, Command[Any]]) -> Any:
    """The reply of `step`, where a parameter's type alone would fit several steps.

    Write it as the default: `def ship(o: Order, first: Booked = of(flight)) -> Ship: ...`
    """
    return Reference(step.name)  # the compiler of the definition looks for it


def named_after(message: type[Message]) -> str:
    """The name of a step that waits for a message.

    >>> class PaymentApproved(Message): ...
    >>> named_after(PaymentApproved)
    'payment_approved'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", message.__name__).lower()


def asking_nobody(name: str) -> Callable[[Any], Nothing]:
    """The function of a step that makes no command, where others have one that does."""

    def nobody(_data: Any) -> Nothing:
        return Nothing()

    nobody.__name__ = name
    return nobody


class Each(NamedTuple):
    """The list that a step goes over, as it was written."""

    items: Callable[..., Sequence[Any]]
    most: int | None
    at_once: int


@dataclass(frozen=True, slots=True)
class WrittenUndo:
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
        self, fn: Callable[Concatenate[D, R | None, Q], C], /
    ) -> Callable[Concatenate[D, R | None, Q], C]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[D, R, Q], C], /
    ) -> Callable[Concatenate[D, R, Q], C]: ...
    def __call__(self, fn: Callable[..., Any], /) -> Callable[..., Any]:
        self._step.undos.append(WrittenUndo(fn, self._timeout, self._retry))
        return fn


class Step(Generic[D, P, C_co]):
    """A step of a saga: still the function it decorates, callable in a test."""

    def __init__(
        self,
        fn: Callable[Concatenate[D, P], C_co],
        kind: StepKind,
        after: tuple[str, ...] | Quorum | None,
        timeout: timedelta,
        retry: Retry | None,
        on_unknown: OnUnknown,
        when: Callable[..., bool] | None = None,
        wait: Await | None = None,
        each: Each | None = None,
        child: Saga[Any] | None = None,
        ways: int | None = None,
    ) -> None:
        self.fn = fn
        self.name: str = getattr(fn, "__name__", "?")  # what has none is refused by `verify`
        self.when = when
        self.wait = wait
        self.each = each
        self.child = child
        self.ways = ways
        self.kind = kind
        self.after = after.steps if isinstance(after, Quorum) else after
        self.join = after.join if isinstance(after, Quorum) else None
        self.timeout = timeout
        self.retry = retry
        self.on_unknown: OnUnknown = on_unknown
        self.undos: list[WrittenUndo] = []
        self.__doc__ = fn.__doc__

    def __call__(self, data: D, *args: P.args, **kwargs: P.kwargs) -> C_co:
        return self.fn(data, *args, **kwargs)

    @overload
    def compensation(self: Step[D, P, Command[R]], fn: Callable[[D], C], /) -> Callable[[D], C]: ...
    @overload
    def compensation(
        self: Step[D, P, Command[R]], fn: Callable[Concatenate[D, R | None, Q], C], /
    ) -> Callable[Concatenate[D, R | None, Q], C]: ...
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
        steps, as for steps; where the step itself replies nothing, the second is annotated `None`.

        Args:
            timeout: longest wait for an answer to one attempt; default: the step's.
            retry: default: for ever, with capped waits.
        """
        take = Compensation[Any, Any](self, timeout, retry)
        return take if fn is None else take(fn)


class ListStep(Step[D, ..., C_co], Generic[D, I, P, C_co]):
    """A step over a list: it is done once for each item, and undone once for each."""

    @overload  # type: ignore[override]  # its compensation is given the item, too
    def compensation(
        self: ListStep[D, I, P, Command[R]], fn: Callable[[D, I], C], /
    ) -> Callable[[D, I], C]: ...
    @overload
    def compensation(
        self: ListStep[D, I, P, Command[R]], fn: Callable[Concatenate[D, I, R | None, Q], C], /
    ) -> Callable[Concatenate[D, I, R | None, Q], C]: ...
    @overload
    def compensation(
        self: ListStep[D, I, P, Command[R]], fn: Callable[Concatenate[D, I, R, Q], C], /
    ) -> Callable[Concatenate[D, I, R, Q], C]: ...
    @overload
    def compensation(
        self, /, *, timeout: timedelta | None = ..., retry: Retry | None = ...
    ) -> Callable[[F], F]: ...
    def compensation(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        fn: Callable[..., Any] | None = None,
        /,
        *,
        timeout: timedelta | None = None,
        retry: Retry | None = None,
    ) -> Any:
        """As of any step; the function is given the item behind the input."""
        take = Compensation[Any, Any](self, timeout, retry)
        return take if fn is None else take(fn)


class SavePoint(Step[D, [], Command[Way]]):
    """Where a saga may go on another way; its reply says which way it is on."""

    asked: frozenset[int] = frozenset()
    """The ways that somebody has asked for."""

    def way(self, number: int) -> Callable[[D, Way], bool]:
        """`when=point.way(2)`: a step of that way only; the first is 1."""

        self.asked |= {number}
        own = of(self)

        def on_it(_data: D, way: Way = own) -> bool:
            return way.number == number

        on_it.__annotations__ = {"way": Way}  # it takes the input of any saga
        return on_it
