"""Mistakes of an interpreter, each planted in ours: those that people make, by the requirements.

Where `evolve` would refuse what the mistake leads to, it is planted there, too: who gets it wrong
gets it wrong in both places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from es_saga.core import aggregate, decide, replies
from es_saga.core.compiled import StepDefinition
from es_saga.core.events import (
    CompensationStarted,
    DeadlineExceeded,
    SagaCompleted,
    SagaEvent,
    StepRetried,
)
from es_saga.core.inputs import Reply
from es_saga.core.messages import Outcome
from es_saga.core.reaction import Reaction
from es_saga.core.state import (
    GIVEN_UP,
    UNDECIDED,
    SagaState,
    StepState,
    Work,
    WorkStatus,
)

Owed = Any
"""`decide._Owed`: how the undos that a saga owes stand."""

E = TypeVar("E", bound=SagaEvent)


def _change_owed(patch: pytest.MonkeyPatch, change: Callable[[Owed], object]) -> None:
    real = vars(decide)["_owed"]

    def owed(reaction: Reaction) -> Owed:
        found = real(reaction)
        change(found)
        return found

    patch.setattr(decide, "_owed", owed)


def _change_before(
    patch: pytest.MonkeyPatch, event: type[E], change: Callable[[SagaState, E], SagaState]
) -> None:
    """Have `evolve` take the state for another one before it looks at such an event."""
    rules = vars(aggregate)["_RULES"]
    real: Callable[[SagaState, E], SagaState] = rules[event]

    def rule(state: SagaState, one: E) -> SagaState:
        return real(change(state, one), one)

    patch.setitem(rules, event, rule)


# ── what is undone, and when ─────────────────────────────────────────────────────────────────────


def undoes_every_step(patch: pytest.MonkeyPatch) -> None:
    def owes_undo(self: Reaction, step: StepDefinition) -> bool:
        return step.undo is not None and step.name in self.state.steps

    patch.setattr(Reaction, "owes_undo", owes_undo)


def undoes_what_never_ran(patch: pytest.MonkeyPatch) -> None:
    """It goes through the list of its steps, not through what it has done of them."""
    real = vars(decide)["_go_backward"]

    def go_backward(reaction: Reaction) -> None:
        never = StepState(Work(WorkStatus.UNKNOWN, 0, reaction.now))
        begun = reaction.state.steps
        steps = {name: begun.get(name, never) for name in reaction.definition.steps}
        reaction.state = reaction.state._replace(steps=steps)
        real(reaction)

    patch.setattr(decide, "_go_backward", go_backward)


def stops_at_the_first_failed_undo(patch: pytest.MonkeyPatch) -> None:
    def change(owed: Owed) -> None:
        if owed.failed:
            owed.to_issue.clear()

    _change_owed(patch, change)


def undoes_all_at_once(patch: pytest.MonkeyPatch) -> None:
    def change(owed: Owed) -> None:
        owed.to_issue[:] = [replace(step, ancestors=frozenset()) for step in owed.to_issue]
        owed.in_flight[:] = [replace(step, ancestors=frozenset()) for step in owed.in_flight]

    _change_owed(patch, change)


def undoes_first_what_was_done_first(patch: pytest.MonkeyPatch) -> None:
    def change(owed: Owed) -> None:
        del owed.to_issue[1:]

    _change_owed(patch, change)


def undoes_one_by_one(patch: pytest.MonkeyPatch) -> None:
    """Also what was done side by side."""

    def change(owed: Owed) -> None:
        del owed.to_issue[: None if owed.in_flight else -1]

    _change_owed(patch, change)


def skips_the_last_undo(patch: pytest.MonkeyPatch) -> None:
    def change(owed: Owed) -> None:
        if len(owed.to_issue) == 1:
            owed.to_issue.clear()

    _change_owed(patch, change)


def undoes_twice(patch: pytest.MonkeyPatch) -> None:
    def change(owed: Owed) -> None:
        del owed.exceptions[:]

    real = vars(decide)["_go_backward"]

    def go_backward(reaction: Reaction) -> None:
        state = reaction.state
        real(reaction)
        again = [name for name, own in state.steps.items() if own.undo and not own.undo.open]
        if again and reaction.state.closed is None:
            reaction.begin_undo(reaction.definition.steps[again[0]])

    _change_owed(patch, change)
    patch.setattr(decide, "_go_backward", go_backward)


def turns_back_at_every_failure(patch: pytest.MonkeyPatch) -> None:
    """A failure that comes late, after a timeout, starts once more what is going on already."""
    real = replies.credit

    def credit(reaction: Reaction, reply: Reply) -> None:
        real(reaction, reply)
        late = not reaction.events and reply.outcome is Outcome.FAILED
        if late and reaction.state.backward and reaction.state.closed is None:
            reaction.turn_back(reply.type, reply.key.step)

    def begin_anew(state: SagaState, _: CompensationStarted) -> SagaState:
        steps = {name: own._replace(undo=None) for name, own in state.steps.items()}
        return state._replace(backward=False, steps=steps)

    patch.setattr(decide, "credit", credit)
    _change_before(patch, CompensationStarted, begin_anew)


def takes_its_undos_back(patch: pytest.MonkeyPatch) -> None:
    """An undo failed, and all or nothing: so what was undone is done again."""
    real = vars(decide)["_go_backward"]

    def go_backward(reaction: Reaction) -> None:
        undos = {name: own.undo for name, own in reaction.state.steps.items() if own.undo}
        if any(undo.status in GIVEN_UP for undo in undos.values()):
            for name, undo in undos.items():
                if undo.status is WorkStatus.SUCCEEDED:
                    reaction.send_again(reaction.definition.steps[name])
        real(reaction)

    def back_to_work(state: SagaState, event: StepRetried) -> SagaState:
        own = state.steps[event.step]
        again = StepState(own.do._replace(status=WorkStatus.BACKOFF))
        return state._replace(steps={**state.steps, event.step: again})

    patch.setattr(decide, "_go_backward", go_backward)
    _change_before(patch, StepRetried, back_to_work)


def undoes_while_a_step_is_in_flight(patch: pytest.MonkeyPatch) -> None:
    real = vars(decide)["_go_backward"]

    def go_backward(reaction: Reaction) -> None:
        state = reaction.state
        answered = {name: own for name, own in state.steps.items() if not own.do.open}
        reaction.state = state._replace(steps=answered)
        real(reaction)
        reaction.state = reaction.state._replace(steps={**state.steps, **reaction.state.steps})

    patch.setattr(decide, "_go_backward", go_backward)


def cancels_what_the_pivot_made_final(patch: pytest.MonkeyPatch) -> None:
    def pivot_begun(self: Reaction) -> bool:
        return False

    patch.setattr(Reaction, "pivot_begun", pivot_begun)


def lets_a_deadline_undo_the_pivot(patch: pytest.MonkeyPatch) -> None:
    def pass_deadline(reaction: Reaction) -> None:
        reaction.emit(DeadlineExceeded(at=reaction.now, effect="compensating"))
        if not reaction.state.backward:
            reaction.turn_back("deadline exceeded", None)

    patch.setattr(decide, "_pass_deadline", pass_deadline)


# ── what is not known ────────────────────────────────────────────────────────────────────────────


def takes_silence_for_a_no(patch: pytest.MonkeyPatch) -> None:
    def given_up(work: Work, at: float) -> Work:
        return work._replace(status=WorkStatus.FAILED, due=None, ended=at)

    patch.setattr(aggregate, "_given_up", given_up)


def registers_the_undo_after_the_step(patch: pytest.MonkeyPatch) -> None:
    real = Reaction.owes_undo

    def owes_undo(self: Reaction, step: StepDefinition) -> bool:
        own = self.state.steps.get(step.name)
        return real(self, step) and own is not None and own.do.status is WorkStatus.SUCCEEDED

    patch.setattr(Reaction, "owes_undo", owes_undo)


def counts_a_success_as_often_as_it_comes(patch: pytest.MonkeyPatch) -> None:
    often = UNDECIDED | {WorkStatus.SUCCEEDED}
    patch.setattr(replies, "UNDECIDED", often)
    patch.setattr(aggregate, "UNDECIDED", often)


def believes_late_answers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replies, "UNDECIDED", frozenset(WorkStatus))


def credits_any_reply_to_the_current_step(patch: pytest.MonkeyPatch) -> None:
    real = replies.credit

    def credit(reaction: Reaction, reply: Reply) -> None:
        for name, own in reaction.state.steps.items():
            if own.do.open:
                key = reply.key._replace(step=name)
                reply = reply._replace(key=key, attempt=own.do.attempt)
        real(reaction, reply)

    patch.setattr(decide, "credit", credit)


def starts_again_on_a_late_reply(patch: pytest.MonkeyPatch) -> None:
    real = replies.credit

    def credit(reaction: Reaction, reply: Reply) -> None:
        if reaction.state.closed is not None:
            reaction.state = reaction.state._replace(steps={}, closed=None, backward=False)
            reaction.begin(next(iter(reaction.definition.steps.values())))
        real(reaction, reply)

    patch.setattr(decide, "credit", credit)


def notes_every_late_reply(patch: pytest.MonkeyPatch) -> None:
    real = replies.credit

    def credit(reaction: Reaction, reply: Reply) -> None:
        state = reaction.state
        steps = {name: own._replace(late=False) for name, own in state.steps.items()}
        reaction.state = state._replace(steps=steps)
        real(reaction, reply)
        if not reaction.events:
            reaction.state = state

    patch.setattr(decide, "credit", credit)


# ── what fails ───────────────────────────────────────────────────────────────────────────────────


def swallows_a_failed_undo(patch: pytest.MonkeyPatch) -> None:
    def change(owed: Owed) -> None:
        owed.failed.clear()
        owed.exceptions.clear()

    _change_owed(patch, change)


def reports_a_waived_undo_as_done(patch: pytest.MonkeyPatch) -> None:
    def change(owed: Owed) -> None:
        owed.exceptions.clear()

    _change_owed(patch, change)


def asks_nobody_about_a_failed_undo(patch: pytest.MonkeyPatch) -> None:
    """It tells of it when it closes; but it closes."""

    def change(owed: Owed) -> None:
        owed.failed.clear()

    _change_owed(patch, change)


def goes_back_beyond_the_save_point(patch: pytest.MonkeyPatch) -> None:
    """It undoes everything, and then goes on as if it had not."""
    real = vars(decide)["_owed"]

    def owed(reaction: Reaction) -> Owed:
        there = reaction.state
        reaction.state = there._replace(back_to=None)
        found = real(reaction)
        reaction.state = there
        return found

    patch.setattr(decide, "_owed", owed)


def completes_with_the_step_listed_last(patch: pytest.MonkeyPatch) -> None:
    """Whatever is still under way beside it."""
    real = vars(decide)["_go_forward"]

    def go_forward(reaction: Reaction) -> None:
        last = reaction.state.steps.get([*reaction.definition.steps][-1])
        if last is not None and last.do.status is WorkStatus.SUCCEEDED:
            reaction.emit(SagaCompleted(at=reaction.now, cause=reaction.cause))
        else:
            real(reaction)

    patch.setattr(decide, "_go_forward", go_forward)


def goes_on_without_what_failed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_DONE", (*vars(decide)["_DONE"], WorkStatus.FAILED))


def has_no_state_for_what_takes_a_human(patch: pytest.MonkeyPatch) -> None:
    def stick(self: Reaction, why: str, step: str | None, detail: str = "") -> None:
        """Nothing."""

    patch.setattr(Reaction, "stick", stick)


def is_deaf(patch: pytest.MonkeyPatch) -> None:
    def credit(reaction: Reaction, reply: Reply) -> None:
        """Nothing."""

    patch.setattr(decide, "credit", credit)


def forgets_to_go_on(patch: pytest.MonkeyPatch) -> None:
    def follow(reaction: Reaction) -> None:
        """Nothing."""

    patch.setattr(decide, "_follow", follow)
