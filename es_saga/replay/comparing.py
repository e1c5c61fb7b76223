"""Two runs side by side: attempt by attempt, how long each took, how it ended, where they part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from es_saga.core.messages import Direction
from es_saga.replay.attempts import Span, spans
from es_saga.replay.changes import Change, changes_of_json
from es_saga.replay.replaying import Replay


class Run(NamedTuple):
    """One of the two, as a whole."""

    saga_id: str
    type: str
    definition: int
    """Version of the saga type."""
    status: str
    seconds: float
    """From the start to its last event."""
    events: int
    reason: str | None
    """Why it did not complete."""
    reason_step: str | None


class Side(NamedTuple):
    """One attempt in one of the runs. Seconds, counted from the start of its saga."""

    begin: float
    seconds: float | None
    """None: it goes on."""
    outcome: str
    version: int
    """Number of the event that sent it."""


class Row(NamedTuple):
    """The same attempt in both runs; None: it was not made."""

    step: str
    direction: Direction
    attempt: int
    a: Side | None
    b: Side | None

    @property
    def same(self) -> bool:
        """Whether it ended alike."""
        return self.a is not None and self.b is not None and self.a.outcome == self.b.outcome

    @property
    def longer(self) -> float | None:
        """By how many seconds it took longer in b; None: one of them does not know."""
        if self.a is None or self.b is None or None in (self.a.seconds, self.b.seconds):
            return None
        return (self.b.seconds or 0.0) - (self.a.seconds or 0.0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, aligned."""

    a: Run
    b: Run
    input: tuple[Change, ...]
    """Where their inputs differ, from a to b."""
    rows: tuple[Row, ...]
    """In the order of a, with those of b alone where they came."""

    @property
    def first(self) -> Row | None:
        """Where they part: the first attempt that ended otherwise, or that only one has made."""
        return next((row for row in self.rows if not row.same), None)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        first = self.first
        return {
            "a": self.a._asdict(),
            "b": self.b._asdict(),
            "input": [change._asdict() for change in self.input],
            "first": None if first is None else plain_row(first),
            "rows": [plain_row(row) for row in self.rows],
        }


def plain_row(row: Row) -> dict[str, Any]:
    """A row as JSON has it."""
    return {
        "step": row.step,
        "direction": row.direction.value,
        "attempt": row.attempt,
        "same": row.same,
        "longer": row.longer,
        "a": None if row.a is None else row.a._asdict(),
        "b": None if row.b is None else row.b._asdict(),
    }


def compare(a: Replay, b: Replay) -> Comparison:
    """Align two runs by step, direction and attempt; they may be of different saga types."""
    sides = {_key(span): _side(a, span) for span in spans(a.events)}
    others = {_key(span): _side(b, span) for span in spans(b.events)}
    rows = [Row(*key, sides.get(key), others.get(key)) for key in _merged([*sides], [*others])]
    inputs = changes_of_json(a.state.origin.data, b.state.origin.data)
    return Comparison(_run(a), _run(b), tuple(inputs), tuple(rows))


_Key = tuple[str, Direction, int]


def _key(span: Span) -> _Key:
    return span.step, span.direction, span.attempt


def _side(replay: Replay, span: Span) -> Side:
    since = span.begin - replay.events[0].at
    return Side(since, span.seconds, span.outcome, span.version)


def _run(replay: Replay) -> Run:
    state = replay.state
    failure = state.failure
    return Run(
        replay.saga_id,
        state.origin.saga_type,
        state.origin.definition,
        state.status.value,
        replay.events[-1].at - replay.events[0].at,
        len(replay),
        failure.why if failure else None,
        failure.step if failure else None,
    )


def _merged(mine: list[_Key], others: list[_Key]) -> list[_Key]:
    """Both orders in one: what only the other has comes before what it came before there."""
    merged = list(mine)
    own: list[_Key] = []
    for key in others:
        if key not in merged:
            own.append(key)
            continue
        place = merged.index(key)
        merged[place:place] = own
        own = []
    return merged + own
