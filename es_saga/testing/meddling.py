"""What operators do in a scene: each verb in the words of the saga's own commands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from es_saga.core.inputs import Cancel, Compensate, OperatorVerb, Resend, Resume, RetryStuck, Skip
from es_saga.testing.stage import Asking, Stage

S = TypeVar("S")


class Meddling(ABC, Generic[S]):
    """The verbs. Each gives the scene that follows, and takes what was sent to be expected."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def cancel(self, reason: str = "no longer wanted", *, actor: str = "operator") -> S:
        """An operator asks for it to be undone."""
        __tracebackhide__ = True
        return self._operated(Cancel(actor, reason, self._verb()))

    def compensate(self, reason: str = "it must not go on", *, actor: str = "operator") -> S:
        """An operator has it undone, stuck or not."""
        __tracebackhide__ = True
        return self._operated(Compensate(actor, reason, self._verb()))

    def retry(
        self,
        command: Asking | None = None,
        *,
        reason: str = "it is up again",
        actor: str = "operator",
    ) -> S:
        """An operator has the saga try again what it is stuck at: everything, or one command."""
        __tracebackhide__ = True
        return self._operated(RetryStuck(actor, reason, self._verb(), self._step(command)))

    def resume(
        self,
        command: Asking | None = None,
        *,
        reason: str = "it is up again",
        actor: str = "operator",
    ) -> S:
        """An operator has what waits for its time done now: everything, or one command."""
        __tracebackhide__ = True
        return self._operated(Resume(actor, reason, self._verb(), self._step(command)))

    def resend(
        self,
        command: Asking | None = None,
        *,
        reason: str = "it may be lost",
        actor: str = "operator",
    ) -> S:
        """An operator has what is in flight sent again: everything, or one command."""
        __tracebackhide__ = True
        return self._operated(Resend(actor, reason, self._verb(), self._step(command)))

    def skip(self, command: Asking, *, reason: str = "never mind", actor: str = "operator") -> S:
        """An operator waives a command: one after the pivot, or an undo that keeps failing."""
        __tracebackhide__ = True
        return self._operated(Skip(actor, reason, self._verb(), self._stage.step_of(command)))

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _operated(self, verb: OperatorVerb) -> S:
        __tracebackhide__ = True
        return self._at(self._settled().feed(verb))

    def _verb(self) -> str:
        return self._stage.verb()

    def _step(self, command: Asking | None) -> str | None:
        return None if command is None else self._stage.step_of(command)

    @abstractmethod
    def _settled(self) -> Stage:
        """The stage, once all that was sent has been expected."""

    @abstractmethod
    def _at(self, stage: Stage) -> S:
        """The scene there."""
