"""A path: every command that a saga sends, in order, and what becomes of each.

    "flight hotel card! -hotel -flight"

    hotel        the step's command was sent, and done       card!    refused
    -hotel       its undo was                                card~    failed: a technical error
    out+into     sent together, answered in this order       card?    lost on its way

`tell` plays it to the pure core: exactly these commands, and nothing else. `simulate` plays it in
the simulated world: the real engine sends the same, and participants do what the path says is done.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from es_saga import Refusal, Saga
from es_saga.core.compiled import StepKind
from es_saga.core.messages import Direction, command_id
from es_saga.testing import Scene, given
from es_saga.testing.faults import Fault, FaultPlan, Kind
from es_saga.testing.outcome import Outcome
from es_saga.testing.simulation.people import Begin
from es_saga.testing.world import World
from tests.core.sagas import Do, Done, Trip, Undo

SAGA_ID: Final = "s-1"
DONE: Final = Done(by="desk")
FAULTS: Final = {"!": Kind.REFUSED, "~": Kind.FAILED, "?": Kind.LOST}


class No(Refusal):
    """What a participant of these stories says when it refuses."""


class Sending(NamedTuple):
    """One command, sent once."""

    step: str
    direction: Direction
    attempt: int
    mark: str
    """`!`, `~` or `?`; empty: it was done."""

    @property
    def key(self) -> str:
        """Its command id."""
        return command_id(SAGA_ID, self.step, self.direction)


def sendings(path: str) -> Iterator[list[Sending]]:
    """The commands of a path; those that go out together, together."""
    attempts: Counter[str] = Counter()
    for word in path.split():
        together: list[Sending] = []
        for token in word.split("+"):
            found = re.fullmatch(r"(-?)(\w+)([!~?]?)", token)
            assert found is not None, f"{token!r} is no part of a path"
            undo, step, mark = found.groups()
            attempts[undo + step] += 1
            direction = Direction.UNDO if undo else Direction.DO
            together.append(Sending(step, direction, attempts[undo + step], mark))
        yield together


def tell(saga: Saga[Trip], path: str) -> Scene:
    """The scene at the end of a path.

    Raises:
        AssertionError: the saga does not go that way.
    """
    scene = given(saga, Trip(), saga_id=SAGA_ID)
    done: set[str] = set()
    for together in sendings(path):
        commands = [_command(sending, done) for sending in together]
        first, *others = commands
        scene = scene.expect(first, *others) if others else scene.expect(first)
        for sending, command in zip(together, commands, strict=True):
            scene = _answer(scene, command, sending.mark)
            if not sending.mark:
                done.add(sending.step)
    return scene


def simulate(saga: Saga[Trip], path: str, *more: Fault) -> Outcome:
    """The end of a simulated world in which the path's answers are given, and more goes wrong.

    Raises:
        AssertionError: something else was sent or done than the path says, or not all went wrong.
    """
    planned = [sending for together in sendings(path) for sending in together if sending.mark]
    faults = [Fault(FAULTS[one.mark], f"{one.key}/{one.attempt}") for one in planned]
    outcome = run(saga, *faults, *more)
    assert outcome.happened.total() == len(faults) + len(more), f"not all struck:\n{outcome}"
    (story,) = outcome.stories
    assert story.sent is not None, "the world observes it"
    sent = [f"{one.commandid}/{one.attempt}" for one in story.sent]
    wanted = [[f"{one.key}/{one.attempt}" for one in together] for together in sendings(path)]
    if not more:  # what crashes sends again
        assert _in_order(sent, wanted), f"{sent} was sent:\n{outcome}"
    assert _in_order([effect.command_id for effect in outcome.effects], effects(saga, path)), str(
        outcome
    )
    return outcome


def run(saga: Saga[Trip], *faults: Fault) -> Outcome:
    """A simulated world with one saga and these faults."""
    begin = Begin(SAGA_ID, saga.name, Trip().model_dump(mode="json"))
    return World([saga], faults=FaultPlan(faults)).run([begin])


def effects(saga: Saga[Trip], path: str) -> list[list[str]]:
    """Ids of the commands that have an effect: neither checks, nor undos of what was not done."""
    steps = saga.definition.steps.values()
    checks = {step.name for step in steps if step.kind is StepKind.CHECK}
    done: set[str] = set()
    found: list[list[str]] = []
    for together in sendings(path):
        acting = [one for one in together if not one.mark and one.step not in checks]
        found.append(
            [one.key for one in acting if one.direction is Direction.DO or one.step in done]
        )
        done.update(one.step for one in acting)
    return found


def _in_order(found: Sequence[str], wanted: Sequence[Sequence[str]]) -> bool:
    """Whether these came, group by group; in a group any order will do."""
    rest = list(found)
    for group in wanted:
        if sorted(rest[: len(group)]) != sorted(group):
            return False
        del rest[: len(group)]
    return not rest


def _command(sending: Sending, done: set[str]) -> Do | Undo:
    if sending.direction is Direction.DO:
        return Do(step=sending.step, who=Trip().who)
    return Undo(step=sending.step, by=DONE.by if sending.step in done else None)


def _answer(scene: Scene, command: Do | Undo, mark: str) -> Scene:
    asked = scene.on(command)
    if mark == "!":
        return asked.refuse(No())
    if mark == "~":
        return asked.fail()
    if mark == "?":
        return asked.timeout()
    return scene.on(command).reply() if isinstance(command, Undo) else scene.on(command).reply(DONE)
