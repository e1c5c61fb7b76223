"""The interpreter: `decide(definition, state, input, now) -> events`. Pure.

An input is first accepted (or ignored), then followed up until nothing more follows from what is
known: steps whose predecessors are done are started; a refusal turns the saga back; undos are
issued, last done first undone, independent branches side by side (Garcia-Molina & Salem 1987).
"""

from __future__ import annotations

from typing import NamedTuple

from es_saga.core.by_hand import decided
from es_saga.core.child import obey
from es_saga.core.compiled import Definition, StepDefinition, StepKind, Way
from es_saga.core.errors import NotFound
from es_saga.core.events import (
    CompensationFailed,
    DeadlineExceeded,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaHeld,
    StepTimedOut,
    UndoException,
)
from es_saga.core.inputs import FromParent, Heard, Input, Reply, Signal, Start, Tick
from es_saga.core.joining import dispensable, ready, within_reach
from es_saga.core.messages import Direction
from es_saga.core.observing import observe, opening, unheard
from es_saga.core.policy import OnFailedUndo
from es_saga.core.reaction import Reaction
from es_saga.core.replies import credit
from es_saga.core.signals import hear
from es_saga.core.starting import begin
from es_saga.core.state import GIVEN_UP, SagaState, StepState, WorkStatus
from es_saga.core.verbs import operate

_DONE = (WorkStatus.SUCCEEDED, WorkStatus.SKIPPED)


class Decided(NamedTuple):
    """What an input led to: the new events, and the state after them."""

    events: list[SagaEvent]
    state: SagaState


def decide(
    definition: Definition, state: SagaState | None, input: Input, now: float
) -> list[SagaEvent]:
    """The events that `input` leads to at `now` (seconds since the epoch); empty: nothing.

    Duplicates, late and foreign replies lead to nothing, or to one note (laws L27, L28, L42).

    Raises:
        ConflictError: a start under an id that was started with another input.
        NotFound: anything but a start for a saga that does not exist.
        IllegalOperation, InvalidInput: see `es_saga.core.verbs` and `es_saga.core.replies`.
    """
    return react(definition, state, input, now).events


def react(definition: Definition, state: SagaState | None, input: Input, now: float) -> Decided:
    """Like `decide`, with the state after the events, which the engine needs next."""
    begun = state is not None and isinstance(input, Start)  # it is not begun again
    if definition.decide is not None and not begun:
        events, after = decided(definition.decide, definition, state, input, now)
        if after is None:
            raise NotFound("There is no such saga.")
        return Decided(events, after)
    if isinstance(input, Heard):
        return _hear_of(definition, state, input, now)
    if isinstance(input, Start):
        reaction = begin(definition, state, input, now)
    elif isinstance(input, FromParent):
        reaction = obey(definition, state, input, now)
    elif state is None:
        raise NotFound("There is no such saga.")
    elif isinstance(input, Reply):
        reaction = Reaction(definition, state, now, input.message_id)
        credit(reaction, input)
    elif isinstance(input, Signal):
        reaction = Reaction(definition, state, now, input.message_id)
        hear(reaction, input)
    elif isinstance(input, Tick):
        reaction = Reaction(definition, state, now, None)
        _pass_time(reaction)
    else:
        reaction = Reaction(definition, state, now, input.message_id)
        operate(reaction, input)
        if reaction.events:
            _pass_time(reaction)  # what an operator retries is due at once
    if reaction.events:
        _follow(reaction)
    return Decided(reaction.events, reaction.state)


def _hear_of(definition: Definition, state: SagaState | None, input: Heard, now: float) -> Decided:
    begun: list[SagaEvent] = []
    if state is None:
        opened = begin(definition, None, opening(definition, input), now)
        _follow(opened)
        begun, state = opened.events, opened.state
    reaction = Reaction(definition, state, now, input.message_id)
    observe(reaction, input)
    if reaction.events:
        _follow(reaction)
    return Decided(begun + reaction.events, reaction.state)


# ── time ─────────────────────────────────────────────────────────────────────────────────────────


def _pass_time(reaction: Reaction) -> None:
    """Everything that is due by now: attempts unanswered, waits over, the deadline."""
    state = reaction.state
    if state.closed is not None:
        return
    for name, own in state.steps.items():
        step = reaction.definition.steps[name]
        if own.undo is not None:
            _pass_undo_time(reaction, step, own)
        else:
            _pass_do_time(reaction, step, own)
    deadline = state.origin.deadline
    if deadline is not None and deadline <= reaction.now and not state.deadline_noted:
        _pass_deadline(reaction)


def _pass_do_time(reaction: Reaction, step: StepDefinition, own: StepState) -> None:
    work, now = own.do, reaction.now
    if work.due is None or work.due > now:
        return
    if work.status is WorkStatus.BACKOFF:
        reaction.send_again(step)
        return
    if step.wait is not None and step.wait.message is None:
        reaction.hear(step)
        return
    if step.wait is not None and step.wait.goes_on:
        reaction.skip(step, "nothing came in time")
        return
    retry_at = None
    if not reaction.state.backward:  # what is being undone is not asked for again
        key = reaction.id_of(step.name, Direction.DO, work.round)
        retry_at = reaction.retry_at(step.retry, key, work.attempt, None)
    reaction.emit(StepTimedOut(at=now, step=step.name, attempt=work.attempt, retry_at=retry_at))


def _pass_undo_time(reaction: Reaction, step: StepDefinition, own: StepState) -> None:
    work, now = own.undo, reaction.now
    assert work is not None, "it was issued"
    assert step.undo is not None, "it was issued"
    if work.due is None or work.due > now:
        return
    if work.status is WorkStatus.BACKOFF:
        if not reaction.held(step):
            reaction.undo_again(step)
        return
    key = reaction.id_of(step.name, Direction.UNDO, work.round)
    retry_at = reaction.retry_at(step.undo.retry, key, work.attempt, None)
    reaction.emit(
        CompensationFailed(
            at=now, step=step.name, attempt=work.attempt, error=_missed(step), retry_at=retry_at
        )
    )


def _missed(step: StepDefinition) -> str:
    """What its undo comes to grief at when its time is over."""
    assert step.undo is not None, "it was issued"
    return "timed out" if step.observed is None else unheard(step.undo.command.__name__)


def _pass_deadline(reaction: Reaction) -> None:
    """Before the pivot the saga is undone; from the pivot on the deadline is an alert."""
    if reaction.state.backward and reaction.state.back_to is None:
        effect = "compensating already"
    elif reaction.pivot_begun():
        effect = "noted: the pivot has begun"
    else:
        effect = "compensating"
    reaction.emit(DeadlineExceeded(at=reaction.now, effect=effect))
    if effect == "compensating":
        reaction.turn_back("deadline exceeded", None)


# ── consequences ─────────────────────────────────────────────────────────────────────────────────


def _follow(reaction: Reaction) -> None:
    """On, or back, and on again as long as that changes."""
    course: object = None
    while course != (reaction.state.backward, reaction.state.back_to):
        state = reaction.state
        if state.closed is not None or state.stuck is not None:
            return
        course = state.backward, state.back_to
        if state.backward:
            _go_backward(reaction)
        else:
            _go_forward(reaction)


def _go_forward(reaction: Reaction) -> None:
    definition, bound = reaction.definition, reaction.state.bound
    done: set[str] = set()
    for name, own in reaction.state.steps.items():
        status = own.do.status
        if status in _DONE:
            done.add(name)
        elif status in GIVEN_UP:
            step = definition.steps[name]
            if not dispensable(reaction, step, status):
                _give_up(reaction, step, own)
                return
            reaction.skip(step, f"it goes on without: {own.do.error or 'unknown'}")
            done.add(name)
    begun = True
    while begun:  # what is skipped is done at once, and a list has steps of its own
        begun = False
        for name, step in reaction.definition.steps.items():
            if step.past or name in reaction.state.steps or not ready(reaction, step, done):
                continue
            if bound and step.confirms:
                continue  # what makes a child's own children and holds final waits for its parent
            if step.join and within_reach(reaction, step) < step.join.least:
                _give_up_quorum(reaction, step)
                return
            if step.confirms and (old := _outlived(reaction)) is not None:
                reaction.turn_back(f"{old} may have expired", old)
                return
            reaction.begin(step)
            if reaction.state.stuck is not None:
                return
            if name in reaction.state.fans:
                begun = True
                break
            if reaction.state.steps[name].do.status in _DONE:
                done.add(name)
                begun = True
    pending = (
        step
        for name, step in reaction.definition.steps.items()
        if name not in done and not step.past and not (bound and step.confirms)
    )
    if next(pending, None) is None and not reaction.state.held:
        end = SagaHeld if bound else SagaCompleted
        reaction.emit(end(at=reaction.now, cause=reaction.cause))


def _outlived(reaction: Reaction) -> str | None:
    """A hold that may not be there any more, while nothing is confirmed and all can be cancelled.

    It was held after it was asked for, we do not know when.
    """
    state = reaction.state
    if reaction.pivot_begun() or state.decided is not None:
        return None
    for name, own in state.steps.items():
        expires = reaction.definition.steps[name].expires
        if expires is not None and own.do.started + expires <= reaction.now:
            return name
    return None


def _give_up_quorum(reaction: Reaction, join: StepDefinition) -> None:
    """Nobody has said no, but too many were skipped."""
    assert join.join is not None, "it needs a quorum"
    why = f"{join.name} needs {join.join.least} of {', '.join(join.after)}"
    reaction.turn_back(why, join.name, _save_point(reaction, join))


def _save_point(reaction: Reaction, step: StepDefinition) -> str | None:
    """The last save-point before a step that the saga may go on from another time."""
    found = [reaction.definition.steps[name] for name in step.ancestors]
    left = (
        point
        for point in found
        if point.ways is not None
        and Way.model_validate(reaction.state.steps[point.name].do.reply).number < point.ways
    )
    last = max(left, key=lambda point: len(point.ancestors), default=None)
    return None if last is None else last.name


def _give_up(reaction: Reaction, step: StepDefinition, own: StepState) -> None:
    """A step will not succeed: back, or, where there is no way back, to a human (L12, L13, L15)."""
    status, why = own.do.status, own.do.error or "unknown"
    if step.after_pivot:
        since = "all was held" if step.confirms else "the pivot"
        reaction.stick(f"{step.name} after {since}: {why}", step.name)
    elif step.kind is StepKind.PIVOT and status is WorkStatus.UNKNOWN:
        reaction.stick(f"whether the pivot {step.name} was done is unknown: {why}", step.name)
    elif step.observed is not None and status is WorkStatus.UNKNOWN:
        # Nobody was asked, so nobody could be told to turn back: people must look.
        reaction.stick(unheard(step.asks), step.name)
    else:
        reaction.turn_back(why, step.name, _save_point(reaction, step))


def _go_backward(reaction: Reaction) -> None:
    if any(own.do.status is WorkStatus.STARTED for own in reaction.state.steps.values()):
        return  # nothing is undone while a step is in flight: its answer decides what is owed
    owed = _owed(reaction)
    policy = reaction.definition.on_failed_undo
    in_order = reaction.definition.undo_order == "reverse"
    if owed.failed and policy is OnFailedUndo.HALT:
        _stick_at_undo(reaction, owed.failed)
        return
    unsettled = owed.in_flight or owed.to_issue
    blocked: list[str] = []
    for step in owed.to_issue:
        later = (*owed.in_flight, *owed.to_issue)
        if in_order and any(step.name in other.ancestors for other in later):
            continue  # what depended on it is undone first (law L06)
        if _needs_reply(reaction, step):
            blocked.append(step.name)
            continue
        reaction.begin_undo(step)
        if reaction.state.stuck is not None:
            return
    if blocked and (
        policy is OnFailedUndo.HALT or not any(own.undoing for own in reaction.state.steps.values())
    ):
        reaction.stick(
            f"whether {blocked[0]} was done is unknown, and its compensation needs its reply",
            blocked[0],
        )
    for step in owed.in_flight:
        undo = reaction.state.steps[step.name].undo
        assert undo is not None, "it is in flight"
        due = undo.due is not None and undo.due <= reaction.now
        if due and undo.status is WorkStatus.BACKOFF and not reaction.held(step):
            reaction.undo_again(step)
    if unsettled:
        return
    if owed.failed and policy is OnFailedUndo.ESCALATE:
        _stick_at_undo(reaction, owed.failed)
        return
    save_point = reaction.state.back_to
    if save_point is not None:
        if owed.exceptions:
            reaction.turn_back("not all is undone that came after the save-point", None)
        else:
            reaction.go_on(save_point)
        return
    exceptions = tuple(owed.exceptions)
    reaction.emit(SagaCompensated(at=reaction.now, cause=reaction.cause, exceptions=exceptions))


class _Owed(NamedTuple):
    """How the undos that a saga owes stand."""

    to_issue: list[StepDefinition]
    in_flight: list[StepDefinition]
    failed: list[str]
    """Given up, and neither done nor waived."""
    exceptions: list[UndoException]
    """Given up or waived."""


def _owed(reaction: Reaction) -> _Owed:
    owed = _Owed([], [], [], [])
    back_to = reaction.state.back_to
    for step in reaction.definition.steps.values():
        if not reaction.owes_undo(step) or not (back_to is None or back_to in step.ancestors):
            continue
        undo = reaction.state.steps[step.name].undo
        if undo is None:
            owed.to_issue.append(step)
        elif undo.open:
            owed.in_flight.append(step)
        elif undo.status is not WorkStatus.SUCCEEDED:
            owed.exceptions.append(UndoException(step=step.name, error=undo.error or "waived"))
            if undo.status is not WorkStatus.SKIPPED:
                owed.failed.append(step.name)
    return owed


def _needs_reply(reaction: Reaction, step: StepDefinition) -> bool:
    unknown = reaction.state.steps[step.name].do.status is WorkStatus.UNKNOWN
    assert step.undo is not None, "only a step with an undo is owed one"
    return unknown and (step.on_unknown == "stuck" or not step.undo.accepts_unknown)


def _stick_at_undo(reaction: Reaction, failed: list[str]) -> None:
    steps = [reaction.definition.steps[name] for name in failed]
    why = f"the compensation of {', '.join(failed)} failed"
    if steps[0].observed is not None:  # nobody was asked for any of them
        why = "; ".join(map(_missed, steps))
    reaction.stick(why, failed[0])
