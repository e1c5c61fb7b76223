"""Countermeasures that are pure: a stricter saga by what is at stake; what others see early."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_saga.core.by_value import ByValue
from es_saga.core.definition import Saga
from es_saga.core.errors import DefinitionError
from es_saga.core.messages import Command, Message
from es_saga.core.pessimistic_view import exposed


class Spend(Message):
    pence: float


class RaiseLimit(Command[None]):
    to = "credit"
    exposes = "money can be spent up to a limit that is taken back"


class LowerLimit(Command[None]):
    to = "credit"


class Count(Command[None]):
    to = "credit"


def raising(name: str) -> Callable[[Spend], RaiseLimit]:
    """The function of a step that exposes something."""

    def build(_: Spend) -> RaiseLimit:
        return RaiseLimit()

    build.__name__ = name
    return build


def counting(name: str) -> Callable[[Spend], Count]:
    """… and of one that does not."""

    def build(_: Spend) -> Count:
        return Count()

    build.__name__ = name
    return build


def lower(_: Spend) -> LowerLimit:
    return LowerLimit()


usual, strict = Saga("usual", Spend), Saga("strict", Spend)
numbers = st.floats()
"""Infinities, and what is no number, too."""


@pytest.mark.law("L69")
@given(numbers, numbers)
def test_only_what_is_known_to_be_no_more_than_the_limit_takes_the_usual_saga(
    risk: float, above: float
) -> None:
    choice = ByValue(usual=usual, strict=strict, risk=lambda s: s.pence, above=above)
    chosen = choice.of(Spend.model_construct(pence=risk))
    assert (chosen is usual) == (risk <= above)
    assert chosen in (usual, strict)


def test_two_sagas_that_take_different_inputs_are_no_choice() -> None:
    other = cast(Saga[Spend], Saga("other", Message))
    with pytest.raises(DefinitionError, match="'usual' and 'other' take different inputs"):
        ByValue(usual=usual, strict=other, risk=lambda s: s.pence, above=1.0)


@pytest.mark.law("L66")
@given(st.lists(st.booleans(), max_size=4), st.lists(st.booleans(), max_size=4))
def test_whoever_exposes_something_before_the_pivot_is_warned_of_and_nobody_else(
    before: list[bool], after: list[bool]
) -> None:
    """True: the step exposes something."""
    saga = Saga("lending", Spend)
    for number, exposes in enumerate(before):
        name = f"before_{number}"
        step = saga.step(raising(name)) if exposes else saga.step(counting(name))
        step.compensation(lower)
    saga.pivot(raising("pivot"))
    for number, exposes in enumerate(after):
        name = f"after_{number}"
        _ = saga.step(raising(name)) if exposes else saga.step(counting(name))
    warned = list(exposed(saga.definition))
    steps = [f"before_{number}" for number, exposes in enumerate(before) if exposes]
    assert len(warned) == len(steps)
    for name, warning in zip(steps, warned, strict=True):
        assert warning.startswith(f"step {name!r} can still be undone after others have seen it: ")
        assert "a limit that is taken back. Place it after the pivot" in warning
