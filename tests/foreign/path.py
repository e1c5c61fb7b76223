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
from collections.abc import Sequence
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
    undoes: bool
    """It is an undo, and the step was done."""

    @property
    def key(self) -> str:
        """Its command id."""
        return command_id(SAGA_ID, self.step, self.direction)

    @property
    def message(self) -> str:
        """Its message id."""
        return f"{self.key}/{self.attempt}"

    @property
    def command(self) -> Do | Undo:
        """The undo of a step that may not have been done does not know its reply."""
        if self.direction is Direction.DO:
            return Do(step=self.step, who=Trip().who)
        return Undo(step=self.step, by=DONE.by if self.undoes else None)


def sendings(path: str) -> list[list[Sending]]:
    """The commands of a path; those that go out together, together."""
    attempts: Counter[str] = Counter()
    found: list[list[Sending]] = []
    for word in path.split():
        done = {one.step for together in found for one in together if not one.mark}
        found.append([])
        for token in word.split("+"):
            parts = re.fullmatch(r"(-?)(\w+)([!~?]?)", token)
            assert parts is not None, f"{token!r} is no part of a path"
            undo, step, mark = parts.groups()
            attempts[undo + step] += 1
            direction = Direction.UNDO if undo else Direction.DO
            undoes = bool(undo) and step in done
            found[-1].append(Sending(step, direction, attempts[undo + step], mark, undoes))
    return found


def tell(saga: Saga[Trip], path: str) -> Scene:
    """The scene at the end of a path.

    Raises:
        AssertionError: the saga does not go that way.
    """
    scene = given(saga, Trip(), saga_id=SAGA_ID)
    for first, *others in sendings(path):
        commands = [other.command for other in others]
        scene = scene.expect(first.command, *commands) if others else scene.expect(first.command)
        for sending in (first, *others):
            scene = _answer(scene, sending.command, sending.mark)
    return scene


def _answer(scene: Scene, command: Do | Undo, mark: str) -> Scene:
    asked = scene.on(command)
    if mark == "!":
        return asked.refuse(No())
    if mark == "~":
        return asked.fail()
    if mark == "?":
        return asked.timeout()
    return scene.on(command).reply() if isinstance(command, Undo) else scene.on(command).reply(DONE)


def simulate(saga: Saga[Trip], path: str, *more: Fault) -> Outcome:
    """The end of a simulated world in which the path's answers are given, and more goes wrong.

    Raises:
        AssertionError: something else was sent or done than the path says, or not all went wrong.
    """
    planned = sendings(path)
    trouble = [
        Fault(FAULTS[one.mark], one.message) for group in planned for one in group if one.mark
    ]
    begin = Begin(SAGA_ID, saga.name, Trip().model_dump(mode="json"))
    outcome = World([saga], faults=FaultPlan((*trouble, *more))).run([begin])
    assert outcome.happened.total() == len(outcome.plan.faults), f"not all struck:\n{outcome}"
    sent = [envelope.id for envelope in outcome.stories[0].sent or ()]
    if not more:  # whoever was dead sends again
        wanted = [[one.message for one in group] for group in planned]
        assert _in_order(sent, wanted), f"sent were {sent}:\n{outcome}"
    acts = [effect.command_id for effect in outcome.effects]
    wanted = [[one.key for one in group if _acts(saga, one)] for group in planned]
    assert _in_order(acts, wanted), f"done were {acts}:\n{outcome}"
    return outcome


def _acts(saga: Saga[Trip], sending: Sending) -> bool:
    """Whether it has an effect: neither a check has one, nor the undo of what was not done."""
    if sending.mark or saga.definition.steps[sending.step].kind is StepKind.CHECK:
        return False
    return sending.direction is Direction.DO or sending.undoes


def _in_order(found: Sequence[str], wanted: Sequence[Sequence[str]]) -> bool:
    """Whether these came, each once, group after group; in a group any order will do."""
    place = {name: number for number, group in enumerate(wanted) for name in group}
    came = [place.get(name) for name in dict.fromkeys(found)]
    return came == list(place.values()) and len(came) == len(found)
