"""What a user writes: a saga of decorated pure functions.

The decorators keep the types of the functions they take, so mypy and pyright check a compensation
against its step's reply, without a plugin. Nothing is checked while decorating: `Saga.definition`
compiles and verifies the whole, as soon as an `App` has it, and reports every fault at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Concatenate, Generic, TypeVar, overload

from es_saga.core.after import After, names
from es_saga.core.beginning import Beginning
from es_saga.core.by_hand import Decide
from es_saga.core.compiled import (
    Await,
    Definition,
    OnNothing,
    OnUnknown,
    StepKind,
    UndoOrder,
)
from es_saga.core.correlation import Header
from es_saga.core.messages import Command, Event, Message
from es_saga.core.nested import BeginSaga, beginning
from es_saga.core.policy import DEFAULT_TIMEOUT, FOR_EVER, NESTED_TIMEOUT, ONCE, OnFailedUndo, Retry
from es_saga.core.step import (
    AT_ONCE,
    C,
    D,
    Each,
    I,
    ListStep,
    P,
    SavePoint,
    Step,
    When,
    asking_nobody,
    named_after,
)

E = TypeVar("E", bound=Event)
I_ = TypeVar("I_", bound=Message)
M = TypeVar("M", bound=Message)
S = TypeVar("S", bound=Step[Any, [], Any])

_NO_MESSAGE = Await(None)
"""What a step waits for that only lets time pass."""


class Saga(Generic[D]):
    """A saga definition: a name, the type of its input, and its steps.

    Args:
        name: stands on every instance and in its commands; letters, digits, `_`, `-`.
        data: the model of the input.
        version: raise it when the shape changes; running sagas finish on theirs.
        deadline: longest life before the pivot; after it, only an alert.
        on_failed_undo: what becomes of the other undos when one failed for good.
        undo_order: "parallel": all undos at once, whatever depends on what (R042).
        decide: a function of yours instead of our rules; see `es_saga.core.by_hand`.

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
        undo_order: UndoOrder = "reverse",
        decide: Decide | None = None,
    ) -> None:
        self.name = name
        self.data = data
        self.version = version
        self.deadline = deadline
        self.on_failed_undo = on_failed_undo
        self.undo_order: UndoOrder = undo_order
        self.decide = decide
        self.steps: list[Step[Any, ..., Any]] = []
        self.beginnings: list[Beginning[Any, Any]] = []
        self._compiled: tuple[object, Definition] | None = None

    def __repr__(self) -> str:
        return f"Saga({self.name!r}, version={self.version})"

    @property
    def definition(self) -> Definition:
        """The verified definition.

        Raises:
            DefinitionError: it cannot be run; all faults are listed.
        """
        # A later decorator makes it stale.
        written = [len(step.undos) for step in self.steps], [one.fn for one in self.beginnings]
        if self._compiled is None or self._compiled[0] != written:
            self._compiled = written, self._compile()
        return self._compiled[1]

    def _compile(self) -> Definition:
        from es_saga.core.verify import compile_saga

        return compile_saga(self)

    @overload
    def step(self, fn: Callable[Concatenate[D, P], C], /) -> Step[D, P, C]: ...
    @overload
    def step(
        self,
        /,
        *,
        after: After = ...,
        timeout: timedelta = ...,
        retry: Retry | None = ...,
        on_unknown: OnUnknown = ...,
        when: When[D] | None = ...,
    ) -> Callable[[Callable[Concatenate[D, P], C]], Step[D, P, C]]: ...
    @overload
    def step(
        self,
        /,
        *,
        each: Callable[[D], Sequence[I]],
        most: int,
        at_once: int = ...,
        after: After = ...,
        timeout: timedelta = ...,
        retry: Retry | None = ...,
        on_unknown: OnUnknown = ...,
        when: When[D] | None = ...,
    ) -> Callable[[Callable[Concatenate[D, I, P], C]], ListStep[D, I, P, C]]: ...
    @overload
    def step(
        self,
        /,
        *,
        each: Callable[[D, Any], Sequence[I]],
        most: int,
        at_once: int = ...,
        after: After = ...,
        timeout: timedelta = ...,
        retry: Retry | None = ...,
        on_unknown: OnUnknown = ...,
        when: When[D] | None = ...,
    ) -> Callable[[Callable[Concatenate[D, I, P], C]], ListStep[D, I, P, C]]: ...
    def step(self, fn: Any = None, /, **options: Any) -> Any:
        """A step that changes something: undone before the pivot, retried after it.

        Args:
            after: the steps it waits for; default: the one written before it.
            timeout: longest wait for an answer to one attempt; default 30 s.
            retry: default: three attempts before the pivot, for ever after it.
            on_unknown: what follows when every attempt stayed unanswered.
            when: a pure function of the input, and of earlier replies as for steps; where it says
                False the step is skipped, and who takes its reply must take None.
            each: a pure function of the input, or of it and an earlier reply, that gives a list.
                There is a step of its own for each item, which its functions are given behind the
                input; who takes the reply takes the list of replies.
            most: how long the list can be; a longer one parks the saga.
            at_once: how many of them are under way at most.
        """
        return self._add(fn, StepKind.COMPENSATABLE, **options)

    @overload
    def check(self, fn: Callable[Concatenate[D, P], C], /) -> Step[D, P, C]: ...
    @overload
    def check(
        self,
        /,
        *,
        after: After = ...,
        timeout: timedelta = ...,
        retry: Retry | None = ...,
        when: When[D] | None = ...,
    ) -> Callable[[Callable[Concatenate[D, P], C]], Step[D, P, C]]: ...
    @overload
    def check(
        self,
        /,
        *,
        each: Callable[[D], Sequence[I]],
        most: int,
        at_once: int = ...,
        after: After = ...,
        timeout: timedelta = ...,
        retry: Retry | None = ...,
        when: When[D] | None = ...,
    ) -> Callable[[Callable[Concatenate[D, I, P], C]], ListStep[D, I, P, C]]: ...
    @overload
    def check(
        self,
        /,
        *,
        each: Callable[[D, Any], Sequence[I]],
        most: int,
        at_once: int = ...,
        after: After = ...,
        timeout: timedelta = ...,
        retry: Retry | None = ...,
        when: When[D] | None = ...,
    ) -> Callable[[Callable[Concatenate[D, I, P], C]], ListStep[D, I, P, C]]: ...
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
        after: After = ...,
        timeout: timedelta = ...,
        retry: Retry | None = ...,
    ) -> Callable[[Callable[Concatenate[D, P], C]], Step[D, P, C]]: ...
    def pivot(self, fn: Any = None, /, **options: Any) -> Any:
        """The point of no return, at most one a saga: before it we undo, after it we only go on."""
        return self._add(fn, StepKind.PIVOT, **options)

    def starts_on(
        self, event: type[E], /, *, key: str | None = None, header: Header | None = None
    ) -> Beginning[E, D]:
        """Begin a saga for each event of this type, which its service publishes.

            order.starts_on(OrderPlaced)         # the event is the input

            @order.starts_on(OrderPlaced)        # or the input is made of it, by a pure function
            def begin(event: OrderPlaced) -> PlaceOrder: ...

        The saga is `<name>-<key>`, as if started with that key; an event of a saga that there is
        already changes nothing.

        Args:
            event: has `by`, the service that publishes it; several events may begin a saga.
            key: the field of the event that has the key; default: what it is `about`.
            header: the attribute of its envelope that has it instead: "subject",
                "correlationid", or "sagaid", which is the saga's id itself.
        """
        made = Beginning[E, D](event, key, header)
        self.beginnings.append(made)
        return made

    def saga(
        self,
        child: Saga[I_],
        /,
        *,
        after: After = None,
        timeout: timedelta = NESTED_TIMEOUT,
        retry: Retry | None = FOR_EVER,
        when: When[D] | None = None,
    ) -> Callable[[Callable[Concatenate[D, P], I_]], Step[D, P, BeginSaga[I_]]]:
        """A step that runs another saga: the function makes that one's input.

        What the child did stays undoable until this saga ends, and is undone if this one is; so the
        step has no compensation of its own. A child that was undone by itself, cancelled by its
        operator for instance, refuses the step. One that has a pivot cannot be undone after it, so
        the step is this saga's pivot. After the pivot the child ends by itself.

        Args:
            child: it belongs to the same app. Its id is made of this saga's and the step's name.
            after, when: as for steps.
            timeout: how long it may take before it is asked for again, which changes nothing.
            retry: how often that is; default: for ever.
        """

        def register(fn: Callable[Concatenate[D, P], I_]) -> Step[D, P, BeginSaga[I_]]:
            begin, kind = beginning(fn, child), StepKind.COMPENSATABLE
            step: Step[D, P, BeginSaga[I_]] = Step(
                begin, kind, names(after), timeout, retry, "undo", when, child=child
            )
            self.steps.append(step)
            return step

        return register

    def wait(
        self,
        message: type[M],
        /,
        *,
        timeout: timedelta,
        on_timeout: OnNothing = "undo",
        key: str | None = None,
        header: Header | None = None,
        name: str | None = None,
        after: After = None,
        when: When[D] | None = None,
    ) -> Step[D, [], Command[M]]:
        """Wait for a message from outside: an approval, an event of somebody else's.

        It may come before the saga waits for it. Its content is the step's reply. An `Event` of a
        service is heard where that publishes it; if there is no such saga yet it waits for it, up
        to an hour.

        Args:
            message: one step may wait for each type.
            timeout: how long.
            key, header: of a service's event: which saga it belongs to, as for `starts_on`.
            on_timeout: then turn back (after the pivot: ask a human), or go on without it; who
                takes its content must then take None.
            name: default: the type's, in small letters with `_`.
        """
        called = named_after(message) if name is None else name
        wait = Await(message, on_timeout, key, header)
        return self._wait(Step[D, [], Command[M]], called, wait, timeout, after, when)

    def sleep(
        self,
        name: str,
        duration: timedelta,
        /,
        *,
        after: After = None,
        when: When[D] | None = None,
    ) -> Step[D, [], Command[None]]:
        """Let time pass."""
        return self._wait(Step[D, [], Command[None]], name, _NO_MESSAGE, duration, after, when)

    def save_point(self, name: str, /, *, ways: int, after: After = None) -> SavePoint[D]:
        """Where the saga may go on another way, if what comes after it fails.

        All that came after it is undone, last done first, and then begun again: the same steps,
        under names of their own (`book.2`), or others, by `when=point.way(2)`. Their functions may
        take a `Way`, which has its number and what failed before. When the last way has failed, a
        cancel or a deadline comes, or an undo could not be done, the whole saga is undone.

        Every other step comes before or after it; none of them beside it.

        Args:
            ways: how many there are, the first one counted.
        """
        return self._wait(SavePoint[D], name, _NO_MESSAGE, DEFAULT_TIMEOUT, after, None, ways)

    def _wait(
        self,
        made: type[S],
        name: str,
        wait: Await,
        timeout: timedelta,
        after: After,
        when: When[D] | None,
        ways: int | None = None,
    ) -> S:
        fn, kind = asking_nobody(name), StepKind.WAIT
        step = made(fn, kind, names(after), timeout, ONCE, "undo", when, wait, ways=ways)
        self.steps.append(step)
        return step

    def _add(
        self,
        fn: Any,
        kind: StepKind,
        *,
        after: After = None,
        timeout: timedelta = DEFAULT_TIMEOUT,
        retry: Retry | None = None,
        on_unknown: OnUnknown = "undo",
        when: Callable[..., bool] | None = None,
        each: Callable[..., Sequence[Any]] | None = None,
        most: int | None = None,
        at_once: int = AT_ONCE,
    ) -> Any:
        before = names(after)
        listed = None if each is None else Each(each, most, at_once)

        def register(fn: Callable[..., Any]) -> Step[Any, ..., Any]:
            made = Step[Any, ..., Any] if listed is None else ListStep[Any, Any, ..., Any]
            step = made(fn, kind, before, timeout, retry, on_unknown, when, each=listed)
            self.steps.append(step)
            return step

        return register if fn is None else register(fn)
