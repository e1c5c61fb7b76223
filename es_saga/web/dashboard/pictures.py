"""Small pictures inside the text: how far a saga has come, how a figure went, who has which share.

SVG with classes of the style sheet and nothing inline that a strict policy would refuse. Each says
in words what it shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from es_saga.core.messages import as_written, names_of_each, standing_for
from es_saga.projections.lists import UnderWay
from es_saga.projections.waiting import SLEEP
from es_saga.web.dashboard import looks

_CELL: Final = 16
"""Pixels from one step to the next."""

_SQUARE: Final = '<rect x="2" y="2" width="12" height="12" rx="3" class="{}"/>'
_DOT: Final = '<rect x="6" y="6" width="4" height="4" class="f"/>'
_LEFT: Final = '<path class="s" d="M11 8H5M7.5 5.5L5 8l2.5 2.5"/>'


def _line(way: str, kind: str = "s") -> str:
    return f'<path class="{kind}" d="{way}"/>'


_SHAPES: Final = {
    "done": _SQUARE.format("f") + _line("M5 8.3l2.1 2.1L11.2 6", "c"),
    "run": _SQUARE.format("o breath") + _DOT,
    "wait": _SQUARE.format("o dash") + _DOT,
    "no": _SQUARE.format("o") + _line("M5.5 5.5l5 5M10.5 5.5l-5 5"),
    "fail": _line("M8 1.5L15.2 14.5H.8z", "f") + _line("M8 6v4M8 12.2v.1", "c"),
    "unknown": _SQUARE.format("o dash") + _line("M8 5v3.8M8 11v.1"),
    "skip": _line("M4 8h8"),
    "open": '<circle cx="8" cy="8" r="2.5" class="o"/>',
    "back": _SQUARE.format("o breath") + _LEFT,
    "undone": _SQUARE.format("o") + _LEFT,
    "owed": _line("M8 .8L15.2 8 8 15.2.8 8z", "f") + _line("M8 4.5v4M8 11v.1", "c"),
}
"""By the icon of the look."""

_PIVOT: Final = '<path class="pivot" d="M0 0v16"/>'


class Planned(NamedTuple):
    """A step as its definition has it."""

    name: str
    pivot: bool = False
    after_pivot: bool = False
    undo: str | None = None
    """The command that undoes it, or the event that tells of that."""
    asks: str = ""
    """What is sent, or waited for."""
    waits: bool = False
    """Nobody is asked: it waits for a message, or for time to pass."""
    expected: bool = False
    """Nobody is asked: an event tells of it."""
    ways: int | None = None
    """Of a save-point: ways that there are."""

    @property
    def passive(self) -> bool:
        """Nobody is asked for it."""
        return self.waits or self.expected

    def look(self, status: str, *, undo: bool = False) -> looks.Look:
        """One direction of it, where that stands so."""
        if undo and self.expected and status == "started":
            return looks.UNDO_EXPECTED
        if undo or not self.passive:
            return looks.of_work(status, undo=undo)
        return looks.of_wait(status, expected=self.expected, asleep=self.asks == SLEEP)

    def look_of(self, step: Mapping[str, Any] | None) -> looks.Look:
        """The step as the status view has it, both directions in one."""
        if step is None:
            return looks.of_work("pending")
        undo: Mapping[str, Any] | None = step.get("undo")
        if undo is not None:
            return self.look(str(undo["status"]), undo=True)
        return self.look(str(step["status"]))


MOST_MARKS: Final = 4
"""Items of one list that have a mark each; more of them are one bar."""

_BAR: Final = 60
"""Pixels of the bar of a list."""

_TROUBLE: Final = ("owed", "fail", "unknown", "no")
"""Icons of what is to be seen beside a bar, the worst first."""


class _Piece(NamedTuple):
    """What stands in a track for a step, or for all items of one."""

    drawn: Markup
    width: int
    said: str
    pivot: bool = False


def track(
    steps: Mapping[str, Any], plan: Sequence[Planned], lists: Sequence[UnderWay] = ()
) -> Markup:
    """A saga's steps in a row, one mark each, the pivot behind a bar; a long list is a bar, too.

    Args:
        steps: as the status view has them.
        plan: in the order of the definition.
        lists: those that the saga is going over.
    """
    pieces, known = list[_Piece](), set[str]()
    for planned in plan:
        names = standing_for(planned.name, steps)
        known.update(names)
        for one in lists:
            if as_written(one.step) == planned.name:  # those that have not begun as well
                names = names_of_each(one.step, one.items)
        if len(names) > MOST_MARKS:
            every = [planned.look_of(steps.get(name)) for name in names]
            pieces.append(_items(planned.name, every))
        else:
            pieces += (
                _mark(name, planned.look_of(steps.get(name)), planned.pivot) for name in names
            )
    unknown = (name for name in steps if name not in known)
    pieces += (_mark(name, Planned(name).look_of(steps[name]), False) for name in unknown)
    x, drawn = 0, list[Markup]()
    for piece in pieces:
        bar = Markup(_PIVOT if piece.pivot and x else "")
        moved = Markup('<g transform="translate({} 0)">{}<g transform="translate({} 0)">{}</g></g>')
        drawn.append(moved.format(x, bar, 2 if bar else 0, piece.drawn))
        x += piece.width + 4
    return Markup(
        '<svg class="track" viewBox="0 0 {w} 16" width="{w}" height="16" role="img"'
        ' aria-label="{}">{}</svg>'
    ).format(
        ", ".join(piece.said for piece in pieces) or "no steps",
        Markup("").join(drawn),
        w=max(_CELL + 4, x),
    )


def _mark(name: str, seen: looks.Look, pivot: bool) -> _Piece:
    drawn = Markup('<g class="t-{}"><title>{}: {}</title>{}</g>').format(
        seen.tone, name, seen.word, Markup(_SHAPES[seen.icon])
    )
    return _Piece(drawn, _CELL, f"{name} {seen.word}", pivot)


def _items(name: str, every: Sequence[looks.Look]) -> _Piece:
    """A bar with a share for each way to stand, and a mark beside it for the worst of them."""
    counts = Counter(every)
    said = f"{name}, {len(every)} items: " + ", ".join(
        f"{number} {look.word}" for look, number in counts.items()
    )
    x, drawn = 0.0, list[Markup]()
    for look, number in counts.items():
        width = _BAR * number / len(every)
        piece = Markup('<rect class="f t-{}" x="{:.2f}" y="4" width="{:.2f}" height="8"/>')
        drawn.append(piece.format(look.tone, x, max(1.0, width - 1)))
        x += width
    worst = min(
        (look for look in counts if look.icon in _TROUBLE),
        key=lambda look: _TROUBLE.index(look.icon),
        default=None,
    )
    if worst is not None:
        mark = Markup('<g class="t-{}" transform="translate({} 0)">{}</g>')
        drawn.append(mark.format(worst.tone, _BAR + 1, Markup(_SHAPES[worst.icon])))
    title = Markup("<title>{}</title>").format(said)
    return _Piece(title + Markup("").join(drawn), _BAR + (_CELL if worst else 0), said)


def spark(*series: Sequence[float | None], label: str) -> Markup:
    """Figures over time, the first of them filled; all to one scale that begins at zero."""
    top = max((value for one in series for value in one if value is not None), default=0) or 1
    lines = [
        Markup('<path class="line{}" d="{}"/>').format(" second" if index else "", _way(one, top))
        for index, one in enumerate(series)
    ]
    first = _runs(series[0], top) if series else []
    areas = [
        Markup('<path class="area" d="M{} 30L{}L{} 30z"/>').format(
            run[0][0], "L".join(f"{x} {y}" for x, y in run), run[-1][0]
        )
        for run in first
        if len(run) > 1
    ]
    return Markup(
        '<svg class="spark" viewBox="0 0 100 30" preserveAspectRatio="none" role="img"'
        ' aria-label="{}"><path class="floor" d="M0 30h100"/>{}{}</svg>'
    ).format(label, Markup("").join(areas), Markup("").join(lines))


def lines(series: Sequence[tuple[str, Sequence[float]]]) -> Markup:
    """Several lines to one scale, each in its tone; what they are is said beside them."""
    top = max((value for _, values in series for value in values), default=0) or 1
    drawn = (
        Markup('<path class="line t-{}" d="{}"/>').format(tone, _way(values, top))
        for tone, values in series
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 100 30" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="floor" d="M0 30h100M0 15h100M0 1h100"/>{}</svg>'
    ).format(Markup("").join(drawn))


def _way(values: Sequence[float | None], top: float) -> str:
    # A single figure is a dot's width, or it would not be seen.
    return "".join(
        "M"
        + "L".join(
            f"{x} {y}" for x, y in (run if len(run) > 1 else [*run, (run[0][0] + 1, run[0][1])])
        )
        for run in _runs(values, top)
    )


def _runs(values: Sequence[float | None], top: float) -> list[list[tuple[float, float]]]:
    """Points without a gap between them."""
    step = 100 / max(1, len(values) - 1)
    runs: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((round(index * step, 2), round(29 - 28 * value / top, 2)))
    return [run for run in runs if run]


def share(counts: Iterable[tuple[str, int]]) -> Markup:
    """A bar of sagas by status."""
    given = [(looks.of_status(status), number) for status, number in counts if number]
    total = sum(number for _, number in given) or 1
    x, bars = 0.0, list[Markup]()
    for seen, number in given:
        width = 100 * number / total
        bars.append(
            Markup(
                '<rect class="f t-{}" x="{:.3f}" width="{:.3f}" height="8">'
                "<title>{} {}</title></rect>"
            ).format(seen.tone, x, max(0.0, width - 0.15), number, seen.word)
        )
        x += width
    said = ", ".join(f"{number} {seen.word}" for seen, number in given) or "no sagas"
    return Markup(
        '<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" role="img"'
        ' aria-label="{}">{}</svg>'
    ).format(said, Markup("").join(bars))
