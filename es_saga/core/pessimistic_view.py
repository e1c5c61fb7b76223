"""Pessimistic view: what others would be harmed by belongs after the point of no return (law L66).

A command says what others may come to harm by, if they see what it did and it is undone after all:

    class RaiseLimit(Command[None]):
        to = "credit"
        exposes = "money can be spent up to a limit that is taken back"

Where such a step can still be undone, `es-saga check` warns: move it behind the pivot, or have it
under a semantic lock.
"""

from __future__ import annotations

from collections.abc import Iterator

from es_saga.core.compiled import Definition


def exposed(definition: Definition) -> Iterator[str]:
    """A warning for each step that exposes something while it can still be undone."""
    for step in definition.steps.values():
        if step.command.exposes and step.undo is not None:
            yield (
                f"step {step.name!r} can still be undone after others have seen it: "
                f"{step.command.exposes}. Place it after the pivot, or lock what it changes."
            )
