"""Time as a place in a picture: in proportion, but for long pauses, which are cut short.

A saga acts within milliseconds and may then wait a day for a human. In proportion nothing would be
left to see of it; so a pause that is much longer than all the rest together is drawn as a break.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from es_saga.core.events import SagaEvent
from es_saga.diagrams.drawing import SMALL, width_of

BREAK_PIXELS: Final = 16.0
"""How much wider a break is than the words that say how long it is."""

MUCH: Final = 6.0
"""A pause is cut short if it is so many times as long as all the rest."""

MAX_BREAKS: Final = 8

_TIMES: Final = ("at", "due", "retry_at")
_NICE: Final = (1.0, 2.0, 5.0)


class Piece(NamedTuple):
    """A stretch of time, and where it is drawn."""

    begin: float
    """Seconds since the epoch."""
    end: float
    left: float
    right: float
    cut: bool
    """It is a break: drawn shorter than it is."""


class Scale:
    """From seconds since the epoch to pixels."""

    def __init__(self, times: Iterable[float], left: float, width: float) -> None:
        moments = sorted(set(times))
        stretches = list(pairwise(moments)) or [(moments[0], moments[0] + 1.0)]
        cut = _cut(stretches)
        shown = sum(end - begin for begin, end in stretches if (begin, end) not in cut)
        breaks = {one: width_of(lasting(one[1] - one[0]), SMALL) + BREAK_PIXELS for one in cut}
        room = width - sum(breaks.values())
        self.pieces: list[Piece] = []
        x = left
        for begin, end in stretches:
            broken = (begin, end) in cut
            wide = breaks.get((begin, end), room * (end - begin) / (shown or 1.0))
            if self.pieces and not broken and not self.pieces[-1].cut:
                last = self.pieces.pop()
                self.pieces.append(Piece(last.begin, end, last.left, x + wide, cut=False))
            else:
                self.pieces.append(Piece(begin, end, x, x + wide, cut=broken))
            x += wide
        self.left, self.right = left, x

    def __call__(self, at: float) -> float:
        """Where a moment is; what lies outside is at the nearer end."""
        for piece in self.pieces:
            if at <= piece.end:
                share = (at - piece.begin) / ((piece.end - piece.begin) or 1.0)
                return piece.left + (piece.right - piece.left) * min(1.0, max(0.0, share))
        return self.right

    @property
    def breaks(self) -> list[Piece]:
        """The pauses that are cut short."""
        return [piece for piece in self.pieces if piece.cut]

    def ticks(self, apart: float) -> Iterator[float]:
        """Round times, at least so many pixels from each other; none inside a break."""
        zero, last = self.pieces[0].begin, self.left - apart
        for piece in self.pieces:
            wide, span = piece.right - piece.left, piece.end - piece.begin
            if piece.cut or wide < apart or span <= 0:
                continue
            step = _nice(span * apart / wide)
            number = int((piece.begin - zero) / step)
            while zero + number * step <= piece.end + step * 1e-9:
                at = zero + number * step
                if at >= piece.begin - step * 1e-9 and self(at) - last >= apart:
                    last = self(at)
                    yield at
                number += 1


def _cut(stretches: list[tuple[float, float]]) -> set[tuple[float, float]]:
    """The pauses that are much longer than all the rest together."""
    by_length = sorted(stretches, key=lambda one: one[1] - one[0], reverse=True)
    found: set[tuple[float, float]] = set()
    for index, (begin, end) in enumerate(by_length[:MAX_BREAKS]):
        rest = sum(late - early for early, late in by_length[index + 1 :])
        if rest <= 0 or end - begin < MUCH * rest:
            break
        found.add((begin, end))
    return found


def _nice(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, … thousandths, hundredths … that is not less."""
    unit = 1e-6
    while True:
        for factor in _NICE:
            if unit * factor >= least:
                return unit * factor
        unit *= 10


def straightened(events: Sequence[SagaEvent]) -> list[SagaEvent]:
    """The same events, with times that never go back.

    Two process managers need not agree on the time, and a clock may be put back: whatever comes
    after that is told as if the clock had stood still meanwhile.
    """
    found: list[SagaEvent] = []
    ahead, last = 0.0, events[0].at
    for event in events:
        if event.at + ahead < last:
            ahead = last - event.at
        last = event.at + ahead
        later = {
            name: value + ahead
            for name in _TIMES
            if ahead and (value := getattr(event, name, None)) is not None
        }
        found.append(event.model_copy(update=later) if later else event)
    return found


def lasting(seconds: float) -> str:
    """A length of time, short.

    >>> [lasting(0.0042), lasting(1.5), lasting(75), lasting(7_200), lasting(200_000)]
    ['4.2 ms', '1.5 s', '1 min 15 s', '2 h', '2 d 7 h']
    """
    if seconds < 0:
        return f"-{lasting(-seconds)}"
    if seconds < 0.9995:
        return f"{_short(seconds * 1_000)} ms"
    if seconds < 60:
        return f"{_short(seconds)} s"
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    whole = round(seconds)
    for (name, size), (lesser, smaller) in pairwise(units):
        if whole >= size:
            count, rest = divmod(whole, size)
            return f"{count} {name}" + (f" {rest // smaller} {lesser}" if rest >= smaller else "")
    return f"{whole} s"


def _short(number: float) -> str:
    digits = 2 if number < 10 else 1 if number < 100 else 0
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
