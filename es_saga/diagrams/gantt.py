"""A run over time: what was done, and below it, mirrored, what was undone.

Every step has a line of its own, every attempt is a bar. Undos stand in the reverse order of the
steps, so that a saga that was turned back reads as one staircase, down and on down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from es_saga.core.aggregate import fold
from es_saga.core.errors import CorruptHistory
from es_saga.core.events import (
    CompensationStarted,
    DeadlineExceeded,
    LateReplyNoted,
    OperatorEvent,
    SagaEvent,
    SagaStuck,
    StepSucceeded,
)
from es_saga.core.gist import gist
from es_saga.core.messages import Direction, as_written
from es_saga.core.state import SagaState
from es_saga.diagrams.drawing import MARGIN, SMALL, Drawing, shortened, width_of
from es_saga.diagrams.lanes import MOST_CHARS, Row, rows
from es_saga.diagrams.plan import Source, plan_of
from es_saga.diagrams.timescale import Scale, lasting, straightened
from es_saga.replay.attempts import Ending, Span, spans

PLOT: Final = 680.0
"""Width of the time that is shown, in pixels."""

MAX_ROWS: Final = 200
"""Lines of one lane; a saga with more is drawn without the rest, and says so."""

MAX_DESCRIBED_CHARS: Final = 4_000

_ROW: Final = 26.0
_BAR: Final = 14.0
_LEAST: Final = 3.0
"""Narrowest bar."""
_GAP: Final = 14.0
_TICKS_APART: Final = 84.0

TONE_OF: Final = {
    Ending.SUCCEEDED: "good",
    Ending.LATE: "good",
    Ending.REFUSED: "bad",
    Ending.FAILED: "bad",
    Ending.TIMED_OUT: "wait",
    Ending.RESENT: "quiet",
    Ending.RESOLVED: "pivot",
    Ending.SKIPPED: "quiet",
    Ending.OPEN: "run",
}


class _Mark(NamedTuple):
    """A moment that concerns the whole saga."""

    at: float
    text: str
    tone: str
    across: bool
    """A line across all lanes, and not a point only."""


def svg(
    saga_id: str,
    events: Sequence[SagaEvent],
    source: Source | None = None,
    *,
    now: float | None = None,
) -> str:
    """A picture of a run.

    Args:
        source: its definition, or the shape of it; it says which step is the pivot.
        now: seconds since the epoch; what goes on is drawn until then. None: until the last event.

    Raises:
        CorruptHistory: these events are no history.
    """
    state = fold(saga_id, events)
    if state is None:
        raise CorruptHistory(f"saga {saga_id!r} has no events.")
    return _Gantt(state, straightened(events), source, now).svg()


class _Gantt:
    def __init__(
        self,
        state: SagaState,
        events: Sequence[SagaEvent],
        source: Source | None,
        now: float | None,
    ) -> None:
        self._state = state
        self._events = events
        self._pivot = plan_of(source).pivot if source is not None else None
        self._drawing = Drawing()
        every = spans(events)
        self._do = rows(span for span in every if span.direction is Direction.DO)
        undos = (span for span in every if span.direction is Direction.UNDO)
        order = {name: place for place, name in enumerate([*state.past, *state.steps])}
        self._undo = rows(sorted(undos, key=lambda span: -order[span.step]))
        self._marks = list(self._find_marks())
        self._begin, self._end = events[0].at, max(event.at for event in events)
        if now is not None and state.closed is None and any(span.end is None for span in every):
            self._end = max(self._end, now)
        lanes = ((self._do, Direction.DO), (self._undo, Direction.UNDO))
        names = [self._name(row, way) for lane, way in lanes for row in lane[:MAX_ROWS]]
        left = MARGIN + max([width_of(name) for name in names], default=0.0) + _GAP
        self._scale = Scale(self._times(every), left, PLOT)

    @staticmethod
    def _name(row: Row, direction: Direction) -> str:
        return row.name if direction is Direction.DO or not row.name else f"undo {row.name}"

    def _times(self, every: Iterable[Span]) -> list[float]:
        times = [event.at for event in self._events]
        times += [max(span.begin, self._end) for span in every if span.end is None]
        deadline = self._state.origin.deadline
        if deadline is not None and deadline <= self._end:
            times.append(deadline)
        return times

    # ── what there is to say of the whole ────────────────────────────────────────────────────────

    def _find_marks(self) -> Iterable[_Mark]:
        deadline = self._state.origin.deadline
        for event in self._events:
            match event:
                case StepSucceeded() if as_written(event.step) == self._pivot:
                    yield _Mark(event.at, "point of no return", "pivot", across=True)
                case CompensationStarted():
                    back = f"back to {event.back_to}" if event.back_to else "turned back"
                    why = shortened(f"{back}: {event.why}", MOST_CHARS)
                    yield _Mark(event.at, why, "wait", across=True)
                case DeadlineExceeded():
                    at = event.at if deadline is None else deadline
                    yield _Mark(at, "deadline", "bad", across=True)
                case SagaStuck():
                    yield _Mark(
                        event.at, shortened(f"stuck: {event.why}", MOST_CHARS), "bad", across=False
                    )
                case OperatorEvent():
                    verb = type(event).__name__.removeprefix("Operator").lower()
                    told = shortened(f"{verb}, {gist(event)}", MOST_CHARS)
                    yield _Mark(event.at, told, "pivot", across=False)
                case LateReplyNoted():
                    told = shortened(f"late answer to {event.step}", MOST_CHARS)
                    yield _Mark(event.at, told, "quiet", across=False)
                case _:
                    continue

    # ── drawing ──────────────────────────────────────────────────────────────────────────────────

    def svg(self) -> str:
        """All of it."""
        lines = [mark for mark in self._marks if mark.across]
        points = [mark for mark in self._marks if not mark.across][:MAX_ROWS]
        top = MARGIN + _ROW * len(lines)
        axis = top + 16.0
        y = self._lane(axis + _GAP, self._do, Direction.DO)
        if self._undo:
            y = self._between(y)
            y = self._lane(y, self._undo, Direction.UNDO)
        bottom = y + 2.0
        self._axis(axis, bottom)
        for number, mark in enumerate(sorted(lines)):  # so that no line runs through a caption
            self._line(mark, MARGIN + _ROW * number + 12.0, bottom)
        y = bottom + (_ROW if self._scale.breaks else _GAP)
        for mark in points:
            self._point(mark, y)
            y += _ROW
        self._ending(y)
        origin = self._state.origin
        title = f"Timeline of saga {self._state.saga_id} ({origin.saga_type})"
        return self._drawing.svg("timeline", title, self._described())

    def _lane(self, y: float, rows: Sequence[Row], direction: Direction) -> float:
        """Line by line; where it ends."""
        draw, scale = self._drawing, self._scale
        for row in rows[:MAX_ROWS]:
            middle = y + _ROW / 2
            draw.text(
                scale.left - _GAP,
                middle + 4.5,
                self._name(row, direction),
                anchor="end",
                kind="name",
            )
            draw.line([(scale.left, middle), (scale.right, middle)], kind="lane", faint=0.13)
            for before, after in row.waits:
                if before.end is not None:
                    self._wait(scale(before.end), scale(after.begin), middle)
            for attempt in row.attempts:
                self._bar(attempt, middle, f"{attempt.step}, " if row.shared else "")
            last = row.attempts[-1]
            if last.end is not None and last.again is not None:
                self._wait(scale(last.end), scale.right, middle)
            draw.text(scale.right + _GAP, middle + 4.0, row.told, size=SMALL, kind="outcome")
            y += _ROW
        left_out = len(rows) - MAX_ROWS
        if left_out > 0:
            draw.text(scale.left, y + 14.0, f"and {left_out} more", size=SMALL, kind="more")
            y += _ROW
        return y

    def _bar(self, span: Span, middle: float, of: str) -> None:
        begin = self._scale(span.begin)
        end = self._scale.right if span.end is None else self._scale(span.end)
        number = f", attempt {span.attempt}" if span.attempt > 1 else ""
        took = "" if span.seconds is None else f" after {lasting(span.seconds)}"
        self._drawing.box(
            begin,
            middle - _BAR / 2,
            max(_LEAST, end - begin),
            _BAR,
            kind=f"attempt {span.ending.replace(' ', '-')}",
            round=2.5,
            tone=TONE_OF[span.ending],
            fill=0.25 if span.end is None or span.ending is Ending.TIMED_OUT else 0.85,
            dashed=span.end is None,
            title=f"{of}{span.command}{number}: {span.outcome}{took}",
        )

    def _wait(self, begin: float, end: float, middle: float) -> None:
        """For the next attempt."""
        way = [(begin, middle), (max(begin, end), middle)]
        self._drawing.line(way, kind="wait", tone="wait", thick=2.0, dashed=True)

    def _between(self, y: float) -> float:
        """Where it turns: above it what was done, below it what is undone."""
        way = [(MARGIN, y + 6.0), (self._scale.right, y + 6.0)]
        self._drawing.line(way, kind="mirror", faint=0.45)
        return y + 12.0

    def _line(self, mark: _Mark, y: float, bottom: float) -> None:
        x = self._scale(mark.at)
        way = [(x, y - 9.0), (x, bottom)]
        self._drawing.line(way, kind="mark", tone=mark.tone, thick=1.5, dashed=True)
        self._drawing.text(x + 6.0, y, mark.text, size=SMALL, kind="mark")

    def _point(self, mark: _Mark, y: float) -> None:
        x, draw, scale = self._scale(mark.at), self._drawing, self._scale
        middle = y + _ROW / 2
        # Late ones are told of to the left, so that the picture is no wider for them.
        before = x - 11.0 - width_of(mark.text, SMALL)
        late = x > (scale.left + scale.right) / 2 and before > scale.left
        end = before - 4.0 if late else scale.right
        draw.line([(scale.left, middle), (end, middle)], kind="lane", faint=0.13)
        way = f"M{x:.2f} {middle - 6:.2f}l6 6l-6 6l-6 -6z"
        draw.path(way, kind="mark", tone=mark.tone, filled=True)
        at, anchor = (x - 11.0, "end") if late else (x + 11.0, "start")
        draw.text(at, middle + 4.0, mark.text, size=SMALL, kind="mark", anchor=anchor)

    def _ending(self, y: float) -> None:
        """How the whole ended, or how it stands."""
        state = self._state
        took = lasting(self._end - self._begin)
        words = f"{state.status} after {took}" if state.closed is not None else f"{state.status}"
        self._drawing.text(MARGIN, y + 18.0, words, bold=True, kind="ending")

    def _described(self) -> str:
        """The picture in words."""
        state = self._state
        said = [f"The saga is {state.status}."]
        for lane, undo in ((self._do, ""), (self._undo, "the undo of ")):
            said += [f"{undo}{row.name}: {row.told}." for row in lane if row.name]
        said += [f"{mark.text} at {lasting(mark.at - self._begin)}." for mark in self._marks]
        return shortened(" ".join(said), MAX_DESCRIBED_CHARS)

    def _axis(self, y: float, bottom: float) -> None:
        draw, scale = self._drawing, self._scale
        draw.line([(scale.left, y), (scale.right, y)], kind="axis", faint=0.5)
        for at in scale.ticks(_TICKS_APART):
            x = scale(at)
            draw.line([(x, y), (x, bottom)], kind="grid", faint=0.13)
            told = f"+{lasting(at - self._begin)}" if at > self._begin else "0"
            after = x + width_of(told, SMALL) + 4.0
            if not any(x - 4.0 < scale(mark.at) < after for mark in self._marks if mark.across):
                draw.text(x, y - 8, told, size=SMALL, kind="time")
        for piece in scale.breaks:
            middle = (piece.left + piece.right) / 2
            draw.text(
                middle,
                bottom + 12.0,
                lasting(piece.end - piece.begin),
                size=SMALL,
                anchor="middle",
                kind="time",
            )
            for x in (middle - 3.0, middle + 3.0):
                way = [(x + 3.0, y - 4.0), (x - 3.0, y + 4.0)]
                draw.line(way, kind="break")
                draw.line([(x, y + 8.0), (x, bottom)], kind="break", dashed=True, faint=0.25)
