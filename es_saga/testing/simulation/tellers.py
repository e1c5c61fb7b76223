"""Model participants of choreographies: each hears events, and tells its own of its own accord.

What it has heard and done outlives the process, and so does its outbox. What befalls a step of a
saga that is conducted befalls a reaction: it is lost, comes late or twice, is refused or fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple
from zlib import crc32

from pydantic_core import to_json

from es_saga.core.compiled import Definition, Told, told_by
from es_saga.core.correlation import Correlation
from es_saga.core.errors import InvalidInput
from es_saga.core.events import Json
from es_saga.core.messages import (
    Direction,
    Envelope,
    Event,
    Subjects,
    command_id,
    parse_command_id,
)
from es_saga.engine.ports import Consumer, Delivery
from es_saga.testing.faults import Fault, Kind
from es_saga.testing.simulation.effects import Effects
from es_saga.testing.simulation.journal import Journal
from es_saga.testing.simulation.network import Link, Network
from es_saga.testing.simulation.process import Process
from es_saga.testing.simulation.services import ByHand, made_up

AGAIN_SECONDS: Final = 1.0
"""After this an event is reacted to again that could not be reacted to."""


def event_of(
    correlation: Correlation, saga_type: str, saga_id: str, id: str, data: Json | None = None
) -> Envelope:
    """An event as its service publishes it, for the saga with this id."""
    event, field = correlation.event, correlation.field
    key = saga_id.removeprefix(f"{saga_type}-")
    made = data if data is not None else made_up(event).model_dump(mode="json")
    if field is not None:
        made = event.model_validate(made | {field: key}).model_dump(mode="json")
    return Envelope(
        id=id,
        source=f"svc/{event.by}",
        type=event.__name__,
        subject=str(made.get(event.about, key)),
        sagaid=saga_id,
        sagatype=saga_type,
        correlationid=key,
        data=made,
    )


def check_id_of(definition: Definition, saga_id: str) -> None:
    """Of a choreography: whether its events can name it.

    Raises:
        InvalidInput: they cannot.
    """
    name = definition.name
    if not definition.conducted and not saga_id.startswith(f"{name}-"):
        raise InvalidInput(
            f"No event can name the saga {saga_id!r}.", hint=f"Give it an id like {name}-1."
        )


def subject_of(event: Envelope) -> str:
    """Where it is published."""
    service = event.source.removeprefix("svc/")
    return Subjects().event(service, event.subject or event.id, event.type)


class Part(NamedTuple):
    """What a service does in one direction of one step, and tells."""

    step: str
    direction: Direction
    event: type[Event]
    refusals: Sequence[type[Event]]
    """What may be told instead of doing the step."""
    cues: frozenset[Told]
    """It is due once it has heard all of them; an undo, once it has heard one."""

    @property
    def may_be_refused(self) -> bool:
        """Whether something else may be told instead."""
        return self.direction is Direction.DO and bool(self.refusals)

    def refusal(self, key: str) -> type[Event]:
        """What is told instead: of one command always the same."""
        return self.refusals[crc32(key.encode()) % len(self.refusals)]

    def follows(self, heard: Envelope) -> bool:
        """Whether that is one of its cues."""
        return _told(heard) in self.cues

    def due(self, heard: set[Told]) -> bool:
        if self.direction is Direction.DO:
            return self.cues <= heard
        return bool(self.cues & heard)


def parts(definition: Definition) -> Iterable[Part]:
    """Undos first: what must not be any more when it is due is not done."""
    done: list[Part] = []
    for name, step in definition.steps.items():
        observed = step.observed
        assert observed is not None, "nobody conducts it"
        if observed.undone is not None:
            causes = frozenset(map(told_by, observed.undone_after))
            yield Part(name, Direction.UNDO, observed.undone, observed.refused, causes)
        before = [definition.steps[other].observed for other in step.after]
        cues = frozenset(told_by(other.done) for other in before if other is not None)
        done.append(Part(name, Direction.DO, observed.done, observed.refused, cues))
    yield from done


def _told(event: Envelope) -> Told:
    return event.source.removeprefix("svc/"), event.type


def sagas_of(
    definitions: Iterable[Definition], event: Envelope
) -> Iterator[tuple[Definition, str]]:
    """The flows to which an event belongs, and the id of the saga in each."""
    for definition in definitions:
        correlation = definition.correlations.get(_told(event))
        named = None if correlation is None else correlation.saga_of(event, definition.name)
        if named is not None:
            yield definition, named.saga_id


def struck(journal: Journal, key: str, who: str) -> Fault | None:
    """What befalls a reaction: the first that can."""
    faults = journal.handling.pop(f"{key}/1", ())
    found = next((fault for fault in faults if fault.kind in _BEFALL), None)
    if found is not None:
        journal.strikes(found, who)
    return found


class Teller:
    """One service of flows that nobody conducts."""

    def __init__(
        self, name: str, definitions: Iterable[Definition], network: Network, effects: Effects
    ) -> None:
        self.name = name
        self._definitions = {definition.name: definition for definition in definitions}
        self._network = network
        self._journal = network.journal
        self._effects = effects
        self._heard: dict[str, set[Told]] = {}
        self._fates: dict[str, type[Event] | None] = {}
        """By command id: what was told of it; None: nothing, and never will be."""
        self._outbox: dict[str, Envelope] = {}
        """What is committed, and may not have been published."""
        self._serve()

    def _serve(self) -> None:
        self._process = Process(self.name, self._network.loop, self._journal, self._serve)
        self._link = Link(self._network, self._process)
        self._process.run(self._consume())
        self._publish()

    async def _consume(self) -> None:
        consumer = Consumer(name=f"evt-{self.name}", stream="EVT", filter=Subjects().events)
        await self._link.consume(consumer, self._take)

    def end(self) -> None:
        """Serve no more."""
        self._process.alive = False

    def begin(self, saga_type: str, saga_id: str, data: Json, message_id: str) -> None:
        """Do what begins a flow; asked once more it is told once more."""
        definition = self._definitions[saga_type]
        step = next(iter(definition.steps))
        key = command_id(saga_id, step, Direction.DO)
        if key not in self._fates:
            self._effects.add(self.name, key, step, undoes=None)
        first = next(iter(definition.openings.values())).event
        self._fates[key] = first
        correlation = definition.correlations[told_by(first)]
        self._outbox[message_id] = event_of(correlation, saga_type, saga_id, message_id, data)
        self._publish()

    # ── reacting ─────────────────────────────────────────────────────────────────────────────────

    def _take(self, delivery: Delivery) -> None:
        event = delivery.envelope
        for definition, saga_id in sagas_of(self._definitions.values(), event):
            heard = self._heard.setdefault(saga_id, set())
            heard.add(_told(event))
            for part in parts(definition):
                mine = part.event.by == self.name and part.cues
                key = command_id(saga_id, part.step, part.direction)
                if not mine or key in self._fates or not part.due(heard):
                    continue
                fault = struck(self._journal, key, self.name)
                if fault is not None and fault.kind is Kind.DIES_ON_RECEIPT:
                    self._process.die(fault.seconds)
                    return
                if fault is not None and fault.kind is Kind.FAILED:
                    delivery.nak(fault.seconds or AGAIN_SECONDS)
                    return
                self._react(definition, saga_id, key, part, fault)
                self._publish()
        delivery.ack()

    def _react(
        self, definition: Definition, saga_id: str, key: str, part: Part, fault: Fault | None
    ) -> None:
        forward = command_id(saga_id, part.step, Direction.DO)
        if fault is not None and fault.kind is Kind.FAILED_FOR_GOOD:
            self._fates[key] = None
            return
        told = part.event
        if part.direction is Direction.UNDO:
            self._undo(forward, key, part)
        elif part.may_be_refused and (fault or self._effects.spent(part.event.__name__)):
            told = part.refusal(key)
        else:
            self._effects.add(self.name, key, part.event.__name__, undoes=None)
        self._tell(definition, saga_id, key, told)

    def _undo(self, forward: str, key: str, part: Part) -> None:
        """Undo what was done; what was not never will be."""
        if self._fates.setdefault(forward, None) not in (None, *part.refusals):
            self._effects.add(self.name, key, part.event.__name__, undoes=forward)

    def _tell(self, definition: Definition, saga_id: str, key: str, event: type[Event]) -> None:
        self._fates[key] = event
        correlation = definition.correlations[told_by(event)]
        # Named like the answer to a command, so that the same faults befall it.
        message_id = f"{key}/1/r"
        self._outbox[message_id] = event_of(correlation, definition.name, saga_id, message_id)

    def _publish(self) -> None:
        for message_id, event in list(self._outbox.items()):
            self._link.publish(subject_of(event), event)
            if not self._process.alive:
                return
            del self._outbox[message_id]

    # ── an operator at the service's own screen ──────────────────────────────────────────────────

    def settle_by_hand(
        self, key: str, command: str, *, undoes: str | None, do: bool
    ) -> ByHand | None:
        """See to it that it is done, and told; or else that it never will be."""
        saga_id, step, _, _ = parse_command_id(key)
        definition = self._definitions[saga_id.rpartition("-")[0]]
        own = next(
            part
            for part in parts(definition)
            if part.step == step and (part.direction is Direction.UNDO) == (undoes is not None)
        )
        told = self._fates.get(key)
        if told is None and not do:
            self._fates[key] = None
            return ByHand(False)
        if told is None:
            self._react(definition, saga_id, key, own, None)
            self._publish()
        elif told is not own.event:
            return ByHand(False)
        reply = event_of(definition.correlations[told_by(own.event)], definition.name, saga_id, key)
        return ByHand(True, to_json(reply.data))


_BEFALL = frozenset({Kind.DIES_ON_RECEIPT, Kind.FAILED, Kind.FAILED_FOR_GOOD, Kind.REFUSED})
