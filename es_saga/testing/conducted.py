"""Which sagas can be told as a scene: those that somebody conducts."""

from __future__ import annotations

from es_saga.core.compiled import Definition
from es_saga.core.errors import InvalidInput


def conducted(definition: Definition) -> Definition:
    """The same.

    Raises:
        InvalidInput: it is a choreography, which asks nobody for anything.
    """
    if not definition.conducted:
        raise InvalidInput(
            f"Nobody conducts {definition.name}: it asks for nothing, so there is no scene of it.",
            hint="`check_saga`, `explore` and `World` play it.",
        )
    return definition
