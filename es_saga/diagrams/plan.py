"""A saga type as diagrams need it: out of its code, or out of the shape that the log remembers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from es_saga.core.compiled import Definition, StepKind


class Box(NamedTuple):
    """One step."""

    name: str
    kind: StepKind
    after: tuple[str, ...]
    command: str
    undo: str | None
    """The command that undoes it."""
    to: str | None = None
    """Who it goes to; None: nobody, or a shape does not say."""
    conditional: bool = False


class Plan(NamedTuple):
    """A saga type."""

    name: str
    boxes: tuple[Box, ...]
    """In the order in which they were written."""

    @property
    def pivot(self) -> str | None:
        """Name of the pivot, if there is one."""
        return next((box.name for box in self.boxes if box.kind is StepKind.PIVOT), None)

    @property
    def last(self) -> tuple[str, ...]:
        """Steps that none waits for: the end does."""
        awaited = {name for box in self.boxes for name in box.after}
        return tuple(box.name for box in self.boxes if box.name not in awaited)


Source = Definition | Mapping[str, Any]
"""A definition, or the shape of one, as `Definition.shape` has it."""


def plan_of(source: Source) -> Plan:
    """What there is to draw of a saga type."""
    if isinstance(source, Definition):
        boxes = (
            Box(
                step.name,
                step.kind,
                step.after,
                step.asks,
                step.undo.command.__name__ if step.undo else None,
                step.command.to or None,
                step.when is not None,
            )
            for step in source.steps.values()
        )
        return Plan(source.name, tuple(boxes))
    steps = cast(Sequence[Mapping[str, Any]], source["steps"])
    return Plan(
        source["name"],
        tuple(
            Box(
                step["name"],
                StepKind(step["kind"]),
                tuple(step["after"]),
                step["command"],
                step["undo"],
                conditional=step.get("when", False),
            )
            for step in steps
        ),
    )
