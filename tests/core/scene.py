"""A saga told step by step, by the names of its steps: what is answered, and what follows.

`play(saga)` starts it; every method is one input, and `sent` says which commands it led to. For the
tests of the core, whose steps all send one command, and which answer what nobody would; sagas are
better told by `es_saga.testing.given`.
"""

from __future__ import annotations

from typing import Any, TypeVar

from es_saga.core.compiled import Definition
from es_saga.core.definition import Saga
from es_saga.core.events import Json, SagaEvent
from es_saga.core.inputs import (
    Cancel,
    Compensate,
    Input,
    Reply,
    Resend,
    Resolve,
    Resume,
    RetryStuck,
    Skip,
    Start,
    Tick,
)
from es_saga.core.messages import CommandKey, Direction, Outcome, command_id
from es_saga.core.state import SagaState, SagaStatus, StepState
from es_saga.testing.stage import NOON, open_stage

E = TypeVar("E", bound=SagaEvent)


class Scene:
    """One saga, called `s-1`, and its log."""

    def __init__(self, definition: Definition, data: Json) -> None:
        self.definition = definition
        self.now = NOON
        self._stage = open_stage(definition, Start("s-1", data, message_id="start"))
        self._messages = 0

    @property
    def state(self) -> SagaState:
        return self._stage.saga

    @property
    def status(self) -> SagaStatus:
        return self.state.status

    @property
    def log(self) -> list[SagaEvent]:
        return list(self._stage.history)

    def step(self, name: str) -> StepState:
        return self.state.steps[name]

    def feed(self, input: Input) -> list[SagaEvent]:
        """Decide on an input, twice: its events, which are in the log now."""
        before = len(self.log)
        self._stage = self._stage._replace(now=self.now).feed(input)
        return self.log[before:]

    def reply(
        self,
        step: str,
        outcome: Outcome,
        type: str,
        data: Any = None,
        *,
        direction: Direction = Direction.DO,
        attempt: int | None = None,
        round: int | None = None,
        retry_after: float | None = None,
    ) -> list[SagaEvent]:
        """An answer; to the last attempt unless told otherwise."""
        own = self.state.steps.get(step)
        work = None if own is None else own.do if direction is Direction.DO else own.undo
        key = CommandKey(
            saga_id="s-1",
            step=step,
            direction=direction,
            round=round or (work.round if work else 1),
        )
        return self.feed(
            Reply(
                key,
                attempt or (work.attempt if work else 1),
                outcome,
                type,
                data,
                self.message(),
                retry_after,
            )
        )

    def succeed(self, step: str, *, attempt: int | None = None) -> list[SagaEvent]:
        """The participant did it, and answers `Done`."""
        return self.reply(step, Outcome.SUCCEEDED, "Done", {"by": f"{step}-desk"}, attempt=attempt)

    def refuse(self, step: str, *, attempt: int | None = None) -> list[SagaEvent]:
        return self.reply(step, Outcome.REFUSED, "No", {"why": "full"}, attempt=attempt)

    def fail(
        self, step: str, error: str = "Busy", *, retry_after: float | None = None
    ) -> list[SagaEvent]:
        data = {"error": error, "detail": "no room in the queue"}
        return self.reply(step, Outcome.FAILED, error, data, retry_after=retry_after)

    def undone(self, *steps: str) -> None:
        """The undos of these steps succeed, one after the other."""
        for step in steps:
            self.reply(step, Outcome.SUCCEEDED, "Done", direction=Direction.UNDO)

    def undo_refused(self, step: str) -> list[SagaEvent]:
        return self.reply(step, Outcome.REFUSED, "No", {}, direction=Direction.UNDO)

    def undo_fails(self, step: str, *, retry_after: float | None = None) -> list[SagaEvent]:
        return self.reply(
            step,
            Outcome.FAILED,
            "Busy",
            {"error": "Busy"},
            direction=Direction.UNDO,
            retry_after=retry_after,
        )

    def wait(self, seconds: float) -> list[SagaEvent]:
        """Time passes, and is noticed at the end of it."""
        self.now += seconds
        return self.feed(Tick())

    def silence(self, *, rounds: int = 1) -> None:
        """Nobody answers; whatever is due next happens, `rounds` times."""
        for _ in range(rounds):
            assert self.state.next_due is not None
            self.now = max(self.now, self.state.next_due)
            self.feed(Tick())

    def cancel(self) -> list[SagaEvent]:
        return self.feed(Cancel("ann", "changed her mind", self.message()))

    def compensate(self) -> list[SagaEvent]:
        return self.feed(Compensate("ann", "it leads nowhere", self.message()))

    def resume(self, step: str | None = None) -> list[SagaEvent]:
        return self.feed(Resume("ann", "it is up again", self.message(), step))

    def resend(self, step: str | None = None) -> list[SagaEvent]:
        return self.feed(Resend("ann", "waited enough", self.message(), step))

    def retry(self, step: str | None = None) -> list[SagaEvent]:
        return self.feed(RetryStuck("ann", "it is up again", self.message(), step))

    def skip(self, step: str) -> list[SagaEvent]:
        return self.feed(Skip("ann", "never mind", self.message(), step))

    def resolve(
        self,
        step: str,
        outcome: Outcome = Outcome.SUCCEEDED,
        *,
        direction: Direction = Direction.DO,
        reply: Json | None = None,
    ) -> list[SagaEvent]:
        return self.feed(
            Resolve("ann", "looked it up", self.message(), step, direction, outcome, reply)
        )

    def message(self) -> str:
        """A message id that was not there before."""
        self._messages += 1
        return f"m-{self._messages}"

    @property
    def sent(self) -> list[str]:
        """Ids of the commands sent so far, with the attempt where it is not the first."""
        short = (
            (command_id(*sent.key).removeprefix("s-1/"), sent.attempt) for sent in self._stage.new
        )
        return [name if attempt == 1 else f"{name} #{attempt}" for name, attempt in short]

    @property
    def names(self) -> list[str]:
        """The log, as names of events."""
        return [type(event).__name__ for event in self.log]

    def last(self, kind: type[E]) -> E:
        """The last event of a kind."""
        found = [event for event in self.log if isinstance(event, kind)]
        assert found, f"no {kind.__name__} in {self.names}"
        return found[-1]


def play(saga: Saga[Any], **data: Any) -> Scene:
    """Start a saga and follow it."""
    return Scene(saga.definition, saga.definition.check_input(data))
