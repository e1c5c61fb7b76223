"""`after=`: what a step comes after, and how much of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from es_saga.core.compiled import Join

if TYPE_CHECKING:
    from es_saga.core.step import Step


class _Start:
    """The beginning of a saga, as a predecessor."""

    def __repr__(self) -> str:
        return "START"


START: Final = _Start()
"""`after=START`: the step depends on nothing and runs beside the others that do."""


class Quorum(NamedTuple):
    """The steps that a step comes after, and how many of them it needs; see `quorum`, `gather`."""

    steps: tuple[str, ...]
    join: Join


def quorum(least: int, *steps: Step[Any, ..., Any] | str) -> Quorum:
    """`after=quorum(2, a, b, c)`: it begins as soon as two of them have succeeded.

    A member that says no, by a refusal or by a failure that is certain, is gone without while
    `least` of them can still succeed; so is a check or a wait that stayed without an answer. Who
    takes a member's reply must take None. What is still under way is not called off: it may
    succeed, and is undone with the others if the saga turns back.
    """
    return Quorum(_called(steps), Join(least, all_settled=False))


def gather(*steps: Step[Any, ..., Any] | str, least: int = 1) -> Quorum:
    """`after=gather(a, b, c)`: it begins when each has had its answer or its time.

    At least `least` of them must have succeeded; see `quorum`.
    """
    return Quorum(_called(steps), Join(least, all_settled=True))


After: TypeAlias = (
    "Step[Any, ..., Any] | str | _Start | Quorum | Iterable[Step[Any, ..., Any] | str] | None"
)
"""The steps that a step waits for; None: the one written before it."""


def names(after: After) -> tuple[str, ...] | Quorum | None:
    """`after=` as step names; None: the step written before."""
    if after is None or isinstance(after, Quorum):
        return after
    if isinstance(after, _Start):
        return ()
    if isinstance(after, str) or not isinstance(after, Iterable):
        after = (after,)
    return _called(after)


def _called(steps: Iterable[Step[Any, ..., Any] | str]) -> tuple[str, ...]:
    return tuple(step if isinstance(step, str) else step.name for step in steps)
