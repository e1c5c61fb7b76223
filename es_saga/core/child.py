"""A saga that another one runs: what it does at its parent's word, and what the parent is answered.

A child that may be undone does not complete when its steps are done: it is held. Then its parent
has it closed or undone (laws L59, L60). What it was asked to do once, it does once; asked again, it
answers again as soon as there is an answer.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from es_saga.core.compiled import Definition
from es_saga.core.errors import IllegalOperation, NotFound
from es_saga.core.events import Json, ParentDecided
from es_saga.core.inputs import FromParent
from es_saga.core.messages import Outcome
from es_saga.core.nested import ChildSaga
from es_saga.core.reaction import Reaction
from es_saga.core.starting import begin
from es_saga.core.state import SagaState, SagaStatus

UNDONE: Final = "ChildUndone"
"""The refusal of a child that was undone before it could be closed."""

OWING: Final = "ChildOwesUndo"
"""The refusal of a child that could not undo all that it did."""

COMPLETED: Final = "ChildCompleted"
"""The refusal of a child that is to be undone, and was closed."""


class Answer(NamedTuple):
    """What a child answers its parent's command."""

    outcome: Outcome
    type: str
    data: Json | None


def obey(
    definition: Definition, state: SagaState | None, asked: FromParent, now: float
) -> Reaction:
    """Begin, and do what the parent has decided, each once.

    A child that is to be undone before it began begins, and is undone at once (laws L21, L22).

    Raises:
        NotFound: it is to be closed, and never began.
        IllegalOperation: it has a pivot, and is to be held.
        ConflictError: its id is that of a saga which is no child of this parent.
    """
    parent = asked.begin.parent
    if definition.pivot is not None and parent is not None and parent.undoable:
        raise IllegalOperation(
            f"{definition.name!r} cannot be held: after its pivot {definition.pivot} nobody can "
            f"undo it."
        )
    if state is None and asked.order == "close":
        raise NotFound(f"{asked.begin.saga_id} never began: it cannot be closed.")
    reaction = begin(definition, state, asked.begin, now)
    if asked.order != "begin":
        _decide(reaction, asked)
    return reaction


def _decide(reaction: Reaction, asked: FromParent) -> None:
    state = reaction.state
    if state.closed is not None or state.decided is not None:
        return
    close = asked.order == "close"
    reaction.emit(
        ParentDecided(
            at=reaction.now, cause=reaction.cause, close=close, command_id=asked.command_id
        )
    )
    if not close and (not state.backward or state.back_to is not None):
        reaction.turn_back("its parent is undone", None)


def answer(state: SagaState, order: str) -> Answer | None:
    """What can be said to an order by now; None: nothing yet."""
    undone = state.closed is not None and state.status is not SagaStatus.COMPLETED
    if order == "undo":
        # One that ended by itself has refused: what it owes is its own alert, not its parent's.
        if state.status is SagaStatus.COMPENSATED or (undone and state.decided is None):
            return Answer(Outcome.SUCCEEDED, "Done", None)
        if undone:
            return _refusal(OWING, state)
        return None if state.closed is None else _refusal(COMPLETED, state)
    if undone:
        return _refusal(UNDONE, state)
    if state.closed is not None and order == "close":
        return Answer(Outcome.SUCCEEDED, "Done", None)
    if order == "begin" and (state.closed is not None or state.held):
        reply = ChildSaga(saga_id=state.saga_id)
        return Answer(Outcome.SUCCEEDED, type(reply).__name__, reply.model_dump(mode="json"))
    return None


def _refusal(type: str, state: SagaState) -> Answer:
    why = state.failure.why if state.failure is not None else state.status.value
    return Answer(Outcome.REFUSED, type, {"saga_id": state.saga_id, "why": why})


def due_answer(state: SagaState) -> tuple[str, str] | None:
    """The order that a child owes an answer, and the id of the parent's command; None: none."""
    parent, decided = state.origin.parent, state.decided
    if parent is None:
        return None
    if decided is None:
        return "begin", parent.command_id
    return ("close" if decided.close else "undo"), decided.command_id
