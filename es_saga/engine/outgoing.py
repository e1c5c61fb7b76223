"""From events to messages: what a committed event asks the relay to send."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeGuard

from es_saga.core.aggregate import SagaState, Work, WorkStatus
from es_saga.core.compiled import Definition, StepDefinition, StepKind
from es_saga.core.events import CompensationIssued, SagaEvent, StepRetried, StepStarted
from es_saga.core.messages import (
    Direction,
    Envelope,
    Outcome,
    Subjects,
    command_id,
    part_of,
)
from es_saga.core.unfolding import unfolded
from es_saga.engine.nested import for_saga, reply_due


class Outgoing(NamedTuple):
    """A command on its way: where to, what, and how long it is worth delivering, in seconds."""

    subject: str
    envelope: Envelope
    ttl: float | None


class Sender:
    """Builds the messages of one app's process manager."""

    def __init__(self, app: str, subjects: Subjects) -> None:
        self.app = app
        self.subjects = subjects
        self.source = f"pm/{app}"

    def commands(
        self, definition: Definition | None, state: SagaState, events: Iterable[SagaEvent]
    ) -> Iterator[Outgoing]:
        """The commands that these events carry; `state` is the saga after them, or later still.

        Without a definition nothing is known of how long they are worth delivering.

        What is not in flight any more by then is left out: events that came together may hold a
        command and its answer, as when a reply is read right after the timer asked again. A step
        that waits for the world outside sends nothing, nor does one that is only expected. Of a
        saga that another one runs, what that one is answered comes with them.
        """
        for event in events:
            if not isinstance(event, _SENDING):
                reply = reply_due(state, event)
                if reply is not None and reply.sagaid is not None:
                    yield Outgoing(self.subjects.inbox(self.app, reply.sagaid), reply, None)
                continue
            undo = isinstance(event, CompensationIssued)
            own = state.steps.get(event.step)
            if own is None:
                continue  # its way was given up
            work = own.undo if undo else own.do
            if _awaited(work, state, event.step) and work.attempt == event.attempt:
                direction = Direction.UNDO if undo else Direction.DO
                yield self._command(definition, state, event.step, direction)

    def in_flight(self, definition: Definition, state: SagaState) -> Iterator[Outgoing]:
        """Every command of a saga that an answer is awaited to."""
        for step, own in state.steps.items():
            for direction, work in ((Direction.DO, own.do), (Direction.UNDO, own.undo)):
                if _awaited(work, state, step):
                    yield self._command(definition, state, step, direction)

    def _command(
        self, definition: Definition | None, state: SagaState, step: str, direction: Direction
    ) -> Outgoing:
        own = state.steps[step]
        undo = direction is Direction.UNDO
        work = own.undo if undo else own.do
        assert work is not None
        assert work.sent is not None, "work in flight keeps its command"
        sent, origin = work.sent, state.origin
        key = command_id(origin.saga_id, step, direction, work.round)
        found = None if undo or definition is None else unfolded(definition, state).steps[step]
        hold = found.confirms if found is not None else None
        envelope = Envelope(
            id=f"{key}/{work.attempt}",
            source=self.source,
            type=sent.type,
            sagaid=origin.saga_id,
            sagatype=origin.saga_type,
            step=step,
            commandid=key,
            undoes=_done(state, step) if undo else None,
            confirms=_done(state, hold) if hold is not None else None,
            expires=found.expires if found is not None else None,
            attempt=work.attempt,
            replyto=self.subjects.inbox(self.app, origin.saga_id),
            deadline=work.due,
            traceparent=origin.trace,
            direction="CANCEL" if undo else "REQUEST",
            data=sent.data,
        )
        subject = self.subjects.command(sent.to, part_of(origin.saga_id), sent.type)
        run = for_saga(envelope, sent)
        if run is not None:
            child, envelope = run
            subject = self.subjects.inbox(self.app, child)
        return Outgoing(subject, envelope, None if found is None else self._ttl(found))

    @staticmethod
    def _ttl(found: StepDefinition) -> float | None:
        """What can be undone need not run late; an undo and what follows the pivot must arrive."""
        lasting = found.after_pivot or found.kind is StepKind.PIVOT
        return None if lasting else found.timeout

    def outcome(self, state: SagaState) -> Envelope:
        """What whoever asked to be notified is told at the end."""
        return Envelope(
            id=f"{state.saga_id}/closed",
            source=self.source,
            type=CLOSED_TYPE,
            sagaid=state.saga_id,
            sagatype=state.origin.saga_type,
            outcome=Outcome.SUCCEEDED if state.status.value == "completed" else Outcome.REFUSED,
            data=summary(state),
        )


def _awaited(work: Work | None, state: SagaState, step: str) -> TypeGuard[Work]:
    """Whether somebody is asked, and has not answered: what waits or is expected asks nobody."""
    if work is None or work.status is not WorkStatus.STARTED or step in state.waiting:
        return False
    return work.sent is None or not work.sent.expected


def _done(state: SagaState, step: str) -> str:
    """The id of a step's forward command."""
    return command_id(state.origin.saga_id, step, Direction.DO, state.steps[step].do.round)


CLOSED_TYPE = "es_saga.closed"

_SENDING = (StepStarted, StepRetried, CompensationIssued)


def summary(state: SagaState) -> dict[str, object]:
    """A saga in a few words, for answers and notices."""
    failure = state.failure
    return {
        "saga_id": state.saga_id,
        "type": state.origin.saga_type,
        "key": state.origin.key,
        "status": state.status.value,
        "version": state.version,
        "reason": failure.why if failure else None,
        "reason_step": failure.step if failure else None,
    }
