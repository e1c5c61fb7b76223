"""Events that tell the same story, at whatever time and by whatever message."""

from __future__ import annotations

from typing import Final

from es_saga.core.events import Json, ParentDecided, SagaEvent, SagaStarted

_WHEN: Final = frozenset({"at", "cause", "due", "deadline", "trace", "notify"})
"""When it was, how it is told on, and which message brought it."""

_WHETHER: Final = "retry_at"
"""Only whether there is another attempt matters, not when."""


def alike(one: SagaEvent | None, other: SagaEvent | None) -> bool:
    """Whether two events differ in times, messages and the words of exceptions at most."""
    if one is other:
        return True
    if one is None or other is None or type(one) is not type(other):
        return False
    return _story(one) == _story(other)


def _story(event: SagaEvent) -> Json:
    told = event.model_dump(exclude=set(_WHEN))
    if _WHETHER in told:
        told[_WHETHER] = told[_WHETHER] is not None
    if isinstance(event, SagaStarted) and event.parent is not None:
        told["parent"] = event.parent.undoable
    if isinstance(event, ParentDecided):
        del told["command_id"]  # whoever its parent is
    told.pop("detail", None)  # an exception's own words, or a traceback: where code stands
    return told
