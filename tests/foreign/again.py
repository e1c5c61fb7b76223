"""Deciding again: whether today's code takes the decisions that a history tells of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from es_saga.core.compiled import Definition
from es_saga.core.decide import react
from es_saga.core.events import (
    CompensationFailed,
    CompensationSucceeded,
    SagaEvent,
    SagaStarted,
    StepFailed,
    StepRefused,
    StepSucceeded,
)
from es_saga.core.inputs import Input, Reply, Start, Tick
from es_saga.core.messages import CommandKey, Direction, Outcome
from es_saga.core.state import SagaState
from tests.foreign.path import SAGA_ID


def decide_again(definition: Definition, history: Sequence[SagaEvent]) -> list[SagaEvent]:
    """What the inputs of this history lead to today; where it first differs, it ends.

    Operators' verbs and waits that participants asked for are not among the inputs.
    """
    again: list[SagaEvent] = []
    state: SagaState | None = None
    while again == list(history[: len(again)]) and len(again) < len(history):
        reached = history[len(again)]
        events, state = react(definition, state, _input(reached), reached.at)
        if not events:
            break
        again += events
    return again


def _input(event: SagaEvent) -> Input:
    """What came in when this was the first event that followed."""
    match event:
        case SagaStarted():
            return Start(SAGA_ID, event.data, key=event.key, message_id=event.cause)
        case StepSucceeded():
            return _reply(event, Direction.DO, Outcome.SUCCEEDED, "Done", event.reply)
        case StepRefused():
            return _reply(event, Direction.DO, Outcome.REFUSED, event.refusal_type, event.refusal)
        case StepFailed():
            return _failure(event, Direction.DO)
        case CompensationSucceeded():
            return _reply(event, Direction.UNDO, Outcome.SUCCEEDED, "Done", None)
        case CompensationFailed(refused=True):
            return _reply(event, Direction.UNDO, Outcome.REFUSED, event.error, {})
        case CompensationFailed() if event.cause is not None:
            return _failure(event, Direction.UNDO)
        case _:
            return Tick()


Answered = StepSucceeded | StepRefused | StepFailed | CompensationSucceeded | CompensationFailed


def _failure(event: StepFailed | CompensationFailed, direction: Direction) -> Reply:
    data = {"error": event.error, "detail": event.detail}
    return _reply(event, direction, Outcome.FAILED, event.error, data)


def _reply(event: Answered, direction: Direction, outcome: Outcome, kind: str, data: Any) -> Reply:
    key = CommandKey(SAGA_ID, event.step, direction, 1)
    return Reply(key, event.attempt, outcome, kind, data, event.cause or "")
