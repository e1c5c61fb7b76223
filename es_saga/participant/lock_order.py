"""Holds that are prepared are begun in one order, so that sagas do not lock each other out.

What is prepared stays locked until it is settled, and no database sees it when two sagas wait for
each other: one has the seats and wants the money, the other has the money and wants the seats.
They wait until the attempts of one are spent, and it is cancelled. Where all take their holds one
after the other, in the same order, the second waits at the first of them (Havender 1968).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from es_saga.core.compiled import Definition, StepDefinition
from es_saga.participant.kit import Part, Participant


def unordered(definition: Definition, participants: Iterable[Participant]) -> Iterator[str]:
    """A warning for each two holds that are begun side by side, and are prepared."""
    prepared = {
        handling.command
        for participant in participants
        for handling in participant.commands.values()
        if handling.part is Part.PREPARES
    }
    holds = [step for step in definition.steps.values() if step.command in prepared]
    for one, other in combinations(holds, 2):
        if not (_after(one, other) or _after(other, one)):
            yield (
                f"holds {one.name!r} and {other.name!r} are begun side by side, and what is "
                "prepared stays locked: two sagas that want the same rows may wait for each other "
                "until the attempts of one are spent. Begin one after the other."
            )


def _after(step: StepDefinition, other: StepDefinition) -> bool:
    return other.name in step.ancestors
