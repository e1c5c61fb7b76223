"""How a participant's answer is credited: to the step, direction and attempt it names, or nowhere.

Laws L03, L04, L26-L29: one success a key; never another step's; a late or foreign answer changes
nothing; what came too late to matter is noted once.
"""

from __future__ import annotations

from typing import cast

from es_saga.core.compiled import StepDefinition, StepKind
from es_saga.core.events import (
    CompensationFailed,
    CompensationSucceeded,
    Json,
    LateReplyNoted,
    StepFailed,
    StepRefused,
    StepSucceeded,
)
from es_saga.core.inputs import Reply
from es_saga.core.messages import Direction, Outcome
from es_saga.core.policy import Retry
from es_saga.core.reaction import MAX_DETAIL_CHARS, Reaction
from es_saga.core.state import UNDECIDED, StepState, Work, WorkStatus

MAX_RETRY_AFTER = 24 * 60 * 60.0
"""Longest wait that a participant may ask for, in seconds."""

MAX_ERROR_CHARS = 200


def credit(reaction: Reaction, reply: Reply) -> None:
    """Emit what a reply means, if it means anything.

    Raises:
        InvalidInput: it claims success with data that the step's reply model refuses.
    """
    state, key = reaction.state, reply.key
    step, own = reaction.definition.steps.get(key.step), state.steps.get(key.step)
    if step is None or step.wait or own is None or key.saga_id != state.origin.saga_id:
        return
    forward = key.direction is Direction.DO
    work = own.do if forward else own.undo
    if work is None or key.round != work.round or not 1 <= reply.attempt <= work.attempt:
        return
    # A pivot that had failed for good cannot come to have succeeded while the rest is undone.
    gone = state.backward and (own.undo is not None or step.kind is StepKind.PIVOT)
    if state.closed is not None or (forward and gone) or work.status not in UNDECIDED:
        _note(reaction, reply, own, work)
    elif forward:
        _credit_do(reaction, reply, step, work)
    else:
        _credit_undo(reaction, reply, step, work)
    if step.observed is not None:
        _turn_back_watched(reaction, reply)


def _turn_back_watched(reaction: Reaction, reply: Reply) -> None:
    """Where it is stuck no longer matters once another step is refused: the services turn back."""
    state, step = reaction.state, reply.key.step
    refused = state.steps[step].do.status is WorkStatus.REFUSED
    if refused and state.stuck is not None and not state.backward:
        reaction.turn_back(reply.type, step)


def _note(reaction: Reaction, reply: Reply, own: StepState, work: Work) -> None:
    """A success that can change nothing is worth knowing of; a repetition is not."""
    if reply.outcome is not Outcome.SUCCEEDED or own.late or work.status is WorkStatus.SUCCEEDED:
        return
    reaction.emit(
        LateReplyNoted(
            at=reaction.now,
            cause=reaction.cause,
            step=reply.key.step,
            direction=reply.key.direction,
            attempt=reply.attempt,
            outcome=reply.outcome,
            data=reply.data,
        )
    )


def _credit_do(reaction: Reaction, reply: Reply, step: StepDefinition, work: Work) -> None:
    now, cause, name = reaction.now, reaction.cause, step.name
    if reply.outcome is Outcome.SUCCEEDED:
        data = step.check_reply(reply.data)
        reaction.emit(
            StepSucceeded(at=now, cause=cause, step=name, attempt=reply.attempt, reply=data)
        )
    elif reply.outcome is Outcome.REFUSED:
        reaction.emit(
            StepRefused(
                at=now,
                cause=cause,
                step=name,
                attempt=reply.attempt,
                refusal_type=reply.type,
                refusal=_object(reply.data),
            )
        )
    elif work.status is WorkStatus.STARTED and reply.attempt == work.attempt:
        error, detail = _failure(reply)
        retry_at = None
        if not reaction.state.backward:
            retry_at = _retry_at(reaction, reply, step.retry, work, Direction.DO, error)
        reaction.emit(
            StepFailed(
                at=now,
                cause=cause,
                step=name,
                attempt=reply.attempt,
                error=error,
                detail=detail,
                retry_at=retry_at,
            )
        )


def _credit_undo(reaction: Reaction, reply: Reply, step: StepDefinition, work: Work) -> None:
    now, cause, name = reaction.now, reaction.cause, step.name
    assert step.undo is not None, "an undo was issued, so there is one"
    if reply.outcome is Outcome.SUCCEEDED:
        reaction.emit(CompensationSucceeded(at=now, cause=cause, step=name, attempt=reply.attempt))
    elif reply.outcome is Outcome.REFUSED:
        reaction.emit(
            CompensationFailed(
                at=now,
                cause=cause,
                step=name,
                attempt=reply.attempt,
                error=reply.type,
                refused=True,
            )
        )
    elif work.status is WorkStatus.STARTED and reply.attempt == work.attempt:
        error, detail = _failure(reply)
        reaction.emit(
            CompensationFailed(
                at=now,
                cause=cause,
                step=name,
                attempt=reply.attempt,
                error=error,
                detail=detail,
                retry_at=_retry_at(reaction, reply, step.undo.retry, work, Direction.UNDO, error),
            )
        )


def _retry_at(
    reaction: Reaction, reply: Reply, policy: Retry, work: Work, direction: Direction, error: str
) -> float | None:
    asked = reply.retry_after or 0.0
    if asked < 0:  # Terminal: never again
        return None
    key = reaction.id_of(reply.key.step, direction, work.round)
    at_least = min(MAX_RETRY_AFTER, asked)  # in this order: what is no number counts as the limit
    return reaction.retry_at(policy, key, work.attempt, error, at_least=at_least)


def _failure(reply: Reply) -> tuple[str, str]:
    data = _object(reply.data)
    error, detail = data.get("error", reply.type), data.get("detail", "")
    return str(error)[:MAX_ERROR_CHARS], str(detail)[:MAX_DETAIL_CHARS]


def _object(data: object) -> Json:
    if data is None:
        return {}
    return cast(Json, data) if isinstance(data, dict) else {"value": data}
