"""Small pictures inside the text: how far a saga has come, how a figure went, who has which share.

SVG with classes of the style sheet and nothing inline that a strict policy would refuse. Each says
in words what it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from es_saga.core.messages import standing_for
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
    undoable: bool = False


def track(steps: Mapping[str, Any], plan: Sequence[Planned]) -> Markup:
    """A saga's steps in a row, one mark each, the pivot behind a bar.

    Args:
        steps: as the status view has them.
        plan: in the order of the definition.
    """
    every = [one._replace(name=name) for one in plan for name in standing_for(one.name, steps)]
    known = {planned.name for planned in every}
    every += (Planned(name) for name in steps if name not in known)
    marks, said = list[Markup](), list[str]()
    for index, planned in enumerate(every):
        seen = look_of(steps.get(planned.name))
        said.append(f"{planned.name} {seen.word}")
        marks.append(
            Markup(
                '<g transform="translate({} 0)" class="t-{}"><title>{}: {}</title>{}{}</g>'
            ).format(
                index * (_CELL + 4),
                seen.tone,
                planned.name,
                seen.word,
                Markup(_PIVOT if planned.pivot and index else ""),
                Markup('<g transform="translate({} 0)">{}</g>').format(
                    2 if planned.pivot and index else 0, Markup(_SHAPES[seen.icon])
                ),
            )
        )
    width = max(1, len(every)) * (_CELL + 4)
    return Markup(
        '<svg class="track" viewBox="0 0 {w} 16" width="{w}" height="16" role="img"'
        ' aria-label="{}">{}</svg>'
    ).format(", ".join(said) or "no steps", Markup("").join(marks), w=width)


def look_of(step: Mapping[str, Any] | None) -> looks.Look:
    """How a step stands, both directions in one."""
    if step is None:
        return looks.of_work("pending")
    undo: Mapping[str, Any] | None = step.get("undo")
    return looks.of_work(str((undo or step)["status"]), undo=undo is not None)


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
