"""A schedule that breaks a law, as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from es_saga.core.compiled import Definition
from es_saga.core.events import SagaEvent
from es_saga.core.gist import gist
from es_saga.core.messages import Direction
from es_saga.testing.laws import LAWS
from es_saga.testing.story import Effect, Story, Violation


class Turn(NamedTuple):
    """One thing that happened, and what it led to."""

    what: str
    events: tuple[SagaEvent, ...]
    effects: tuple[Effect, ...]


class Counterexample(NamedTuple):
    """A law, and the shortest schedule found that breaks it."""

    definition: Definition
    violation: Violation
    turns: Sequence[Turn]
    faults: int

    @property
    def schedule(self) -> tuple[str, ...]:
        """What happened, one line each."""
        return tuple(turn.what for turn in self.turns)

    @property
    def history(self) -> tuple[SagaEvent, ...]:
        """The events, for `judge`, for a debugger, for a regression test."""
        return tuple(event for turn in self.turns for event in turn.events)

    @property
    def story(self) -> Story:
        """What the law was broken by."""
        effects = tuple(effect for turn in self.turns for effect in turn.effects)
        return Story(self.definition, self.violation.saga_id, self.history, effects)

    def __str__(self) -> str:
        number, event = 0, self.violation.event
        lines = [*self._head(), "", "  what happened, and the events it led to"]
        for count, turn in enumerate(self.turns):
            lines.append(f"  {count:>3}. {turn.what}")
            for one in turn.events:
                number += 1
                lines.append(_line(number, one, here=number == event))
        lines += ["", f"  in the end: {self._remains()}"]
        return "\n".join(lines)

    def _head(self) -> list[str]:
        law, moves = self.violation.law, len(self.turns) - 1
        head = f"{self.definition.name}: law {law} is broken after {moves} moves"
        if self.faults:
            head += f", {self.faults} of them {'a fault' if self.faults == 1 else 'faults'}"
        sentence = next((law.sentence for law in LAWS if law.number == self.violation.law), "")
        told = [f"  the law: {sentence}"] if sentence else []
        return [head, *told, f"  but: {self.violation.why}"]

    def _remains(self) -> str:
        """What is done and not undone."""
        standing: list[str] = []
        for effect in self.story.effects or ():
            if effect.direction is Direction.DO:
                standing.append(effect.step)
            elif effect.step in standing:
                standing.remove(effect.step)
        return f"{', '.join(standing)} done and not undone" if standing else "nothing is left done"


def _line(number: int, event: SagaEvent, *, here: bool) -> str:
    step = getattr(event, "step", None) or ""
    told = f"{type(event).__name__} {step}".strip()
    return f"  {'→' if here else ' '} {number:>8} {told:<32} {gist(event)}".rstrip()
