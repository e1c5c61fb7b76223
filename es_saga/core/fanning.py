"""Steps over a list, unfolded: how many there are is known when the step begins, and is in the log.

From then on one step of its own stands for each item: it is asked for, answered, retried and undone
by itself, like any other. Not more than `at_once` of them are under way, for each begins when the
one that many places before it is done; and so they are undone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from es_saga.core.compiled import Definition, StepDefinition
from es_saga.core.events import SagaEvent, StepFannedOut
from es_saga.core.messages import names_of_each
from es_saga.core.state import SagaState

_KEPT = 256
"""Definitions that are kept unfolded: sagas with lists of the same lengths share one."""


def unfolded(definition: Definition, state: SagaState | None) -> Definition:
    """The definition as this saga has it: with a step for each item of the lists that are known."""
    if state is None or not state.fans:
        return definition
    return _unfolded(_Same(definition), tuple(state.fans.items()))


def with_lists(definition: Definition, history: Iterable[SagaEvent]) -> Definition:
    """As `unfolded`, by a history; of steps that the definition does not have nothing is known."""
    fans = {e.step: e.count for e in history if isinstance(e, StepFannedOut)}
    known = {name: n for name, n in fans.items() if name in definition.steps}
    return _unfolded(_Same(definition), tuple(known.items())) if known else definition


class _Same:
    """A definition as a key: the very one, for its steps cannot be hashed."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition

    def __hash__(self) -> int:
        return id(self.definition)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.definition is self.definition


@lru_cache(_KEPT)
def _unfolded(same: _Same, fans: tuple[tuple[str, int], ...]) -> Definition:
    definition = same.definition
    for step, count in fans:
        if step not in definition.fans:
            definition = _unfold(definition, step, count)
    written = same.definition.written or same.definition
    return replace(definition, fans=dict(fans), written=written)


def _unfold(definition: Definition, name: str, count: int) -> Definition:
    """Put `count` steps in the place of one."""
    one = definition.steps[name]
    assert one.each is not None, "it goes over a list"
    names = names_of_each(name, count)
    steps: dict[str, StepDefinition] = {}
    for step in definition.steps.values():
        if step is not one:
            steps[step.name] = _behind(step, name, names)
            continue
        for item, own in enumerate(names):
            before = item - one.each.at_once
            if before < 0:
                steps[own] = replace(one, name=own, item=item, when=None)
                continue
            earlier = steps[names[before]]
            steps[own] = replace(
                one,
                name=own,
                item=item,
                when=None,
                join=None,
                after=(earlier.name,),
                ancestors=earlier.ancestors | {earlier.name},
            )
    return replace(definition, steps=steps)


def _behind(step: StepDefinition, name: str, names: list[str]) -> StepDefinition:
    """What came after the step over the list comes after each of those that stand for it."""
    if name not in step.ancestors:
        return step
    after = tuple(one for other in step.after for one in (names if other == name else [other]))
    return replace(step, after=after, ancestors=step.ancestors - {name} | frozenset(names))
