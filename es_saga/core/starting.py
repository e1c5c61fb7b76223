"""How a saga begins: once, however often it is asked for."""

from __future__ import annotations

from contextlib import suppress

from es_saga.core.aggregate import start
from es_saga.core.compiled import Definition
from es_saga.core.errors import ConflictError, InvalidInput
from es_saga.core.events import SagaStarted
from es_saga.core.inputs import Start
from es_saga.core.reaction import Reaction
from es_saga.core.state import SagaState


def begin(definition: Definition, state: SagaState | None, input: Start, now: float) -> Reaction:
    """The reaction that a saga begins with; without events if it has begun.

    If that was on another version of it: with the same input if this one reads it as the same.

    Raises:
        ConflictError: another saga, or the same with another input, has begun under this id.
    """
    if state is not None:
        origin = state.origin
        data = origin.data
        if origin.definition != definition.version:
            with suppress(InvalidInput):
                data = definition.check_input(data)
        begun = (origin.saga_type, data, origin.parent)
        if begun != (definition.name, input.data, input.parent):
            raise ConflictError(
                f"Saga {input.saga_id!r} was started with another input.",
                hint="Use another key, or the same input.",
            )
        return Reaction(definition, state, now, input.message_id)
    event = SagaStarted(
        at=now,
        cause=input.message_id,
        saga_type=definition.name,
        definition=definition.version,
        fingerprint=definition.fingerprint,
        data=input.data,
        key=input.key,
        deadline=None if definition.deadline is None else now + definition.deadline,
        notify=input.notify,
        trace=input.trace,
        parent=input.parent,
    )
    reaction = Reaction(definition, start(input.saga_id, event), now, input.message_id)
    reaction.events.append(event)
    return reaction
