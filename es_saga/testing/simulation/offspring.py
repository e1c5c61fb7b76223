"""What sagas that others run have done, as effects of their parents' steps."""

from __future__ import annotations

from collections.abc import Sequence

from es_saga.core.events import SagaCompensated, SagaCompleted, SagaEvent, SagaHeld
from es_saga.core.state import SagaState
from es_saga.testing.simulation.effects import Effects


class Offspring:
    """Watches the log: a child that is held, or complete, has done its parent's step."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._done: set[str] = set()

    def committed(self, state: SagaState, events: Sequence[SagaEvent]) -> None:
        """These events have led to this state."""
        parent, decided = state.origin.parent, state.decided
        if parent is None:
            return
        who, key = f"saga {state.saga_id}", parent.command_id
        for event in events:
            if isinstance(event, SagaHeld):
                self._done.add(state.saga_id)
                self._effects.add(who, key, "", undoes=None)
            elif isinstance(event, SagaCompleted):
                closing = key if decided is None else decided.command_id
                if decided is not None and state.saga_id not in self._done:
                    self._effects.add(who, key, "", undoes=None)  # it was never held
                self._effects.add(who, closing, "", undoes=None)
            elif isinstance(event, SagaCompensated) and decided:
                self._undone(who, key, decided.command_id, event, state.saga_id in self._done)

    def _undone(self, who: str, key: str, undoing: str, event: SagaCompensated, done: bool) -> None:
        """What a child could not undo it has done, although it never was held."""
        if event.exceptions and not done:
            self._effects.add(who, key, "", undoes=None)
        elif done and not event.exceptions:
            self._effects.add(who, undoing, "", undoes=key)
