"""A definition as one saga has it: with a step for each item of its lists and each of its ways.

**Lists.** How long a list is is known when its step begins, and is in the log. From then on a step
of its own stands for each item: it is asked for, answered, retried and undone by itself, like any
other. Not more than `at_once` of them are under way, for each begins when the one that many places
before it is done; and so they are undone.

**Ways.** When a saga goes on from a save-point anew, each step after it stands there once more,
with another name. The steps of the way that was given up are past: undone, and never begun again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from es_saga.core.compiled import Bind, Condition, Definition, Fan, StepDefinition, UndoDefinition
from es_saga.core.events import SagaEvent, SagaResumed, StepFannedOut
from es_saga.core.messages import name_of_way, names_of_each
from es_saga.core.state import SagaState

MAX_WAYS_IN_ALL = 100
"""Ways through all save-points of a saga together; a history of nonsense may tell of any number."""

_KEPT = 256
"""Definitions that are kept unfolded: sagas that went alike share one."""

Ways = tuple[tuple[str, int], ...]
Fans = tuple[tuple[str, int], ...]


def unfolded(definition: Definition, state: SagaState | None) -> Definition:
    """The definition as this saga has it by now."""
    if state is None or not (state.fans or state.ways):
        return definition
    return _unfolded(_Same(definition), state.ways, tuple(state.fans.items()))


def as_it_went(definition: Definition, history: Iterable[SagaEvent]) -> Definition:
    """As `unfolded`, by a history; of steps that the definition does not have nothing is known."""
    history = list(history)
    ways = tuple((e.save_point, e.way) for e in history if isinstance(e, SagaResumed))
    fans = tuple((e.step, e.count) for e in history if isinstance(e, StepFannedOut))
    if not (ways or fans):
        return definition
    return _unfolded(_Same(definition), ways[:MAX_WAYS_IN_ALL], fans)


class _Same:
    """A definition as a key: the very one, for its steps cannot be hashed."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition

    def __hash__(self) -> int:
        return id(self.definition)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.definition is self.definition


@lru_cache(_KEPT)
def _unfolded(same: _Same, ways: Ways, fans: Fans) -> Definition:
    """Ways first, for they are taken with the steps as they were written."""
    definition = written = same.definition.written or same.definition
    for save_point, way in ways:
        if save_point in definition.steps and definition.steps[save_point].ways is not None:
            definition = _another_way(definition, save_point, way)
    for step, count in fans:
        known = definition.steps.get(step)
        if known and known.each and known.item is None and 0 < count <= known.each.most:
            definition = _unfold(definition, step, count)
    return replace(definition, fans=dict(fans), ways=ways, written=written)


# ── ways ─────────────────────────────────────────────────────────────────────────────────────────


def _another_way(definition: Definition, save_point: str, way: int) -> Definition:
    """Put a second copy of every step after the save-point behind it; the first is past."""
    given_up = [
        step for step in definition.steps.values() if save_point in step.ancestors and not step.past
    ]
    names = {step.name: name_of_way(step.name, way) for step in given_up}
    steps = {
        name: replace(step, past=True) if name in names else step
        for name, step in definition.steps.items()
    }
    steps |= {names[step.name]: _renamed(step, names) for step in given_up}
    return replace(definition, steps=steps)


def _renamed(step: StepDefinition, names: dict[str, str]) -> StepDefinition:
    """A step on another way: it depends on those of that way."""

    def binds(given: tuple[Bind, ...]) -> tuple[Bind, ...]:
        return tuple(bind._replace(source=names.get(bind.source, bind.source)) for bind in given)

    undo: UndoDefinition | None = step.undo and replace(step.undo, binds=binds(step.undo.binds))
    when: Condition | None = step.when and replace(step.when, binds=binds(step.when.binds))
    each: Fan | None = step.each and replace(step.each, binds=binds(step.each.binds))
    return replace(
        step,
        name=names[step.name],
        after=tuple(names.get(name, name) for name in step.after),
        ancestors=frozenset(names.get(name, name) for name in step.ancestors),
        binds=binds(step.binds),
        undo=undo,
        when=when,
        each=each,
        confirms=step.confirms and names.get(step.confirms, step.confirms),
    )


# ── lists ────────────────────────────────────────────────────────────────────────────────────────


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
