"""What an event says beyond its name and its step, in a few words: for people.

>>> from es_saga.core.events import StepRetried
>>> gist(StepRetried(at=5.0, step="ship", command_id="order-1/ship/do", attempt=2, due=35.0))
'attempt 2'
"""

from __future__ import annotations

import json
from typing import Any, Final

from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationStarted,
    LateReplyNoted,
    OperatorCancelled,
    OperatorEvent,
    OperatorResent,
    OperatorResolved,
    OperatorResumed,
    ParentDecided,
    SagaCompensated,
    SagaEvent,
    SagaResumed,
    SagaStarted,
    SignalReceived,
    StepFailed,
    StepFannedOut,
    StepRefused,
    StepStarted,
    StepSucceeded,
)

_WAITS: Final = {"Sleep": "sleeps", "SavePoint": "save-point"}
"""Steps that ask nobody, and for whom nobody comes."""


def gist(event: SagaEvent) -> str:
    """What an event says beyond its name and step, on one line."""
    parts = [_said(event)]
    attempt: int = getattr(event, "attempt", 1)
    if attempt > 1:
        parts.append(f"attempt {attempt}")
    retry_at: float | None = getattr(event, "retry_at", None)
    if retry_at is not None:
        parts.append(f"again in {retry_at - event.at:.1f} s")
    said = ", ".join(part for part in parts if part)
    if isinstance(event, StepFailed | CompensationFailed) and event.detail:
        return f"{said}: {' '.join(event.detail.split())}"
    return said


def _said(event: SagaEvent) -> str:
    match event:
        case SagaStarted():
            return f"{event.saga_type} {_json(event.data)}"
        case StepStarted() | CompensationIssued() if event.expected:
            return f"expects {event.command_type}"
        case StepStarted(to=""):
            return _WAITS.get(event.command_type, f"waits for {event.command_type}")
        case StepStarted() | CompensationIssued():
            return f"{event.command_type} {_json(event.command)}"
        case StepSucceeded():
            return _json(event.reply) if event.reply else ""
        case SagaResumed():
            return f"way {event.way} from {event.save_point}"
        case StepFannedOut():
            return f"{event.count} items"
        case StepRefused():
            return f"{event.refusal_type} {_json(event.refusal)}"
        case StepFailed() | CompensationFailed():
            return event.error
        case SignalReceived():
            return event.name
        case CompensationStarted():
            back = f", back to {event.back_to}" if event.back_to else ""
            left = f", without waiting for {', '.join(event.left)}" if event.left else ""
            return event.why + back + left
        case SagaCompensated():
            return ", ".join(f"{one.step} not undone: {one.error}" for one in event.exceptions)
        case ParentDecided():
            return "close" if event.close else "undo"
        case LateReplyNoted():
            return f"{event.direction} {event.outcome}"
        case OperatorResolved():
            return f"{event.actor}: {event.direction} {event.outcome}, {event.reason}"
        case OperatorResumed() | OperatorResent():
            return f"{event.actor}: {event.direction}, {event.reason}"
        case OperatorCancelled() if event.refused:
            return f"{event.actor}: {event.reason}; not done, {event.refused}"
        case OperatorEvent():
            return f"{event.actor}: {event.reason}"
        case _:
            return str(getattr(event, "why", None) or getattr(event, "effect", None) or "")


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, default=str)
