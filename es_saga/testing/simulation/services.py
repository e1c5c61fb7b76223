"""Model participants: they answer every command as the fence rules, and as the plan of faults says.

The fence's own rules (`es_saga.participant.fence.judge`) decide, on records that outlive the
process; the answers are made by the participant kit's own code. An effect is one entry in a list.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from es_saga.core.compiled import Definition
from es_saga.core.errors import Terminal, Unavailable
from es_saga.core.messages import (
    Command,
    Envelope,
    Message,
    Outcome,
    Subjects,
    parse_command_id,
    reply_type,
)
from es_saga.core.nested import order_of
from es_saga.engine.ports import Consumer, Delivery
from es_saga.participant.fence import Record, Rule, Status, Verdict, is_undo
from es_saga.participant.reply import (
    NOTHING,
    Answer,
    envelope_of,
    failure_of,
    failure_record,
    repeat,
)
from es_saga.testing.examples import example
from es_saga.testing.faults import Fault, Kind
from es_saga.testing.simulation.effects import Effects
from es_saga.testing.simulation.journal import Journal
from es_saga.testing.simulation.log import Log
from es_saga.testing.simulation.loop import SimulatedLoop
from es_saga.testing.simulation.network import Link, Network
from es_saga.testing.simulation.process import Process

Fence = Callable[[Envelope, Mapping[str, Record]], Verdict]
"""`es_saga.participant.fence.judge`, or what a test puts in its place."""

REDELIVERY_SECONDS = (1.0, 5.0, 30.0, 120.0)
"""Waits before a command that nobody acknowledged comes again, as at a real participant."""

MAX_DELIVER = 8

REFUSAL = Answer(Outcome.REFUSED, "Refused", b'{"why":"as planned"}', {"why": "as planned"})
SOLD_OUT = Answer(Outcome.REFUSED, "SoldOut", b"{}", {})


@lru_cache(maxsize=1_000)
def made_up(model: type[Message]) -> Message:
    """An example of a model: making one takes longer than a short run."""
    return example(model)


class ByHand(NamedTuple):
    """What became of a command that an operator has looked into at its participant."""

    done: bool
    reply: bytes | None = None
    """JSON, as it was or would have been answered."""


class Screen(Protocol):
    """A participant as its operators see it."""

    def settle_by_hand(
        self, key: str, command: str, *, undoes: str | None, do: bool
    ) -> ByHand | None:
        """See to it that a command is carried out if `do`, else that it never will be.

        None: nothing can be done about it by hand.
        """


class Book:
    """What the commands of some definitions are answered with when they are carried out.

    Args:
        replies: answers by command; those not given are made up.
        others: services that answer for themselves.

    Raises:
        InvalidInput: no answer could be made up.
    """

    def __init__(
        self,
        definitions: Iterable[Definition],
        replies: Mapping[type[Command[Any]], Message],
        others: Collection[str] = (),
    ) -> None:
        self.services: dict[str, None] = {}
        """Their names, in the order in which they are met with."""
        self.answers: dict[str, Answer] = {}
        """By the name of the command."""
        self._replies = replies
        self._others = others
        for definition in definitions:
            for step in definition.steps.values():
                if step.asks_nobody:
                    continue
                self._add(step.command)
                if step.undo is not None:
                    self._add(step.undo.command)

    def _add(self, command: type[Command[Any]]) -> None:
        if order_of(command) is not None:
            return  # a saga answers
        self.services[command.to] = None
        if command.to in self._others:
            return
        model = reply_type(command)
        if model is type(None):
            self.answers[command.__name__] = NOTHING
            return
        reply: Message = self._replies.get(command) or made_up(model)
        json = reply.model_dump_json().encode()
        data = reply.model_dump(mode="json")
        answer = Answer(Outcome.SUCCEEDED, type(reply).__name__, json, data)
        self.answers[command.__name__] = answer


class Service:
    """One participant: a database that outlives the processes which serve it."""

    def __init__(
        self,
        name: str,
        book: Book,
        network: Network,
        log: Log,
        *,
        fence: Fence,
        effects: Effects,
    ) -> None:
        self.name = name
        self.records: dict[str, Record] = {}
        """The fence's table."""
        self._book = book
        self._log = log
        self._network = network
        self._journal: Journal = network.journal
        self._loop: SimulatedLoop = network.loop
        self._fence = fence
        self._effects = effects
        self.begin()

    def begin(self) -> None:
        """Serve, until the process dies; then it is begun again."""
        self._process = Process(self.name, self._loop, self._journal, self.begin)
        self._link = Link(self._network, self._process)
        self._process.run(self._consume())

    async def _consume(self) -> None:
        consumer = Consumer(
            name=f"svc-{self.name}",
            stream="CMD",
            filter=Subjects().commands_of(self.name),
            backoff=REDELIVERY_SECONDS,
            max_deliver=MAX_DELIVER,
        )
        await self._link.consume(consumer, self._take)

    def _take(self, delivery: Delivery) -> None:
        """One command: rule, effect and record together, then the answer, then the ack."""
        command = delivery.envelope
        faults = self._journal.handling.pop(command.id, ())
        for fault in faults:
            if fault.kind is Kind.DIES_ON_RECEIPT:
                self._journal.strikes(fault, self.name)
                self._process.die(fault.seconds)
                return
        answer = self._answer(command, faults)
        if command.replyto is not None:
            told = spoken(answer, faults, self._journal, self.name) if faults else (answer,)
            for envelope in told:
                self._link.publish(command.replyto, envelope)
        delivery.ack()

    def _answer(self, command: Envelope, faults: Sequence[Fault]) -> Envelope:
        rule, record = self._fence(command, self.records)
        if rule is Rule.RUN:
            return self._run(command, faults)
        if rule in (Rule.REPEAT, Rule.TOO_LATE):
            assert record is not None, "the fence says which"
            self._journal.met["repeated" if rule is Rule.REPEAT else "came after its undo"] += 1
            return repeat(record, command, self.name)
        if rule is Rule.NEVER_RAN and command.undoes is not None:
            self._journal.met["undone before it came"] += 1
            self._remember(command.undoes, Status.UNDONE)
        return envelope_of(NOTHING, command, self.name)

    def _run(self, command: Envelope, faults: Sequence[Fault]) -> Envelope:
        key, undo = command.commandid, is_undo(command)
        assert key is not None, "the manager's commands have one"
        for fault in faults:
            if fault.kind is Kind.REFUSED:
                self._journal.strikes(fault, self.name)
                self._remember(key, Status.REFUSED, REFUSAL)
                return envelope_of(REFUSAL, command, self.name)
            if fault.kind in (Kind.FAILED, Kind.FAILED_FOR_GOOD):
                self._journal.strikes(fault, self.name)
                failure = failure_of(planned_error(fault), command, self.name)
                record = failure_record(failure, command, self._loop.now)
                self.records[record.command_id] = record
                return failure
        if not undo and self._effects.spent(command.type):
            self._journal.met["refused for want"] += 1
            self._remember(key, Status.REFUSED, SOLD_OUT)
            return envelope_of(SOLD_OUT, command, self.name)
        answer = self._book.answers[command.type]
        self._remember(key, Status.SUCCEEDED, answer)
        if not self._log.looks(command):
            undoes = command.undoes if undo else None
            self._effects.add(self.name, key, command.type, undoes=undoes)
        return envelope_of(answer, command, self.name)

    def _remember(self, key: str, status: Status, answer: Answer | None = None) -> None:
        kind, json = (None, None) if answer is None else (answer.type, answer.json)
        self.records[key] = Record(key, status.value, kind, json, self._loop.now)

    def end(self) -> None:
        """Serve no more."""
        self._process.alive = False

    # ── an operator at the participant's own screen ──────────────────────────────────────────────

    def settle_by_hand(self, key: str, command: str, *, undoes: str | None, do: bool) -> ByHand:
        """See to it that a command is carried out, or else that it never will be.

        What has been done stays done.
        """
        known = self.records.get(key)
        if known is not None and known.status == Status.SUCCEEDED:
            return ByHand(True, known.reply)
        if not do:
            if known is None:
                self._remember(key, Status.UNDONE)
            return ByHand(False)
        forward = None if undoes is None else self.records.get(undoes)
        answer = self._book.answers[command]
        self._remember(key, Status.SUCCEEDED, answer)
        if undoes is None or (forward is not None and forward.status == Status.SUCCEEDED):
            self._effects.add(self.name, key, command, undoes=undoes)
        elif forward is None:
            self._remember(undoes, Status.UNDONE)
        return ByHand(True, answer.json)


def planned_error(fault: Fault) -> Exception:
    """What an attempt fails with that is to fail."""
    if fault.kind is Kind.FAILED_FOR_GOOD:
        return Terminal("It will never work.")
    return Unavailable("It does not work now.", retry_after=fault.seconds or None)


# ── answers that are none ────────────────────────────────────────────────────────────────────────


def spoken(
    answer: Envelope, faults: Iterable[Fault], journal: Journal, who: str
) -> Iterator[Envelope]:
    """What is sent for an answer: strangers, if so planned, and then it or what is left of it."""
    for fault in faults:
        if fault.kind in _BESIDE:
            journal.strikes(fault, who)
            yield _BESIDE[fault.kind](answer)
        elif fault.kind is Kind.GARBLED:
            journal.strikes(fault, who)
            answer = _garbled(answer)
    yield answer


def _garbled(answer: Envelope) -> Envelope:
    """Its outcome is left out: whatever it is the answer to, nobody can read it."""
    return answer.model_copy(update={"outcome": None, "data": {"garbled": True}})


def _wrong_attempt(answer: Envelope) -> Envelope:
    later = answer.attempt + 1
    return _success(answer, id=f"{answer.commandid}/{later}/forged", attempt=later)


def _wrong_saga(answer: Envelope) -> Envelope:
    key = parse_command_id(answer.commandid or "")
    wrong = f"{key.saga_id[:60]}-no/{key.step}/{key.direction}"
    return _success(answer, id=f"{answer.id}/astray", commandid=wrong, sagaid=None)


def _poison(answer: Envelope) -> Envelope:
    return _success(answer, id=f"{answer.id}/poison", commandid=None)


def _success(answer: Envelope, **changes: object) -> Envelope:
    """It claims more than was done: whoever believes it is found out."""
    return answer.model_copy(update={"outcome": Outcome.SUCCEEDED, **changes})


_BESIDE = {
    Kind.WRONG_ATTEMPT: _wrong_attempt,
    Kind.WRONG_SAGA: _wrong_saga,
    Kind.POISON: _poison,
}
