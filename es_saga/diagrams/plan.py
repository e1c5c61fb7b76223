"""A saga type as diagrams need it: out of its code, or out of the shape that the log remembers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from es_saga.core.compiled import Definition, StepKind

_SLEEP = "Sleep"
"""What a step that lets time pass has for a command."""

EXPECTED = "expected"
"""Remark on a step that nobody asks for: an event tells of it."""


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
    remarks: tuple[str, ...] = ()
    special: str = ""
    """What it is rather than its kind: a save-point, say."""
    child: str | None = None
    """The saga that it runs."""

    @property
    def asks(self) -> str:
        """What it sends or waits for, and who that goes to or comes from; nothing: it asks nobody.

        >>> Box("pay", StepKind.PIVOT, (), "PayTrip", None, "wallet").asks
        'PayTrip → wallet'
        """
        if self.child is not None:
            return f"saga {self.child}"
        if self.special:
            return ""
        if self.to is None:
            return self.command
        return f"{self.command} {'←' if self.by else '→'} {self.to.replace(':', ' ')}"

    @property
    def by(self) -> bool:
        """Whether it is an event of a service, and not a command to it."""
        return EXPECTED in self.remarks

    @property
    def gist(self) -> str:
        """Its kind, and what is special about it."""
        return ", ".join([self.special or self.kind.value, *self.remarks])


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
    definition = source if isinstance(source, Definition) else None
    shape = source.shape if isinstance(source, Definition) else source
    steps = cast(Sequence[Mapping[str, Any]], shape["steps"])
    return Plan(
        shape["name"],
        tuple(
            Box(
                step["name"],
                StepKind(step["kind"]),
                definition.steps[step["name"]].after if definition else tuple(step["after"]),
                step["command"],
                step["undo"],
                definition.steps[step["name"]].command.to or None if definition else None,
                remarks(step),
                _special(step),
                step.get("saga") if step["undo"] or step["kind"] != "retriable" else None,
            )
            for step in steps
        ),
    )


def _special(step: Mapping[str, Any]) -> str:
    if "ways" in step:
        return "save-point"
    return "sleep" if step["kind"] == "wait" and step["command"] == _SLEEP else ""


def remarks(step: Mapping[str, Any]) -> tuple[str, ...]:
    """What is special about a step, as `Definition.shape` has it, in a few words each.

    >>> remarks({"kind": "check", "after": ["a", "b"], "when": True, "join": [1, False]})
    ('conditional', 'needs 1 of 2')
    """
    found = ["conditional"] if step.get("when") else []
    if step.get("expected"):
        found.append(EXPECTED)
    if "join" in step:
        least, all_settled = step["join"]
        found.append(f"{'gathers' if all_settled else 'needs'} {least} of {len(step['after'])}")
    if "ways" in step:
        found.append(f"{step['ways']} ways")
    if "each" in step:
        most, at_once = step["each"]
        found.append(f"each of up to {most}, {min(most, at_once)} at once")
    return tuple(found)
