"""What a scene is played on: one saga on the pure core, virtual time, and the commands it sent.

A `Stage` is a value: every method gives the one that follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from es_saga.core.compiled import Definition
from es_saga.core.decide import react
from es_saga.core.errors import SagaError
from es_saga.core.events import CompensationIssued, Json, SagaEvent, StepRetried, StepStarted
from es_saga.core.inputs import Heard, Input, Start, Tick
from es_saga.core.messages import Command, CommandKey, Direction, Event, parse_command_id
from es_saga.core.state import SagaState, Work, WorkStatus
from es_saga.testing.timeline import timeline

NOON = 43_200.0
"""When every scene begins, in seconds since the epoch."""

MAX_TICKS = 10_000
"""Times that may become due while a scene waits once; a saga with more goes in circles."""

AnyCommand = type[Command[Any]] | Command[Any]
"""A command by its type; or by value, as it was sent."""

Asking = type[Command[Any]] | type[Event]
"""What a step is known by: its command, that of its undo, or an event that tells of it."""


class Sent(NamedTuple):
    """One sending of a command."""

    key: CommandKey
    attempt: int
    type: str
    data: Json

    def __str__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.data.items())
        return f"{self.type}({fields})" + (f" #{self.attempt}" if self.attempt > 1 else "")

    def fits(self, wanted: AnyCommand) -> bool:
        if isinstance(wanted, type):
            return self.type == wanted.__name__
        return self.type == type(wanted).__name__ and self.data == wanted.model_dump(mode="json")


class Stage(NamedTuple):
    """How far a saga has come."""

    definition: Definition
    saga_id: str
    now: float = NOON
    state: SagaState | None = None
    history: tuple[SagaEvent, ...] = ()
    inputs: tuple[Input, ...] = ()
    """All that came in, but for the passing of time."""
    new: tuple[Sent, ...] = ()
    """Commands that were sent and not expected yet."""
    told: tuple[Sent, ...] = ()
    """Commands that were sent and expected."""

    @property
    def saga(self) -> SagaState:
        assert self.state is not None, "a stage is opened by its start"
        return self.state

    def work(self, sent: Sent) -> Work:
        """What has become of a command."""
        step = self.saga.steps.get(sent.key.step) or self.saga.past[sent.key.step]
        work = step.do if sent.key.direction is Direction.DO else step.undo
        assert work is not None, "it was sent"
        return work

    def in_flight(self, sent: Sent) -> bool:
        """Whether this very sending is awaited."""
        work = self.work(sent)
        sending = (work.status, work.round, work.attempt)
        return sending == (WorkStatus.STARTED, sent.key.round, sent.attempt)

    def step_of(self, command: Asking) -> str:
        """The step that a command does or undoes, also where it was never sent; or an event.

        Raises:
            TypeError: no step of the saga sends it.
        """
        for sent in reversed(self.told):
            if sent.type == command.__name__:
                return sent.key.step
        for step in self.definition.steps.values():
            told = step.observed
            if command in (step.command, step.undo and step.undo.command) or (
                told is not None and command in (told.done, told.undone, *told.refused)
            ):
                return step.name
        raise TypeError(f"No step of {self.definition.name!r} sends {command.__name__}.")

    def feed(self, given: Input) -> Stage:
        """What follows from one input.

        Raises:
            AssertionError: deciding twice gave two results.
            SagaError: as `es_saga.core.decide.decide` does, with the history as a note.
        """
        __tracebackhide__ = True
        try:
            events, state = react(self.definition, self.state, given, self.now)
            again = react(self.definition, self.state, given, self.now).events
        except SagaError as error:
            error.add_note(f"\n{self}")
            raise
        after = self._replace(state=state, history=(*self.history, *events))
        if again != events:
            after.fail(
                f"the functions of {self.definition.name!r} are not pure: called twice, "
                f"they gave {events} and then {again}"
            )
        return after._replace(
            inputs=self.inputs if isinstance(given, Tick) else (*self.inputs, given),
            new=(
                *self.new,
                *(
                    _sent(state, event)
                    for event in events
                    if isinstance(event, _SENDING) and _goes_out(state, event)
                ),
            ),
        )

    def pass_time(self, until: float) -> Stage:
        """Whatever becomes due up to this time happens, each at its own time."""
        __tracebackhide__ = True
        stage = self
        for _ in range(MAX_TICKS):
            due = stage.saga.next_due
            if due is None or due > until:
                return stage._replace(now=max(until, stage.now))
            stage = stage._replace(now=max(due, stage.now)).feed(Tick())
        self.fail(f"more than {MAX_TICKS} times became due")

    def up_to(self, count: int) -> Stage:
        """Wait for attempts to come until `count` commands are new, or something else is due."""
        __tracebackhide__ = True
        stage = self
        while len(stage.new) < count and (due := stage._next_attempt()) is not None:
            stage = stage.pass_time(due)
        return stage

    def _next_attempt(self) -> float | None:
        """When a command is sent again, if nothing else becomes due before it or with it."""
        due = self.saga.next_due
        works = (step.undo or step.do for step in self.saga.steps.values())
        becoming = {work.status for work in works if work.due == due}
        return due if becoming == {WorkStatus.BACKOFF} else None

    def verb(self) -> str:
        """A message id for an operator's verb."""
        return f"verb-{len(self.inputs)}"

    def expected(self, sent: Sent) -> Stage:
        """It is no news any more that this was sent."""
        at = self.new.index(sent)
        return self._replace(new=self.new[:at] + self.new[at + 1 :], told=(*self.told, sent))

    def fail(self, why: str) -> NoReturn:
        """Raise AssertionError with all there is to see."""
        __tracebackhide__ = True
        raise AssertionError(f"{why}\n\n{self}")

    def __str__(self) -> str:
        status = self.state.status if self.state else "not there"
        lines = [f"{self.saga_id} is {status}:", timeline(self.history)]
        open_ = [str(sent) for sent in (*self.told, *self.new) if self.in_flight(sent)]
        if open_:
            lines.append(f"in flight: {', '.join(open_)}")
        return "\n".join(lines)


_SENDING = StepStarted | StepRetried | CompensationIssued


def name_of(command: AnyCommand | Asking) -> str:
    """A command as a person calls it."""
    return command.__name__ if isinstance(command, type) else repr(command)


def listed(sent: Sequence[Sent]) -> str:
    """What was sent, as the end of a sentence."""
    if not sent:
        return "nothing was sent"
    return f"{', '.join(map(str, sent))} {'was' if len(sent) == 1 else 'were'} sent"


def open_stage(definition: Definition, start: Start | Heard) -> Stage:
    """The stage right after its saga's start."""
    return Stage(definition, start.saga_id).feed(start)


def _goes_out(state: SagaState, event: StepStarted | StepRetried | CompensationIssued) -> bool:
    """Whether anybody is asked: not by a step that waits for the world outside, or is expected."""
    if isinstance(event, StepRetried):
        sent = state.steps[event.step].do.sent
        return event.step not in state.waiting and not (sent is not None and sent.expected)
    return bool(event.to) and not event.expected


def _sent(state: SagaState, event: StepStarted | StepRetried | CompensationIssued) -> Sent:
    key = parse_command_id(event.command_id)
    if not isinstance(event, StepRetried):
        return Sent(key, event.attempt, event.command_type, event.command)
    kept = state.steps[event.step].do.sent
    assert kept is not None, "what is sent again is still known"
    return Sent(key, event.attempt, kept.type, kept.data)
