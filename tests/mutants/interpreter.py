"""Mistakes of an interpreter, each planted in ours: those that people make, by the requirements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from es_saga import OnFailedUndo, Saga
from es_saga.core import aggregate, decide, replies
from es_saga.core.compiled import StepDefinition
from es_saga.core.events import DeadlineExceeded
from es_saga.core.inputs import Reply
from es_saga.core.reaction import Reaction
from es_saga.core.state import Work, WorkStatus
from tests.testing import planted

Plant = Callable[[pytest.MonkeyPatch], None]
Owed = Any
"""`decide._Owed`: how the undos that a saga owes stand."""


class Mutant(NamedTuple):
    plant: Plant
    saga: Callable[[], Saga[Any]]
    law: str
    """The law that it breaks first."""
    rows: tuple[str, ...] = ()
    """The rows of the requirements that it stands for."""
    faults: int = 3
    """How many it takes, at most."""

    @property
    def name(self) -> str:
        return self.plant.__name__.replace("_", " ")


def _change_owed(patch: pytest.MonkeyPatch, change: Callable[[Owed], object]) -> None:
    real = vars(decide)["_owed"]

    def owed(reaction: Reaction) -> Owed:
        found = real(reaction)
        change(found)
        return found

    patch.setattr(decide, "_owed", owed)


# ── what is undone, and when ─────────────────────────────────────────────────────────────────────


def undoes_every_step(patch: pytest.MonkeyPatch) -> None:
    def owes_undo(self: Reaction, step: StepDefinition) -> bool:
        return step.undo is not None and step.name in self.state.steps

    patch.setattr(Reaction, "owes_undo", owes_undo)


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


def _parallel() -> Saga[Any]:
    return planted.side_by_side(2)


def _reporting() -> Saga[Any]:
    saga = planted.right()
    saga.on_failed_undo = OnFailedUndo.REPORT
    return saga


MUTANTS = [
    Mutant(undoes_every_step, planted.right, "L29", ("D01",)),
    Mutant(stops_at_the_first_failed_undo, planted.right, "L37", ("D02",)),
    Mutant(undoes_all_at_once, planted.right, "L06", ("D03",)),
    Mutant(undoes_first_what_was_done_first, planted.right, "L06"),
    Mutant(skips_the_last_undo, planted.right, "L01"),
    Mutant(undoes_twice, planted.right, "L38"),
    Mutant(undoes_while_a_step_is_in_flight, _parallel, "L08"),
    Mutant(cancels_what_the_pivot_made_final, planted.refusable_after_the_pivot, "L15"),
    Mutant(takes_silence_for_a_no, planted.right, "L08", ("D08", "D18")),
    Mutant(registers_the_undo_after_the_step, planted.right, "L08", ("D19",)),
    Mutant(believes_late_answers, planted.right, "L38"),
    Mutant(credits_any_reply_to_the_current_step, _parallel, "L27", ("D15",)),
    Mutant(starts_again_on_a_late_reply, planted.right, "L28", ("D16",)),
    Mutant(notes_every_late_reply, planted.right, "L42", faults=4),
    Mutant(lets_a_deadline_undo_the_pivot, planted.with_deadline, "L15"),
    Mutant(swallows_a_failed_undo, planted.right, "L30", ("D09", "D17")),
    Mutant(reports_a_waived_undo_as_done, _reporting, "L30", ("D17",)),
    Mutant(goes_on_without_what_failed, planted.right, "L05"),
    Mutant(has_no_state_for_what_takes_a_human, planted.right, "L53", ("D14",)),
    Mutant(is_deaf, planted.right, "L53"),
    Mutant(forgets_to_go_on, planted.right, "L53"),
]
"""Each with the saga that brings it to light."""
