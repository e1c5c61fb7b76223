"""A saga told step by step: what was sent, what is answered, what follows.

`play(saga)` starts it; every method is one input, and `sent` says which commands it led to.
"""

from __future__ import annotations

from typing import Any, TypeVar

from es_saga.core.compiled import Definition
from es_saga.core.decide import decide, react
from es_saga.core.definition import Saga
from es_saga.core.events import (
    CompensationIssued,
    Json,
    SagaEvent,
    StepRetried,
    StepStarted,
)
from es_saga.core.inputs import Cancel, Input, Reply, Resolve, RetryStuck, Skip, Start, Tick
from es_saga.core.messages import CommandKey, Direction, Outcome
from es_saga.core.state import SagaState, SagaStatus, StepState

E = TypeVar("E", bound=SagaEvent)

NOON = 43_200.0
"""When every scene begins, in seconds since the epoch."""


class Scene:
    """One saga, called `s-1`, and its log."""

    def __init__(self, definition: Definition, data: Json) -> None:
        self.definition = definition
        self.now = NOON
        self.log: list[SagaEvent] = []
        self._state: SagaState | None = None
        self._messages = 0
        self.feed(Start("s-1", data, message_id="start"))

    @property
    def state(self) -> SagaState:
        assert self._state is not None
        return self._state

    @property
    def status(self) -> SagaStatus:
        return self.state.status

    def step(self, name: str) -> StepState:
        return self.state.steps[name]

    def feed(self, input: Input) -> list[SagaEvent]:
        """Decide on an input: its events, which are in the log now."""
        before = self._state
        events, self._state = react(self.definition, before, input, self.now)
        assert decide(self.definition, before, input, self.now) == events, "not pure"
        self.log += events
        return events

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
        return _sent(self.log)

    @property
    def names(self) -> list[str]:
        """The log, as names of events."""
        return [type(event).__name__ for event in self.log]

    def last(self, kind: type[E]) -> E:
        """The last event of a kind."""
        found = [event for event in self.log if isinstance(event, kind)]
        assert found, f"no {kind.__name__} in {self.names}"
        return found[-1]


def _sent(log: list[SagaEvent]) -> list[str]:
    sent: list[str] = []
    for event in log:
        if isinstance(event, StepStarted | StepRetried | CompensationIssued):
            short = event.command_id.removeprefix("s-1/")
            sent.append(short if event.attempt == 1 else f"{short} #{event.attempt}")
    return sent


def play(saga: Saga[Any], **data: Any) -> Scene:
    """Start a saga and follow it."""
    return Scene(saga.definition, saga.definition.check_input(data))
