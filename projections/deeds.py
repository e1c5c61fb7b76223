"""What an event says was done or undone out there: the moment at which a step takes effect."""

from __future__ import annotations

from typing import NamedTuple

from es_saga import Recorded, SagaState, events


class Deed(NamedTuple):
    """A step that was done, or that had been done and was undone."""

    step: str
    undone: bool


def deed(recorded: Recorded, saga: SagaState) -> Deed | None:
    """What this event says was done or undone; None: nothing.

    An operator may have found it out, or done it by hand. The undo of a step that nobody knows to
    have been done, because its answer never came, takes nothing away.
    """
    match recorded.event:
        case events.StepSucceeded(step=step):
            return Deed(step, undone=False)
        case events.OperatorResolved(step=step, direction="do", outcome="succeeded"):
            return Deed(step, undone=False)
        case (
            events.CompensationSucceeded(step=step)
            | events.OperatorResolved(step=step, direction="undo", outcome="succeeded")
        ) if was_done(saga, step):
            return Deed(step, undone=True)
        case _:
            return None


def was_done(saga: SagaState, step: str) -> bool:
    """Whether a step is known to have been done, whatever became of it afterwards."""
    return step in saga.steps and saga.steps[step].do.status == "succeeded"
