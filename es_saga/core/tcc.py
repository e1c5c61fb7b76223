"""Try, confirm, cancel: every participant holds its part, then all of it is made final, or nothing.

    checkout = Tcc("checkout", Cart)

    @checkout.hold(expires=timedelta(minutes=15))
    def seats(c: Cart) -> HoldSeats: ...

A `Tcc` is a saga written shorter, and compiles to the very same definition: a hold is a step that
is undone by its cancel; when all holds have succeeded, each has a confirm, beside the others and
retried until done. There is no pivot: nothing is asked of anybody between the last hold and the
confirms, and the first confirm that is sent is the point of no return.

The commands that settle a hold follow from it: `HoldSeats` is made final by `ConfirmHoldSeats` and
given up by `CancelHoldSeats`, each with the hold as its only field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache, wraps
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar

from pydantic import create_model

from es_saga.core.after import After, Quorum, names
from es_saga.core.compiled import Definition, StepDefinition, StepKind, UndoDefinition
from es_saga.core.definition import Saga
from es_saga.core.expiry import longest, longest_way
from es_saga.core.messages import Command, Message
from es_saga.core.options import policy, seconds, some_seconds
from es_saga.core.policy import DEFAULT_TIMEOUT, FOR_EVER, Retry
from es_saga.core.step import Step
from es_saga.core.verify import MAX_STEPS, Verifier

D = TypeVar("D", bound=Message)
C = TypeVar("C", bound=Command[Any])
C_co = TypeVar("C_co", bound=Command[Any], covariant=True)
P = ParamSpec("P")

MAX_HOLDS: Final = MAX_STEPS // 2
"""Holds a Tcc may have: each takes a step to confirm it."""

# ── what settles a hold ──────────────────────────────────────────────────────────────────────────


class ConfirmHold(Command[None], Generic[C]):
    """Makes final what was held."""

    hold: C


class CancelHold(Command[None], Generic[C]):
    """Gives up what was held, or may be."""

    hold: C


def confirm_of(hold: type[C]) -> type[ConfirmHold[C]]:
    """The command that makes a hold final.

    >>> class HoldSeats(Command[None]):
    ...     to = "box_office"
    ...     count: int
    >>> confirm_of(HoldSeats).__name__, confirm_of(HoldSeats).to
    ('ConfirmHoldSeats', 'box_office')
    """
    return _settling("Confirm", ConfirmHold, hold)


def cancel_of(hold: type[C]) -> type[CancelHold[C]]:
    """The command that gives a hold up; see `confirm_of`."""
    return _settling("Cancel", CancelHold, hold)


@cache  # one class a hold: commands are compared by their classes
def _settling(verb: str, base: type[C], hold: type[Command[Any]]) -> type[C]:
    made = create_model(
        f"{verb}{hold.__name__}",
        __base__=base,
        __doc__=base.__doc__,
        __module__=hold.__module__,
        hold=(hold, ...),
    )
    made.to = hold.to
    return made


def settled_by(command: type[object]) -> tuple[str, type[Command[Any]]] | None:
    """Which function above makes a command out of which hold; None: neither does.

    >>> class HoldBox(Command[None]):
    ...     to = "theatre"
    >>> settled_by(cancel_of(HoldBox)) == ("cancel_of", HoldBox)
    True
    """
    for maker, base in ((confirm_of, ConfirmHold), (cancel_of, CancelHold)):
        if issubclass(command, base) and command is not base:
            hold: Any = command.model_fields["hold"].annotation
            return maker.__name__, hold
    return None


def confirming(hold: str) -> str:
    """The name of the step that confirms a hold."""
    return f"confirm_{hold}"


# ── what a user writes ───────────────────────────────────────────────────────────────────────────


class Hold(Step[D, P, C_co]):
    """A hold of a `Tcc`: still the function it decorates, callable in a test."""

    def __init__(
        self,
        fn: Callable[Concatenate[D, P], C_co],
        expires: timedelta,
        after: tuple[str, ...] | Quorum | None,
        timeout: timedelta,
        retry: Retry | None,
    ) -> None:
        super().__init__(fn, StepKind.COMPENSATABLE, after, timeout, retry, "undo")
        self.expires = expires


class Tcc(Saga[D]):
    """A saga whose participants first hold, and then all confirm or all cancel.

    Its steps are its holds, and nothing else. `Saga` has the arguments.
    """

    def _compile(self) -> Definition:
        return _TccVerifier(self).compile()

    def hold(
        self,
        /,
        *,
        expires: timedelta,
        after: After = None,
        timeout: timedelta = DEFAULT_TIMEOUT,
        retry: Retry | None = None,
    ) -> Callable[[Callable[Concatenate[D, P], C]], Hold[D, P, C]]:
        """Decorator: a participant sets something aside, until it is confirmed or cancelled.

        Args:
            expires: how long the participant keeps it unsettled, counted from when it held it.
                It must be longer than the saga may take to have all holds answered. What may have
                expired before anything is confirmed has all holds cancelled; a confirm that comes
                too late takes a human.
            after: the holds it waits for; default: the one written before it.
            timeout: longest wait for an answer to one attempt, of hold, confirm and cancel.
            retry: of the hold; default: three attempts. Confirm and cancel are retried for ever.
        """
        before = names(after)

        def register(fn: Callable[Concatenate[D, P], C]) -> Hold[D, P, C]:
            made: Hold[D, P, C] = Hold(fn, expires, before, timeout, retry)
            self.steps.append(made)
            return made

        return register


# ── compiling it ─────────────────────────────────────────────────────────────────────────────────


class _TccVerifier(Verifier):
    """Verifies the holds as the steps they are, and adds what settles them."""

    def compile(self) -> Definition:
        definition = super().compile()
        holds = definition.steps
        confirms = {confirming(name): _confirm(hold, holds) for name, hold in holds.items()}
        return replace(definition, steps={**holds, **confirms})

    def check_saga(self) -> None:
        if self.saga.steps:
            super().check_saga()
        else:
            self.fault("it has no hold: write one with @….hold(expires=…)")
        if len(self.saga.steps) > MAX_HOLDS:
            self.fault(f"it has {len(self.saga.steps)} holds: 1 to {MAX_HOLDS} are possible")
        for name, step in self.steps.items():
            if not isinstance(step, Hold):
                self.fault(f"{name} is a {step.kind} step: a Tcc has holds only")
            if step.join is not None:
                self.fault(f"{name} comes after a quorum: a Tcc needs all its holds")
            if confirming(name) in self.steps:
                self.fault(f"{confirming(name)} is what the confirm of {name} will be called")

    def check_compensation(
        self, step: Step[Any, ..., Any], kind: StepKind, pivot: str | None
    ) -> None:
        if not isinstance(step, Hold):
            return
        name = step.name
        expires = seconds(f"expires= of {name}", step.expires, self.fault)
        if step.undos:
            self.fault(f"{name} has a compensation, but a hold is undone by its cancel")
        longest_of = {
            each: longest(
                policy(each, other.retry or Retry(), self.fault),
                some_seconds(f"{each}: the timeout", other.timeout, self.fault),
            )
            for each, other in self.steps.items()
        }
        whole = longest_way(longest_of, self.after, self.ancestors[name])
        if expires <= whole:
            self.fault(
                f"{name} expires after {expires:g} s, but the holds from it on may take "
                f"{whole:g} s to be answered: let it live longer, or shorten timeout and retry"
            )

    def compile_step(self, step: Step[Any, ..., Any], pivot: str | None) -> StepDefinition | None:
        found = super().compile_step(step, pivot)
        if found is None or not isinstance(step, Hold):
            return found
        cancel = cancel_of(found.command)
        undo = UndoDefinition(
            fn=_settler(found, cancel),
            command=cancel,
            reply=None,
            accepts_unknown=True,
            binds=found.binds,
            timeout=found.timeout,
            retry=FOR_EVER,
        )
        expires = seconds(f"expires= of {found.name}", step.expires, self.fault)
        return replace(found, undo=undo, expires=expires)


def _confirm(hold: StepDefinition, holds: Mapping[str, StepDefinition]) -> StepDefinition:
    command = confirm_of(hold.command)
    return replace(
        hold,
        name=confirming(hold.name),
        kind=StepKind.RETRIABLE,
        after_pivot=True,
        fn=_settler(hold, command),
        command=command,
        reply=None,
        after=tuple(holds),
        ancestors=frozenset(holds),
        retry=FOR_EVER,
        undo=None,
        expires=None,
        confirms=hold.name,
        doc=f"Makes final what {hold.name} holds.",
    )


def _settler(hold: StepDefinition, command: type[Command[Any]]) -> Callable[..., Command[Any]]:
    """The function of a confirm or cancel: the hold once more, in the command that settles it."""

    @wraps(hold.fn)
    def settle(*args: Any, **replies: Any) -> Command[Any]:
        return command.model_validate({"hold": hold.fn(*args, **replies)})

    return settle
