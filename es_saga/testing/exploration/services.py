"""Model participants: what every service remembers and has done, as one small value.

The rules are those of the fence (`es_saga.participant.fence.judge`); a test holds them together.
Each service has a fence of its own, so an undo that is sent to another service than its step finds
nothing there to undo: that is how compensations that were mixed up come to light.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from es_saga.core.messages import Direction, Outcome, command_id
from es_saga.testing.story import Effect


class Fate(StrEnum):
    """What became of a command at its participant, for good."""

    DONE = "done"
    REFUSED = "refused"
    EMPTY = "nothing to undo"
    """An undo that found nothing done: it succeeds without an effect (law L21)."""
    UNDONE = "undone before it came"
    """A forward command whose undo was here first: it is refused (law L22)."""
    FORGOTTEN = "never told"
    """What a service was to do of its own accord, and did not."""


class Slot(NamedTuple):
    """A command id, and the service whose fence it stands in."""

    service: str
    step: str
    direction: Direction
    round: int


class Settled(NamedTuple):
    fate: Fate
    attempt: int
    """The attempt that settled it."""


class Delivery(NamedTuple):
    """One arrival of a command at its participant."""

    saga_id: str
    slot: Slot
    attempt: int
    forward_round: int
    """Of an undo: which round of the forward command it undoes."""
    reads_only: bool = False
    """A check: done, it has no effect."""


class Wish(StrEnum):
    """What a participant does with a command, if it comes to run it."""

    DO = "does"
    REFUSE = "refuses"
    FAIL = "fails at"
    FAIL_FOR_GOOD = "fails for good at"
    """It says that another attempt is not worth it (`Terminal`)."""


_NOTHING: Mapping[Slot, Settled] = MappingProxyType({})
_NO_FAILURES: Mapping[tuple[Slot, int], Wish] = MappingProxyType({})


class Services(NamedTuple):
    """All participants of one saga together."""

    fates: Mapping[Slot, Settled] = _NOTHING
    failures: Mapping[tuple[Slot, int], Wish] = _NO_FAILURES
    """Attempts that failed: delivered again, they fail again (decision 17)."""
    effects: tuple[Effect, ...] = ()
    """What was really done, in order."""

    def deliver(self, delivery: Delivery, wish: Wish, at: float) -> Services:
        """What one delivery changes, if the participant does as `wish` says."""
        slot, attempt = delivery.slot, delivery.attempt
        if slot in self.fates or (slot, attempt) in self.failures:
            return self
        if slot.direction is Direction.UNDO:
            forward = slot._replace(direction=Direction.DO, round=delivery.forward_round)
            known = self.fates.get(forward)
            if known is None:
                return self.settle(forward, Fate.UNDONE, attempt).settle(slot, Fate.EMPTY, attempt)
            if known.fate is not Fate.DONE:
                return self.settle(slot, Fate.EMPTY, attempt)
        if wish is Wish.DO:
            return self.carry_out(delivery, at)
        if wish is Wish.REFUSE:
            return self.settle(slot, Fate.REFUSED, attempt)
        return self._replace(failures={**self.failures, (slot, attempt): wish})

    def carry_out(self, delivery: Delivery, at: float) -> Services:
        """Have the effect, and remember it (law L25)."""
        slot = delivery.slot
        done = self.settle(slot, Fate.DONE, delivery.attempt)
        if delivery.reads_only:
            return done
        key = command_id(delivery.saga_id, slot.step, slot.direction, slot.round)
        effect = Effect(delivery.saga_id, slot.step, slot.direction, key, at)
        return done._replace(effects=(*self.effects, effect))

    def settle(self, slot: Slot, fate: Fate, attempt: int) -> Services:
        """Remember a command's fate."""
        return self._replace(fates={**self.fates, slot: Settled(fate, attempt)})


ANSWERS = {
    Fate.DONE: Outcome.SUCCEEDED,
    Fate.REFUSED: Outcome.REFUSED,
    Fate.EMPTY: Outcome.SUCCEEDED,
    Fate.UNDONE: Outcome.REFUSED,
}
"""What a participant answers, again and again, to a command that has its fate."""
