"""What somebody else wrote to a part that is ours.

It should not happen. But a process that has lost its lease writes until it notices; then nobody but
us will look after what it has begun.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from es_saga.engine.ports import Clock
from es_saga.engine.states import Moved, States
from es_saga.engine.timers import Timers

WARN_SECONDS = 30.0
"""How often at most a rival is worth a warning."""

_log = structlog.get_logger("es_saga.part")


class Rivals:
    """Knows how far we know a part's log, and learns what others added to it."""

    def __init__(
        self,
        part: int,
        states: States,
        timers: Timers,
        clock: Clock,
        *,
        publish: Callable[[Moved], None],
    ) -> None:
        self._part = part
        self._publish = publish
        self._states = states
        self._timers = timers
        self._clock = clock
        self._warned = 0.0
        self.head = 0
        """Position of the last event that we know of."""

    async def follow(self, head: int) -> None:
        """Take note of what is new up to `head`: those sagas need our timers, too.

        And their commands are published once more: whoever committed them may have died before.

        Raises:
            Unavailable: the log is out of reach; what was learnt by then is kept.
        """
        if self.head >= head:
            return
        self._warn(head)
        async for moved in self._states.moved(self._part, self.head, head):
            for state in moved.states.values():
                if state.closed is None and state.next_due is not None:
                    self._timers.arm(state.saga_id, state.next_due)
            self._publish(moved)
            self.head = moved.position

    def _warn(self, head: int) -> None:
        now = self._clock.now()
        if now >= self._warned + WARN_SECONDS:
            self._warned = now
            _log.warning("rival", part=self._part, after=self.head, position=head)
