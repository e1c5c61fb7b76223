"""What each step of a definition means to an exploration: where it goes, what may come back.

Two steps with the same part to play, and the same neighbours, are interchangeable: a state with
their parts swapped behaves as the state itself does, so one of the two is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple

from es_saga.core.compiled import Bind, Definition, StepDefinition, StepKind
from es_saga.core.events import Json, SagaEvent, SagaResumed, StepFannedOut
from es_saga.core.messages import Direction, Message, as_written
from es_saga.core.policy import Retry
from es_saga.core.unfolding import as_it_went
from es_saga.participant.kit import Participant
from es_saga.testing.examples import example
from es_saga.testing.exploration.services import Slot
from es_saga.testing.refusals import refusals_of

ANY_REFUSAL = "Refused"
"""What a refusal is called where no participant says what it refuses with."""

Answers = Mapping[str, Message | None]
"""By step: the reply it succeeds with."""


class Role(NamedTuple):
    """One step, as far as an exploration can tell it from others."""

    step: StepDefinition
    service: str
    undo_service: str
    reply: Json | None
    """The answer it succeeds with."""
    refusal: str | None
    """What it may be refused with; None: its participant never refuses it."""
    undo_refusal: str | None
    told: bool
    """Whether its participant names its refusals; else it is assumed that it may refuse."""
    alike: tuple[object, ...]
    """Equal for steps that are interchangeable."""

    def slot(self, direction: Direction, round: int) -> Slot:
        forward = direction is Direction.DO
        service = self.service if forward else self.undo_service
        return Slot(service, self.step.name, direction, round)

    def policy(self, direction: Direction) -> Retry:
        if direction is Direction.DO:
            return self.step.retry
        assert self.step.undo is not None, "it was issued"
        return self.step.undo.retry


def cut_short(definition: Definition, attempts: int) -> Definition:
    """The same definition with no finite number of attempts above `attempts`."""

    def shorter(retry: Retry) -> Retry:
        most = retry.attempts
        return replace(retry, attempts=None if most is None else min(most, attempts))

    steps = {
        name: replace(
            step,
            retry=shorter(step.retry),
            undo=step.undo and replace(step.undo, retry=shorter(step.undo.retry)),
        )
        for name, step in definition.steps.items()
    }
    return replace(definition, steps=steps)


def answers_of(definition: Definition, given: Answers) -> dict[str, Message | None]:
    """A reply for every step: the given one, else one made up.

    Raises:
        InvalidInput: one cannot be made up.
    """
    return {
        name: given[name] if name in given else None if step.reply is None else example(step.reply)
        for name, step in definition.steps.items()
    }


def foreseen(definition: Definition, data: Message, answers: Answers) -> Definition:
    """The definition with all its ways, and a step for each item of every list.

    What the items are follows from the answers. A list that cannot be told is left as it is: its
    saga will get stuck there.
    """
    ways = [step for step in definition.steps.values() if step.ways is not None]
    most = prod(step.ways or 1 for step in ways)
    history: list[SagaEvent] = [
        SagaResumed(at=0, save_point=step.name, way=way, reply={})
        for way in range(2, most + 1)
        for step in ways[:1]
    ]
    for step in as_it_went(definition, history).steps.values():
        if step.each is None:
            continue
        try:
            count = len(_items(as_it_went(definition, history), step, data, answers))
        except Exception:  # a user's function may raise anything
            continue
        if 0 < count <= step.each.most:
            history.append(StepFannedOut(at=0, step=step.name, count=count))
    return as_it_went(definition, history)


def _without_lists(definition: Definition) -> Mapping[str, StepDefinition]:
    """Its steps with their lists not unfolded: such a step may be skipped as a whole."""
    ways = [
        SagaResumed(at=0, save_point=point, way=way, reply={}) for point, way in definition.ways
    ]
    return as_it_went(definition.written or definition, ways).steps


def _items(
    definition: Definition, step: StepDefinition, data: Message, answers: Answers
) -> Sequence[object]:
    assert step.each is not None, "it goes over a list"
    return step.each.items(data, **_known(definition, step.each.binds, answers))


def _known(
    definition: Definition, binds: Iterable[Bind], answers: Answers
) -> dict[str, Message | list[Message | None] | None]:
    """What a function is given of earlier replies."""

    def reply(source: str) -> Message | list[Message | None] | None:
        answer, step = answers[as_written(source)], definition.steps.get(source)
        listed = step is None or step.each is not None  # as a whole, or by its items
        return [answer] * definition.fans.get(source, 0) if listed else answer

    return {bind.parameter: reply(bind.source) for bind in binds}


def roles_of(
    definition: Definition, data: Message, answers: Answers, participants: Iterable[Participant]
) -> dict[str, Role]:
    """The part of every step.

    Raises:
        InvalidInput: an answer does not fit its step.
    """
    refusals = {
        command: None if refusal is None else refusal.__name__
        for command, refusal in refusals_of(participants).items()
    }
    # Which ways there will be is then foreseen too simply to tell who is like whom.
    several = sum(step.ways is not None and not step.past for step in definition.steps.values()) > 1
    roles: dict[str, Role] = {}
    for name, step in {**_without_lists(definition), **definition.steps}.items():
        answer = answers[as_written(name)]
        command, undo = step.command, step.undo
        refusal = None if step.wait else refusals.get(command.__name__, ANY_REFUSAL)
        undo_refusal = refusals.get(undo.command.__name__, ANY_REFUSAL) if undo else None
        alike: tuple[object, ...] = (
            step.kind,
            step.after,
            definition.next_steps(name),
            step.retry.attempts,
            step.on_unknown,
            refusal is None,
            step.when,
            step.wait,
            name if several else None,
        )
        if undo is not None:
            alike += (
                undo.retry.attempts,
                undo.command.to == command.to,
                undo_refusal is None,
                undo.accepts_unknown,
                _bears_unknown(definition, step, data, answers),
            )
        roles[name] = Role(
            step=step,
            service=command.to,
            undo_service=undo.command.to if undo else command.to,
            reply=step.check_reply(None if answer is None else answer.model_dump(mode="json")),
            refusal=refusal,
            undo_refusal=undo_refusal,
            told=step.wait is not None or command.__name__ in refusals,
            alike=alike,
        )
    return roles


def interchangeable(roles: Mapping[str, Role]) -> list[list[int]]:
    """Places, in the order of the definition, of steps that may be swapped; groups of two up."""
    groups: dict[object, list[int]] = {}
    for place, role in enumerate(roles.values()):
        if role.step.kind is not StepKind.PIVOT:
            groups.setdefault(role.alike, []).append(place)
    return [group for group in groups.values() if len(group) > 1]


def _bears_unknown(
    definition: Definition, step: StepDefinition, data: Message, answers: Answers
) -> bool:
    """Whether the undo can be built without its step's reply."""
    undo = step.undo
    assert undo is not None, "it has one"
    arguments = _known(definition, undo.binds, answers)
    items = [] if step.item is None else [_items(definition, step, data, answers)[step.item]]
    if undo.reply is not None:
        arguments[undo.reply] = None
    try:
        undo.fn(data, *items, **arguments)
    except Exception:  # a user's function may raise anything
        return False
    return True
