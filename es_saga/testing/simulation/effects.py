"""What the participants of a simulated world have done, and what is scarce there."""

from __future__ import annotations

from collections.abc import Mapping

from es_saga.core.messages import parse_command_id
from es_saga.testing.simulation.journal import Journal, What
from es_saga.testing.simulation.loop import SimulatedLoop
from es_saga.testing.story import Effect


class Effects:
    """Every effect, in the order in which they were committed.

    Args:
        scarce: of these commands, so many effects may stand at one time.
    """

    def __init__(self, journal: Journal, loop: SimulatedLoop, scarce: Mapping[str, int]) -> None:
        self.all: list[Effect] = []
        self._journal = journal
        self._loop = loop
        self._left = dict(scarce)
        self._holds: dict[str, str] = {}
        """Of the commands that took a scarce thing: which kind."""

    def spent(self, command: str, soon: int = 0) -> bool:
        """Whether no further effect of a command is to be had for now, after `soon` more."""
        left = self._left.get(command)
        return left is not None and left <= soon

    def add(self, who: str, key: str, command: str, *, undoes: str | None) -> None:
        """A command took effect; what is scarce is taken, or given back."""
        saga_id, step, direction, _ = parse_command_id(key)
        effect = Effect(saga_id, step, direction, key, self._loop.now)
        self.all.append(effect)
        self._journal.note(who, What.EFFECT, effect)
        if undoes is not None:
            taken = self._holds.pop(undoes, None)
            if taken is not None:
                self._left[taken] += 1
        elif command in self._left:
            self._left[command] -= 1
            self._holds[key] = command
