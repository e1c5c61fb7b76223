"""What has reached a part and is not decided yet: in order, each delivery once, within bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from es_saga.core.errors import Unavailable
from es_saga.engine.arrival import Arrival

MAX_BATCH = 500
"""Arrivals decided together."""

MAX_INBOX = 20_000
"""Arrivals that may wait; deliveries are bounded by their consumer, requests by this."""

MAX_EARLY = 128
"""Deliveries of a part that may wait for what has to come before them; more are put aside, so that
the replies to its sagas still come through: the broker has at most twice as many delivered."""


class Inbox:
    """The arrivals of one part that wait, and the deliveries that it expects to see again."""

    def __init__(self) -> None:
        self._waiting: deque[Arrival] = deque()
        self._alone = 0
        """So many of them are taken alone: together they failed."""
        self._early: set[str] = set()
        """Ids of the deliveries that wait for what has to come before them."""
        self._held: set[str] = set()
        """Ids of the deliveries that wait while the log is away: it may be long, and the broker
        delivers them again and again."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether requests should be turned away for now."""
        return len(self._waiting) >= MAX_INBOX

    def put(self, arrival: Arrival, *, hold: bool = False) -> None:
        """Enqueue; to hold it is to know it when it is delivered once more, and ignore it then."""
        message_id = arrival.message_id
        if message_id is not None:
            self._early.discard(message_id)
            if hold:
                if message_id in self._held:
                    return
                self._held.add(message_id)
        self._waiting.append(arrival)

    def put_back(self, arrivals: Iterable[Arrival]) -> None:
        """Have them taken again, before all others."""
        self._waiting.extendleft(reversed(list(arrivals)))

    def take(self) -> list[Arrival]:
        """What is to be decided next, together."""
        waiting = self._waiting
        if self._alone and waiting:
            self._alone -= 1
            return [waiting.popleft()]
        return [waiting.popleft() for _ in range(min(MAX_BATCH, len(waiting)))]

    def take_alone(self, count: int) -> None:
        """Have so many taken one by one."""
        self._alone = count

    def postpone(self, arrival: Arrival) -> bool:
        """Have a delivery that came too early come again; False: it, or the part, waited enough."""
        message_id = arrival.message_id
        if message_id is None or len(self._early) >= MAX_EARLY or not arrival.postpone():
            return False
        self._early.add(message_id)
        return True

    def begin(self) -> None:
        """The part is opened: what is delivered again from now on is looked at again."""
        self._early.clear()
        self._held.clear()

    def abandon(self) -> None:
        """Give up all of it."""
        abandon(self._waiting)
        self._waiting.clear()


def abandon(arrivals: Iterable[Arrival]) -> None:
    """Give arrivals up that nobody will handle here."""
    for arrival in arrivals:
        if not arrival.over:
            arrival.abandon(Unavailable("The part is given up; it may still be handled."))
