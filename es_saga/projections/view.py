"""What a read model is to the log: told of every event, inside the transaction that writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import sqlalchemy as sa

from es_saga.core.aggregate import SagaState, evolve, start
from es_saga.core.errors import CorruptHistory
from es_saga.core.events import SagaStarted
from es_saga.core.sensitive import SensitiveFields
from es_saga.engine.ports import Recorded


class Batch:
    """New events, and where the sagas they belong to stand after them.

    How many events come together is an accident of the load. What a view makes of a batch must not
    depend on it: either it looks at `states` alone, or it takes in the events one by one, `each`.

    Args:
        events: in the order of each part; parts may alternate.
        states: every saga that the events touch, as it is after all of them.
        before: sagas as they were when they had so many events; asked at most once, and only for
            those of which it cannot be told otherwise.
    """

    __slots__ = ("_after", "_before", "events", "states")

    def __init__(
        self,
        events: Sequence[Recorded],
        states: Mapping[str, SagaState],
        before: Callable[[Mapping[str, int]], Mapping[str, SagaState]],
    ) -> None:
        self.events = events
        self.states = states
        self._before = before
        self._after: Sequence[SagaState] | None = None

    @classmethod
    def following(cls, events: Sequence[Recorded], before: Mapping[str, SagaState]) -> Batch:
        """Events, given their sagas before them; those that begin here are absent."""
        states = dict(before)
        after: list[SagaState] = []
        for recorded in events:
            state = states[recorded.saga_id] = _after(recorded, states.get(recorded.saga_id))
            after.append(state)
        batch = cls(events, states, lambda _: before)
        batch._after = after
        return batch

    def each(self) -> Iterator[tuple[Recorded, SagaState]]:
        """Every event, with its saga as it was right after that very event.

        Computed when first asked for: a view that does without costs the writer nothing.
        """
        if self._after is None:
            self._after = self._evolved()
        return zip(self.events, self._after, strict=True)

    def hidden(self, fields_of: Callable[[str, int], SensitiveFields]) -> Batch:
        """The same batch with sensitive values hidden: what a view does not know it cannot tell.

        Args:
            fields_of: those of a version of a saga type.
        """
        found: dict[str, SensitiveFields] = {}
        for saga_id, state in self.states.items():
            fields = fields_of(state.origin.saga_type, state.origin.definition)
            if fields:
                found[saga_id] = fields
        if not found:
            return self

        def hide(states: Mapping[str, SagaState]) -> dict[str, SagaState]:
            return {
                saga_id: found[saga_id].state(state) if saga_id in found else state
                for saga_id, state in states.items()
            }

        events = [
            recorded._replace(event=found[recorded.saga_id].event(recorded.event))
            if recorded.saga_id in found
            else recorded
            for recorded in self.events
        ]
        return Batch(events, hide(self.states), lambda versions: hide(self._before(versions)))

    def _evolved(self) -> list[SagaState]:
        last = {recorded.saga_id: recorded.version for recorded in self.events}
        first: dict[str, int] = {}
        for recorded in self.events:
            first.setdefault(recorded.saga_id, recorded.version)
        # Of a saga's only event in the batch, the state after it is at hand.
        unknown = {
            saga_id: version - 1
            for saga_id, version in first.items()
            if 1 < version < last[saga_id]
        }
        states = dict(self._before(unknown)) if unknown else {}
        after: list[SagaState] = []
        for recorded in self.events:
            saga_id = recorded.saga_id
            if recorded.version == last[saga_id]:
                after.append(self.states[saga_id])
                continue
            state = states[saga_id] = _after(recorded, states.get(saga_id))
            after.append(state)
        return after


class View(Protocol):
    """A read model that is kept in step with the log.

    Its writes, its checkpoint and the events commit together, so whoever sees an event sees the
    view after it. A view that raises holds up the events it was told of: it must be total.
    """

    @property
    def name(self) -> str:
        """Under which its checkpoint stands in `es_tracking`; for ever."""
        ...

    @property
    def metadata(self) -> sa.MetaData:
        """Its tables, so that it can be built anew beside the one in use."""
        ...

    def apply(self, connection: sa.Connection, batch: Batch) -> None:
        """Take in new events.

        Args:
            connection: in a transaction that somebody else commits, on a thread of its own.
            batch: the events, and the sagas after them; sensitive values are hidden.
        """
        ...


@runtime_checkable
class Remembering(Protocol):
    """A view that keeps in memory what it has last written."""

    def forget(self, saga_ids: Iterable[str]) -> None:
        """What it was told of these sagas last was not committed, or may not have been."""
        ...


class Rebuildable(View, Protocol):
    """A view that can be built anew beside itself. Those made by `projection` can."""

    def beside(self, suffix: str) -> View:
        """The same view, but its name and the names of its tables end in `suffix`."""
        ...


def _after(recorded: Recorded, before: SagaState | None) -> SagaState:
    event = recorded.event
    if recorded.version != (1 if before is None else before.version + 1):
        raise CorruptHistory(
            f"saga {recorded.saga_id!r}: event {recorded.version} comes where "
            f"{1 if before is None else before.version + 1} is due."
        )
    if before is not None:
        return evolve(before, event)
    if not isinstance(event, SagaStarted):
        raise CorruptHistory(f"saga {recorded.saga_id!r} begins with {type(event).__name__}.")
    return start(recorded.saga_id, event)
