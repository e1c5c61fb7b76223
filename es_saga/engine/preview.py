"""What a verb would lead to: shown to whoever asks, and not done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic_core import to_json

from es_saga.core.compiled import Definition
from es_saga.core.errors import IllegalOperation
from es_saga.core.events import Json, SagaEvent
from es_saga.core.messages import MAX_PAYLOAD_BYTES
from es_saga.core.sensitive import SensitiveFields
from es_saga.core.state import SagaState
from es_saga.engine.outgoing import Sender

MAX_PREVIEW_BYTES = MAX_PAYLOAD_BYTES - 4 * 1024
"""What the rest of an answer leaves of the largest message, in bytes of JSON."""


class Preview(NamedTuple):
    """What would be appended and sent; sensitive values are hidden."""

    events: list[Json]
    """Each with its `topic`, and its fields as they would stand in the log."""
    commands: list[Json]
    """Each with its message id, subject, type, step, attempt and data."""


def preview(
    sender: Sender, definition: Definition, events: Sequence[SagaEvent], state: SagaState
) -> Preview:
    """What these events would do, which would lead to `state`.

    Raises:
        IllegalOperation: it is too large to be told.
    """
    hidden = SensitiveFields(definition.sensitive)
    told: list[Json] = [
        {"topic": type(event).__name__, **hidden.event(event).model_dump(mode="json")}
        for event in events
    ]
    commands: list[Json] = [
        {
            "id": one.envelope.id,
            "subject": one.subject,
            "type": one.envelope.type,
            "step": one.envelope.step,
            "attempt": one.envelope.attempt,
            "data": one.envelope.data,
        }
        for one in sender.commands(definition, hidden.state(state), events)
    ]
    size = len(to_json([told, commands]))
    if size > MAX_PREVIEW_BYTES:
        raise IllegalOperation(
            f"What it would lead to takes {size} bytes; {MAX_PREVIEW_BYTES} can be shown.",
            hint="It can be done all the same: ask without the dry run.",
        )
    return Preview(told, commands)
