"""One reaction in the making: the events so far and the state after them."""

from __future__ import annotations

import traceback
from typing import Any

from pydantic_core import to_json

from es_saga.core.aggregate import evolve
from es_saga.core.compiled import Definition, StepDefinition, StepKind, Way
from es_saga.core.errors import InvalidInput
from es_saga.core.events import (
    CompensationIssued,
    CompensationStarted,
    SagaEvent,
    SagaResumed,
    SagaStuck,
    StepFannedOut,
    StepRetried,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from es_saga.core.messages import MAX_PAYLOAD_BYTES, Command, Direction, command_id
from es_saga.core.policy import Retry
from es_saga.core.state import SagaState, Sent, WorkStatus
from es_saga.core.unfolding import unfolded

MAX_DETAIL_CHARS = 4_000
"""How much of a traceback or an error text goes into the log."""

MAX_WHY_CHARS = 500

MAX_COMMAND_BYTES = MAX_PAYLOAD_BYTES - 4 * 1024
"""What a command leaves of the largest message for the envelope around it, in bytes of JSON."""


_WAIT = Sent(type="", to="", data={})
"""What goes out for a step that waits."""


class Reaction:
    """What one input leads to. `emit` appends an event and moves the state on."""

    __slots__ = ("cause", "definition", "events", "now", "state")

    def __init__(
        self, definition: Definition, state: SagaState, now: float, cause: str | None
    ) -> None:
        self.definition = unfolded(definition, state)
        self.state = state
        self.now = now
        self.cause = cause
        self.events: list[SagaEvent] = []

    def emit(self, event: SagaEvent) -> None:
        self.events.append(event)
        self.state = evolve(self.state, event)

    def id_of(self, step: str, direction: Direction, round: int = 1) -> str:
        return command_id(self.state.origin.saga_id, step, direction, round)

    # ── consequences that several rules share ────────────────────────────────────────────────────

    def stick(self, why: str, step: str | None, detail: str = "") -> None:
        self.emit(SagaStuck(at=self.now, cause=self.cause, why=why, step=step, detail=detail))

    def turn_back(self, why: str, step: str | None, back_to: str | None = None) -> None:
        self.emit(
            CompensationStarted(
                at=self.now,
                cause=self.cause,
                why=why,
                step=step,
                back_to=back_to,
                left=tuple(name for name in self.state.steps if self._can_be_left(name)),
            )
        )

    def _can_be_left(self, name: str) -> bool:
        """It runs a child, which can be undone at any moment, so nobody waits until it is done."""
        step = self.definition.steps[name]
        in_flight = self.state.steps[name].do.status is WorkStatus.STARTED
        return in_flight and step.child is not None and step.undo is not None

    def go_on(self, save_point: str) -> None:
        """What came after a save-point is undone: go forward from it, another way."""
        state, why = self.state, self.state.failure
        told = Way.model_validate(state.steps[save_point].do.reply)
        way = Way(number=told.number + 1, failed=why and why.step, why=why and why.why)
        self.emit(
            SagaResumed(
                at=self.now,
                cause=self.cause,
                save_point=save_point,
                way=len(state.ways) + 2,
                reply=way.model_dump(mode="json"),
                past=tuple(
                    name
                    for name in state.steps
                    if save_point in self.definition.steps[name].ancestors
                ),
            )
        )
        self.definition = unfolded(self.definition, self.state)

    def begin(self, step: StepDefinition) -> None:
        """Ask for a step for the first time; a function of it that raises parks the saga."""
        try:
            if not self.definition.wanted(step, self.state):
                self.skip(step, "its condition does not hold")
                return
            if step.each is not None and step.item is None:
                self.fan_out(step, len(self.definition.items(step, self.state)))
                return
            sent = _WAIT if step.wait else _sent(self.definition.build_command(step, self.state))
        except Exception as error:  # a user's function may raise anything: its saga alone stops
            self.stick(_raised(step.name, error), step.name, _trace(error))
            return
        self.emit(
            StepStarted(
                at=self.now,
                cause=self.cause,
                step=step.name,
                command_type=step.asks,
                to=sent.to,
                command=sent.data,
                command_id=self.id_of(step.name, Direction.DO),
                due=self.now + step.timeout,
                expected=step.observed is not None,
            )
        )
        if step.ways is not None:
            first = Way(number=1).model_dump(mode="json")
            self.emit(StepSucceeded(at=self.now, step=step.name, attempt=1, reply=first))
        elif step.asks in self.state.signals and step.wait is not None:
            self.hear(step)

    def fan_out(self, step: StepDefinition, count: int) -> None:
        """From here on a step stands for each item of the list."""
        if count == 0:
            self.skip(step, "its list is empty")
            return
        self.emit(StepFannedOut(at=self.now, cause=self.cause, step=step.name, count=count))
        self.definition = unfolded(self.definition, self.state)

    def hear(self, step: StepDefinition, cause: str | None = None) -> None:
        """What a step waits for has come; by this message, or it had come before, or is a time."""
        work, reply = self.state.steps[step.name].do, self.state.signals.get(step.asks)
        self.emit(
            StepSucceeded(
                at=self.now, cause=cause, step=step.name, attempt=work.attempt, reply=reply
            )
        )

    def skip(self, step: StepDefinition, why: str) -> None:
        """The saga goes on without it."""
        self.emit(StepSkipped(at=self.now, cause=self.cause, step=step.name, why=why))

    def begin_undo(self, step: StepDefinition) -> None:
        """Ask for a step's undo for the first time."""
        assert step.undo is not None, "only a step with an undo is owed one"
        try:
            sent = _sent(self.definition.build_undo(step, self.state))
        except Exception as error:  # as in begin
            self.stick(_raised(f"compensation of {step.name}", error), step.name, _trace(error))
            return
        self._issue(step, sent, attempt=1, round=1)

    def send_again(self, step: StepDefinition) -> None:
        """Send a step's command once more, under the same id."""
        work = self.state.steps[step.name].do
        self.emit(
            StepRetried(
                at=self.now,
                cause=self.cause,
                step=step.name,
                command_id=self.id_of(step.name, Direction.DO, work.round),
                attempt=work.attempt + 1,
                due=self.now + step.timeout,
            )
        )

    def undo_again(self, step: StepDefinition) -> None:
        """Send a step's undo once more, under the same id."""
        work = self.state.steps[step.name].undo
        assert work is not None, "it was issued before"
        assert work.sent is not None, "an undo that is still owed keeps its command"
        self._issue(step, work.sent, attempt=work.attempt + 1, round=work.round)

    def _issue(self, step: StepDefinition, sent: Sent, attempt: int, round: int) -> None:
        assert step.undo is not None
        self.emit(
            CompensationIssued(
                at=self.now,
                cause=self.cause,
                step=step.name,
                command_type=sent.type,
                to=sent.to,
                command=sent.data,
                command_id=self.id_of(step.name, Direction.UNDO, round),
                attempt=attempt,
                due=self.now + step.undo.timeout,
                expected=step.observed is not None,
            )
        )

    # ── questions that several rules ask ─────────────────────────────────────────────────────────

    def retry_at(
        self, policy: Retry, command: str, attempt: int, error: str | None, at_least: float = 0.0
    ) -> float | None:
        """When the next attempt is due; None when there is none."""
        if not policy.another(attempt, error):
            return None
        return self.now + max(policy.wait(command, attempt), at_least)

    def owes_undo(self, step: StepDefinition) -> bool:
        """Done, or maybe done, and with something to undo (laws L07, L08, L18, L29)."""
        own = self.state.steps.get(step.name)
        return (
            own is not None
            and step.kind is StepKind.COMPENSATABLE
            and own.do.status in (WorkStatus.SUCCEEDED, WorkStatus.UNKNOWN)
        )

    def held(self, step: StepDefinition) -> bool:
        """What depends on it is being undone; an operator may have had both tried again (L57)."""
        return self.definition.undo_order == "reverse" and any(
            own.undoing and step.name in self.definition.steps[name].ancestors
            for name, own in self.state.steps.items()
        )

    def pivot_begun(self) -> bool:
        """The pivot is under way, passed, or unknown: nothing may be undone from outside.

        Where there is none, as in a `Tcc`, the first retriable step that begins stands for it. And
        a child that is held is undone by its parent only.
        """
        if self.state.held:
            return True
        steps, pivot = self.state.steps, self.definition.pivot
        if pivot is None:
            return any(self.definition.steps[name].after_pivot for name in steps)
        own = steps.get(pivot)
        return own is not None and own.do.status not in (WorkStatus.REFUSED, WorkStatus.FAILED)


def _sent(command: Command[Any]) -> Sent:
    data, name = command.model_dump(mode="json"), type(command).__name__
    size = len(to_json(data))
    if size > MAX_COMMAND_BYTES:
        raise InvalidInput(
            f"{name} takes {size} bytes; {MAX_COMMAND_BYTES} are allowed.",
            hint="Send a reference to large data, not the data.",
        )
    return Sent(name, command.to, data)


def _raised(label: str, error: Exception) -> str:
    what = "".join(traceback.format_exception_only(error)).strip()  # safe where str() raises
    return f"the function of {label} raised {what}"[:MAX_WHY_CHARS]


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))[-MAX_DETAIL_CHARS:]
