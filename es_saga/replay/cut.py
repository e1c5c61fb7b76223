"""Where a history is cut to be forked: before the first answer of those that are told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from es_saga.core.compiled import Definition, StepDefinition
from es_saga.core.errors import InvalidInput
from es_saga.core.events import (
    OperatorResolved,
    SignalReceived,
    StepFailed,
    StepRefused,
    StepSkipped,
    StepSucceeded,
    StepTimedOut,
)
from es_saga.core.messages import name_of_way
from es_saga.core.unfolding import unfolded
from es_saga.replay.replaying import Moment, Replay

Steps = Mapping[str, StepDefinition]
"""By name."""

_SETTLING: Final = (
    StepSucceeded,
    StepRefused,
    StepFailed,
    StepTimedOut,
    StepSkipped,
    OperatorResolved,
)


def steps_of(definition: Definition, replay: Replay) -> Steps:
    """The steps of a history, and those of all ways from its save-points that it did not take."""
    steps = definition.steps
    points = {name: step.ways for name, step in steps.items() if step.ways is not None}
    ways = range(2, sum(points.values()) - len(points) + 2)
    others = {
        name: replace(step, name=name)
        for step in steps.values()
        if not step.ancestors.isdisjoint(points)
        for name in (name_of_way(step.name, way) for way in ways)
    }
    return {**others, **unfolded(definition, replay.state).steps}


def first_answer(replay: Replay, told: Steps) -> int:
    """How many events come before the first answer to one of these steps.

    Raises:
        InvalidInput: none of them was ever asked, and none can be any more.
    """
    for moment in replay.moments:
        if _answers(moment, told):
            return moment.reaction.first - 1
    never = [step for step in told if step not in replay.state.steps]
    if told and len(never) == len(told) and replay.state.closed is not None:
        raise InvalidInput(
            f"Saga {replay.saga_id} has ended without asking for {', '.join(never)}.",
            hint="Say what would have been answered before: several --what-if go together.",
        )
    return len(replay)


def _answers(moment: Moment, told: Steps) -> bool:
    """Whether it tells what became of one of them: its outcome, what it waits for, or nothing."""
    event, before = moment.event, moment.before
    if isinstance(event, SignalReceived):
        return any(step.wait is not None and step.asks == event.name for step in told.values())
    if isinstance(event, _SETTLING):
        return event.step in told
    waited = before.waiting if before is not None else ()
    return any(name in told and name not in moment.after.waiting for name in waited)
