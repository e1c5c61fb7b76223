"""What a saga that runs other sagas can be: those are verified, and take part in its shape.

A child with a pivot cannot be undone after it, so the step that runs it is its parent's pivot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from es_saga.core.compiled import Definition, StepDefinition, StepKind
from es_saga.core.errors import DefinitionError
from es_saga.core.nested import closes, closing, command_of, nested
from es_saga.core.signatures import Signature, named

if TYPE_CHECKING:
    from es_saga.core.definition import Saga
    from es_saga.core.step import Step


class Children:
    """The sagas that one saga runs.

    Args:
        fault: is told what is wrong.
    """

    def __init__(self, saga: Saga[Any], fault: Callable[[str], None]) -> None:
        self._fault = fault
        self._of = {step.name: step.child for step in saga.steps if step.child is not None}
        self._sound: dict[str, Definition] = {}
        """By step: the saga that it runs, if that can be run."""
        taken = {step.name for step in saga.steps}
        for step, child in self._of.items():
            if closing(step) in taken:
                fault(f"{closing(step)} is what the closing of {step} will be called")
            circle = _way(child, saga)
            if circle:
                fault(f"{step} runs the saga itself: {' → '.join([saga.name, *circle])}")
                continue
            try:
                definition = child.definition
            except DefinitionError as error:
                fault(f"{step} runs {child.name!r}, which cannot run: {'; '.join(error.faults)}")
                continue
            if not definition.conducted:
                fault(f"{step} runs {child.name!r}, a choreography: nobody conducts it")
                continue
            self._sound[step] = definition

    def kind(self, step: Step[Any, ..., Any]) -> StepKind:
        """What a step is, its child considered."""
        return StepKind.PIVOT if self._pivot(step.name) else step.kind

    def label(self, step: str) -> str:
        """A pivot, as people are told of it."""
        pivot = self._pivot(step)
        return step if pivot is None else f"{step} ({pivot} of {self._of[step].name!r})"

    def _pivot(self, step: str) -> str | None:
        return self._sound[step].pivot if step in self._sound else None

    def read(self, step: Step[Any, ..., Any], read: Callable[..., Signature]) -> Signature:
        """Take the function of a step apart that makes the input of a child."""
        child = self._of[step.name]
        signature = read(step.name, step.fn, condition=True)
        made = signature.hints.get("return")
        if made is child.data:
            signature.command = command_of("begin", child)
        else:
            self._fault(
                f"{step.name} returns {named(made)}, but the input of {child.name!r} is "
                f"{named(child.data)}"
            )
        return signature

    def check(self, step: Step[Any, ..., Any]) -> None:
        """What stands beside the function of a step that runs a child."""
        if step.undos:
            self._fault(f"{step.name} has a compensation, but a saga undoes itself")
        if step.when is not None and self._pivot(step.name):
            self._fault(f"{self.label(step.name)} is the pivot, and has a condition")

    def compile(self, step: StepDefinition) -> StepDefinition:
        """A compiled step, as what runs a child if it is one."""
        definition = self._sound.get(step.name)
        return step if definition is None else nested(step, definition)

    def closed(self, steps: dict[str, StepDefinition]) -> dict[str, StepDefinition]:
        """The steps of the parent, with those that close its children."""
        return {**steps, **closes(steps)}


def _way(saga: Saga[Any], to: Saga[Any]) -> list[str]:
    """Names of the sagas from one to another that it runs; empty: it does not."""
    ways = {saga: [saga.name]}
    waiting = [saga]
    while waiting:
        one = waiting.pop()
        if one is to:
            return ways[one]
        for step in one.steps:
            if step.child is not None and step.child not in ways:
                ways[step.child] = [*ways[one], step.child.name]
                waiting.append(step.child)
    return []
