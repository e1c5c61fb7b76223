"""Histories told by hand, true or not, in as few words as possible.

`Told(chain("a", "b")).do("a").ok("a").story()` is a story of the saga `s-1`. One second passes from
event to event. Whatever is not said is as our engine would have it; `**other` says it otherwise.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Self, TypeVar

from es_saga.core.compiled import Definition
from es_saga.core.definition import Saga
from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationStarted,
    CompensationSucceeded,
    DeadlineExceeded,
    LateReplyNoted,
    OperatorCancelled,
    OperatorCompensated,
    OperatorResent,
    OperatorResolved,
    OperatorResumed,
    OperatorRetried,
    OperatorSkipped,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaResumed,
    SagaStarted,
    SagaStuck,
    StepFailed,
    StepRefused,
    StepRetried,
    StepStarted,
    StepSucceeded,
    StepTimedOut,
    UndoException,
)
from es_saga.core.messages import Direction, Envelope, Outcome, command_id
from es_saga.testing.story import Effect, Story

SAGA = "s-1"
TIMEOUT = 30.0
"""Seconds that an attempt may stay unanswered, unless the history says otherwise."""

E = TypeVar("E", bound=SagaEvent)


class Told:
    """A history in the making; it begins with SagaStarted, unless told otherwise."""

    def __init__(self, saga: Saga[Any], *, started: bool = True, **other: Any) -> None:
        self.definition: Definition = saga.definition
        self.events: list[SagaEvent] = []
        self.now = 0.0
        self._attempts: Counter[tuple[str, Direction]] = Counter()
        if started:
            self.start(**other)

    def add(self, kind: type[E], other: dict[str, Any], **fields: Any) -> Self:
        """One more event, a second later."""
        fields = {"at": self.now, **fields, **other}
        self.events.append(kind(**fields))
        self.now = max(self.now, fields["at"]) + 1
        return self

    def wait(self, seconds: float) -> Self:
        self.now += seconds
        return self

    # ── forward ──────────────────────────────────────────────────────────────────────────────────

    def start(self, **other: Any) -> Self:
        definition = self.definition
        return self.add(
            SagaStarted,
            other,
            saga_type=definition.name,
            definition=definition.version,
            fingerprint=definition.fingerprint,
            data={},
        )

    def do(self, step: str, **other: Any) -> Self:
        return self.add(
            StepStarted, other, command_type="Do", to="desk", command={}, **self._sent(step)
        )

    def again(self, step: str, **other: Any) -> Self:
        return self.add(StepRetried, other, **self._sent(step))

    def ok(self, step: str, **other: Any) -> Self:
        return self.add(StepSucceeded, other, **self._named(step))

    def no(self, step: str, **other: Any) -> Self:
        return self.add(StepRefused, other, refusal_type="Full", refusal={}, **self._named(step))

    def fails(self, step: str, *, wait: float | None = None, **other: Any) -> Self:
        """Without a wait: given up."""
        retry = {"retry_at": None if wait is None else self.now + wait}
        return self.add(StepFailed, other, error="Busy", **retry, **self._named(step))

    def silent(self, step: str, *, wait: float | None = None, **other: Any) -> Self:
        """It times out, when it is due."""
        self.now += TIMEOUT - 1
        retry = {"retry_at": None if wait is None else self.now + wait}
        return self.add(StepTimedOut, other, **retry, **self._named(step))

    # ── back ─────────────────────────────────────────────────────────────────────────────────────

    def back(self, **other: Any) -> Self:
        return self.add(CompensationStarted, other, why="full")

    def on(self, save_point: str, **other: Any) -> Self:
        reply = {"number": 2}
        return self.add(SagaResumed, {"way": 2, **other}, save_point=save_point, reply=reply)

    def undo(self, step: str, **other: Any) -> Self:
        return self.add(
            CompensationIssued,
            other,
            command_type="Undo",
            to="desk",
            command={},
            **self._sent(step, Direction.UNDO),
        )

    def undone(self, step: str, **other: Any) -> Self:
        return self.add(CompensationSucceeded, other, **self._named(step, Direction.UNDO))

    def undo_fails(self, step: str, *, wait: float | None = None, **other: Any) -> Self:
        """Without a wait: given up."""
        retry = {"retry_at": None if wait is None else self.now + wait}
        named = self._named(step, Direction.UNDO)
        return self.add(CompensationFailed, other, error="Busy", **retry, **named)

    # ── the whole, and operators ─────────────────────────────────────────────────────────────────

    def completed(self) -> Self:
        return self.add(SagaCompleted, {})

    def compensated(self, *owed: str) -> Self:
        exceptions = tuple(UndoException(step=step, error="Busy") for step in owed)
        return self.add(SagaCompensated, {}, exceptions=exceptions)

    def stuck(self, step: str | None, why: str = "full") -> Self:
        return self.add(SagaStuck, {}, why=why, step=step)

    def late(self, step: str, direction: Direction = Direction.DO) -> Self:
        outcome = Outcome.SUCCEEDED
        return self.add(
            LateReplyNoted, {}, step=step, attempt=1, direction=direction, outcome=outcome
        )

    def overdue(self) -> Self:
        return self.add(DeadlineExceeded, {}, effect="noted")

    def retried(self, step: str | None = None, **other: Any) -> Self:
        return self.add(OperatorRetried, other, **_ANN, step=step)

    def skipped(self, step: str) -> Self:
        return self.add(OperatorSkipped, {}, **_ANN, step=step)

    def resolved(
        self, step: str, direction: Direction, outcome: Outcome = Outcome.SUCCEEDED
    ) -> Self:
        return self.add(
            OperatorResolved, {}, **_ANN, step=step, direction=direction, outcome=outcome
        )

    def cancelled(self, refused: str | None = None) -> Self:
        return self.add(OperatorCancelled, {}, **_ANN, refused=refused)

    def turned_back(self) -> Self:
        return self.add(OperatorCompensated, {}, **_ANN)

    def resumed(self, step: str, direction: Direction = Direction.DO, **other: Any) -> Self:
        return self.add(OperatorResumed, other, **_ANN, step=step, direction=direction)

    def resent(self, step: str, direction: Direction = Direction.DO, **other: Any) -> Self:
        attempt = max(1, self._attempts[step, direction])
        named = {"step": step, "direction": direction, "attempt": attempt}
        return self.add(OperatorResent, other, **_ANN, **named)

    # ── what it makes ────────────────────────────────────────────────────────────────────────────

    def story(
        self, *effects: Effect, seen: bool = False, sent: list[Envelope] | None = None
    ) -> Story:
        """Effects are observed if there are any, or if they were `seen` not to be."""
        return Story(self.definition, SAGA, self.events, effects if effects or seen else None, sent)

    def _sent(self, step: str, direction: Direction = Direction.DO) -> dict[str, Any]:
        self._attempts[step, direction] += 1
        return {
            "step": step,
            "command_id": command_id(SAGA, step, direction),
            "attempt": self._attempts[step, direction],
            "due": self.now + TIMEOUT,
        }

    def _named(self, step: str, direction: Direction = Direction.DO) -> dict[str, Any]:
        return {"step": step, "attempt": max(1, self._attempts[step, direction])}


_ANN = {"actor": "ann", "reason": "it is up again"}


def did(step: str, at: float = 0.0) -> Effect:
    """The step took effect."""
    return Effect(SAGA, step, Direction.DO, command_id(SAGA, step, Direction.DO), at)


def undid(step: str, at: float = 0.0) -> Effect:
    """Its undo took effect."""
    return Effect(SAGA, step, Direction.UNDO, command_id(SAGA, step, Direction.UNDO), at)


def message(step: str, attempt: int = 1, *, undo: bool = False, **other: Any) -> Envelope:
    """A command as it was published."""
    direction = Direction.UNDO if undo else Direction.DO
    command = command_id(SAGA, step, direction)
    fields: dict[str, object] = {
        "id": f"{command}/{attempt}",
        "source": "tests",
        "type": "Undo" if undo else "Do",
        "sagaid": SAGA,
        "step": step,
        "commandid": command,
        "undoes": command_id(SAGA, step, Direction.DO) if undo else None,
        "attempt": attempt,
        "direction": "CANCEL" if undo else "REQUEST",
        "data": {},
    }
    return Envelope.model_validate(fields | other)
