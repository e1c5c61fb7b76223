"""Sagas and those that they run: who else comes into being where some are begun."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from es_saga.core.compiled import Definition
from es_saga.core.messages import CommandKey, Direction
from es_saga.core.nested import child_id


def with_children(definitions: Iterable[Definition]) -> list[Definition]:
    """These and all that they run, each once."""
    found: dict[tuple[str, int], Definition] = {}
    waiting = list(definitions)
    for definition in waiting:  # it grows
        if found.setdefault((definition.name, definition.version), definition) is definition:
            waiting += [step.child for step in definition.steps.values() if step.child]
    return list(found.values())


def family(saga_id: str, definition: Definition) -> Iterator[tuple[str, Definition]]:
    """A saga and all that it may run, by the ids that they have when nothing is refused."""
    yield saga_id, definition
    for name, step in definition.steps.items():
        if step.child is not None:
            yield from family(child_id(CommandKey(saga_id, name, Direction.DO, 1)), step.child)
