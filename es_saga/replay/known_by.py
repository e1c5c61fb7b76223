"""What a step is known by in a scene: its command, or the events that services tell of it."""

from __future__ import annotations

from es_saga.core.compiled import Definition, StepDefinition
from es_saga.core.events import Json
from es_saga.core.inputs import Reply
from es_saga.core.messages import Direction, Event, Outcome
from es_saga.replay.answers import likely
from es_saga.testing.stage import Asking


def asking_of(step: StepDefinition, direction: Direction) -> Asking:
    """Its command, or that of its undo; where nobody is asked the event that is expected."""
    if step.observed is not None:
        told = step.observed.done if direction is Direction.DO else step.observed.undone
        assert told is not None, "it was undone"
        return told
    if direction is Direction.DO:
        return step.command
    assert step.undo is not None, "it was undone"
    return step.undo.command


def event_of(definition: Definition, reply: Reply, known: Json) -> Event:
    """What a service must have told, that this became of it.

    Of an undo the log keeps only that it was; what was told with it is made up.

    Args:
        known: what is known of the saga.
    """
    step = definition.steps[reply.key.step]
    assert step.observed is not None, "nobody was asked"
    if reply.key.direction is Direction.UNDO:
        undone = step.observed.undone
        assert undone is not None, "it was undone"
        return undone.model_validate(likely(step, undone, known, "Nobody knows what was told."))
    refusals = {event.__name__: event for event in step.observed.refused}
    refused = reply.outcome is Outcome.REFUSED
    told = refusals[reply.type] if refused else step.observed.done
    return told.model_validate(reply.data)
