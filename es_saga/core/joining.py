"""When a step may begin: all that it comes after is done, or enough of a quorum."""

from __future__ import annotations

from es_saga.core.compiled import StepDefinition, StepKind
from es_saga.core.reaction import Reaction
from es_saga.core.state import GIVEN_UP, WorkStatus

_LOST = (*GIVEN_UP, WorkStatus.SKIPPED)
"""A quorum cannot count on these."""
_QUIET = (StepKind.CHECK, StepKind.WAIT)
"""They change nothing, so it does not matter whether they were done."""


def ready(reaction: Reaction, step: StepDefinition, done: set[str]) -> bool:
    """What it comes after is done; of a quorum, enough, or so little that it is out of reach."""
    if step.kind is StepKind.PIVOT or step.confirms:  # nor is what could turn the saga back open
        return done.issuperset(step.ancestors)
    if step.join is None or done.issuperset(step.after):
        return done.issuperset(step.after)
    steps, least = reaction.state.steps, step.join.least
    if within_reach(reaction, step) < least:
        return True
    if step.join.all_settled:
        return False
    succeeded = (steps[name].do.status for name in step.after if name in steps)
    return sum(status is WorkStatus.SUCCEEDED for status in succeeded) >= least


def within_reach(reaction: Reaction, join: StepDefinition) -> int:
    """How many of a quorum have succeeded, or still may."""
    steps = reaction.state.steps
    return sum(name not in steps or steps[name].do.status not in _LOST for name in join.after)


def dispensable(reaction: Reaction, step: StepDefinition, status: WorkStatus) -> bool:
    """A quorum goes on without it: nothing was done, and enough others have succeeded or may."""
    if status is WorkStatus.UNKNOWN and step.kind not in _QUIET:
        return False
    definition = reaction.definition
    joins = [definition.steps[name] for name in definition.next_steps(step.name)]
    return bool(joins) and all(
        join.join is not None and within_reach(reaction, join) >= join.join.least for join in joins
    )
