"""How a saga and one that it runs talk: by messages to each other's inbox, like everybody.

A parent's command becomes a request to the child; what the child has come to is the reply, sent
whenever its log says so: the log is the outbox here, too. Whoever asks again is answered again.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from es_saga.core.child import Answer, answer, due_answer
from es_saga.core.compiled import Definition
from es_saga.core.errors import (
    ConflictError,
    IllegalOperation,
    InvalidInput,
    NotFound,
    SagaError,
)
from es_saga.core.events import Json, Parent, SagaCompensated, SagaCompleted, SagaEvent, SagaHeld
from es_saga.core.inputs import FromParent, Start
from es_saga.core.messages import Envelope, Outcome, parse_command_id
from es_saga.core.nested import SAGA, Order, child_id, is_for_saga
from es_saga.core.state import SagaState, Sent
from es_saga.engine.registry import Registry

MAX_DETAIL_CHARS: Final = 500
"""How much of an error a parent is told."""

NEVER: Final = -1.0
"""`retryafter` of what is not worth another attempt."""

ENDS: Final = (SagaHeld, SagaCompleted, SagaCompensated)
"""Events by which a child comes to owe its parent an answer."""


class ChildRequest(BaseModel):
    """What a saga asks of one that it runs: the commands of `es_saga.core.nested`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    order: Order
    version: int
    input: Json
    undoable: bool = True


# ── the parent's side ────────────────────────────────────────────────────────────────────────────


def for_saga(command: Envelope, sent: Sent) -> tuple[str, Envelope] | None:
    """The id of the saga that a command is for, and the command; None: it is for a service."""
    begun_by = command.undoes or command.confirms or command.commandid
    if begun_by is None or not is_for_saga(sent.to):
        return None
    runs = sent.to.removeprefix(SAGA)
    return child_id(parse_command_id(begun_by)), command.model_copy(update={"runs": runs})


# ── the child's side ─────────────────────────────────────────────────────────────────────────────


def read_request(envelope: Envelope, registry: Registry) -> tuple[FromParent, Definition]:
    """What a parent wants, and the definition that the child begins with.

    Raises:
        InvalidInput: it is malformed, or the input does not fit the child.
        Unavailable: that version is not registered: its parent may be on a newer release.
    """
    try:
        request = ChildRequest.model_validate(envelope.data)
    except ValidationError as error:
        raise InvalidInput(f"That is no request to a child: {error}") from error
    begun_by = envelope.undoes or envelope.confirms or envelope.commandid
    if begun_by is None or envelope.commandid is None:
        raise InvalidInput("A request to a child names its command id.")
    child = child_id(parse_command_id(begun_by))
    definition = registry.version(child, envelope.runs or "", request.version)
    begin = Start(
        saga_id=child,
        data=definition.check_input(request.input),
        trace=envelope.traceparent,
        message_id=envelope.id,
        parent=Parent(command_id=begun_by, undoable=request.undoable),
    )
    return FromParent(begin, request.order, envelope.commandid), definition


def replying(envelope: Envelope, state: SagaState) -> Envelope | None:
    """The reply to a request that is repeated; None: there is none yet."""
    request = ChildRequest.model_validate(envelope.data)
    said = answer(state, request.order)
    assert envelope.commandid is not None, "it has been read"
    return said and _reply(envelope.commandid, envelope.attempt, said, state)


def refusing(envelope: Envelope, error: SagaError) -> Envelope | None:
    """The reply to a request that cannot be met; None: it does not say what it is.

    What can be mended where the child runs is asked for again; what cannot is told for good. What
    never began will never be there to be closed.
    """
    try:
        parse_command_id(envelope.commandid or "")
    except InvalidInput:
        return None
    assert envelope.commandid is not None, "it was just read"
    name = type(error).__name__
    outcome = Outcome.FAILED
    if isinstance(error, NotFound) and envelope.confirms is not None:
        outcome = Outcome.REFUSED
    said = Answer(outcome, name, {"error": name, "detail": error.message[:MAX_DETAIL_CHARS]})
    reply = _reply(envelope.commandid, envelope.attempt, said, None)
    never = isinstance(error, InvalidInput | ConflictError | IllegalOperation)
    return reply.model_copy(update={"retryafter": NEVER if never else None})


def reply_due(state: SagaState, event: SagaEvent) -> Envelope | None:
    """The reply that a child owes its parent since `event`; `state` may be a later one."""
    owed = due_answer(state) if isinstance(event, ENDS) else None
    if owed is None:
        return None
    order, command_id = owed
    said = answer(state, order)
    return said and _reply(command_id, 1, said, state)


def _reply(command_id: str, attempt: int, said: Answer, state: SagaState | None) -> Envelope:
    key = parse_command_id(command_id)
    return Envelope(
        id=f"{command_id}/{attempt}/r",
        source="pm" if state is None else f"saga/{state.saga_id}",
        type=said.type,
        sagaid=key.saga_id,
        step=key.step,
        commandid=command_id,
        attempt=attempt,
        outcome=said.outcome,
        causationid=f"{command_id}/{attempt}",
        traceparent=None if state is None else state.origin.trace,
        data=said.data,
    )
