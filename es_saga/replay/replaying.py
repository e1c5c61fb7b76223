"""A saga's history, moment by moment: what was decided on, what changed, what was to be sent.

    replay = Replay.of("order-7", events)
    for moment in replay.moments:
        print(moment.version, moment.reaction.what)
        print(*moment.changes, sep="\\n")

It needs no definition and sends nothing: it is the log and nothing else (law L39).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from es_saga.core.aggregate import evolve, fold
from es_saga.core.errors import CorruptHistory, InvalidInput
from es_saga.core.events import SagaEvent
from es_saga.core.messages import Subjects
from es_saga.core.state import SagaState
from es_saga.engine.outgoing import Outgoing, Sender
from es_saga.replay.changes import Change, changes
from es_saga.replay.reactions import Reaction, reactions

UNKNOWN_APP: Final = "app"
"""Who the answers to the commands would go to, where nobody says."""


@dataclass(frozen=True)
class Moment:
    """One event of a saga, and all there is to see of it."""

    version: int
    """Its number, counted from 1."""
    event: SagaEvent
    before: SagaState | None
    """The saga before it; None: there was none."""
    after: SagaState
    reaction: Reaction
    """What it came of, together with the other events of its reaction."""
    _replay: Replay = field(repr=False, compare=False)

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """What it changed in the saga, but for the number of events and the time of the last."""
        return tuple(changes(self.before, self.after))

    @cached_property
    def commands(self) -> tuple[Outgoing, ...]:
        """What would be sent because of it. It never is."""
        return self._replay.commands_of(self)


class Replay:
    """One history, folded at every event; made by `Replay.of`."""

    def __init__(
        self, saga_id: str, events: Sequence[SagaEvent], states: Sequence[SagaState], sender: Sender
    ) -> None:
        self.saga_id = saga_id
        self.events = tuple(events)
        self._states = tuple(states)
        self._sender = sender

    @classmethod
    def of(
        cls,
        saga_id: str,
        events: Sequence[SagaEvent],
        *,
        app: str = UNKNOWN_APP,
        tenant: str = "main",
    ) -> Replay:
        """Fold a history.

        Args:
            app, tenant: whose subjects the commands would be sent to.

        Raises:
            CorruptHistory: these events are no history; the first bad one is named.
        """
        states = list(_folded(saga_id, events))
        return cls(saga_id, events, states, Sender(app, Subjects(tenant)))

    def __len__(self) -> int:
        return len(self.events)

    @property
    def state(self) -> SagaState:
        """The saga after its last event."""
        return self._states[-1]

    @cached_property
    def reactions(self) -> tuple[Reaction, ...]:
        """What was decided on, in order."""
        return reactions(self.saga_id, self.events, self._states)

    @cached_property
    def moments(self) -> tuple[Moment, ...]:
        """Every event, in order."""
        return tuple(
            self._moment(version, reaction)
            for reaction in self.reactions
            for version in range(reaction.first, reaction.last + 1)
        )

    def _moment(self, version: int, reaction: Reaction) -> Moment:
        before, after = self.state_at(version - 1), self._states[version - 1]
        return Moment(version, self.events[version - 1], before, after, reaction, self)

    def at(self, version: int) -> Moment:
        """The moment of event number `version`, counted from 1.

        Raises:
            InvalidInput: there is no such event.
        """
        if not 1 <= version <= len(self.events):
            raise InvalidInput(
                f"Saga {self.saga_id} has no event {version}.",
                hint=f"It has events 1 to {len(self.events)}.",
            )
        return self.moments[version - 1]

    def state_at(self, version: int) -> SagaState | None:
        """The saga after so many events; None: after none."""
        return self._states[version - 1] if version else None

    def until(self, version: int) -> Replay:
        """Its beginning, up to this event."""
        self.at(version)
        return Replay(self.saga_id, self.events[:version], self._states[:version], self._sender)

    def with_events(self, events: Sequence[SagaEvent]) -> Replay:
        """Another history of the same saga.

        Raises:
            CorruptHistory: these events are no history.
        """
        return Replay(self.saga_id, events, list(_folded(self.saga_id, events)), self._sender)

    def commands_of(self, moment: Moment) -> tuple[Outgoing, ...]:
        """See `Moment.commands`."""
        return tuple(self._sender.commands(None, moment.after, (moment.event,)))


def _folded(saga_id: str, events: Sequence[SagaEvent]) -> Iterator[SagaState]:
    """The state after each event."""
    state = fold(saga_id, events[:1])
    if state is None:
        raise CorruptHistory(f"saga {saga_id!r} has no events.")
    yield state
    for event in events[1:]:
        state = evolve(state, event)
        yield state
