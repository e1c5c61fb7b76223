"""How much, how fast: figures of a window of time, gathered once for everybody who looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from time import time
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from es_saga.core.errors import InvalidInput
from es_saga.projections.listing import OPEN
from es_saga.projections.vitals import Course, Point, Vitals
from es_saga.web.dashboard.costly import Costly
from es_saga.web.dashboard.pictures import spark
from es_saga.web.dashboard.words import span
from es_saga.web.desk import Desk


class Window(NamedTuple):
    """How far back is looked, and in which spans."""

    seconds: int
    span: int
    """Seconds; whole minutes."""
    per: str
    """A span in words."""


WINDOWS: Final = {
    "1h": Window(3_600, 60, "minute"),
    "24h": Window(86_400, 900, "quarter of an hour"),
    "7d": Window(7 * 86_400, 7_200, "two hours"),
}
USUALLY: Final = "1h"

MAX_LINES: Final = 30
"""Saga types that have a line of their own; the busiest."""

LINES: Final = (
    ("started", "started", "run"),
    ("completed", "completed", "good"),
    ("turned", "turned back", "back"),
    ("stuck", "got stuck", "bad"),
)
"""What the chart shows: the count, its word, its tone."""


class Figures(NamedTuple):
    """What was gathered."""

    vitals: Vitals
    at: Sequence[int]
    """Beginnings of the spans."""
    lines: Mapping[str, Sequence[int]]
    """Of all sagas, by the name of the count: one figure a span."""
    started: Mapping[str, Sequence[int]]
    """Of each type: sagas begun."""


class Courses:
    """How p95 went, hour by hour, as small pictures; of one hour there is none."""

    def __init__(self, found: Course) -> None:
        self._found = found

    def of(self, saga_type: str, step: str, what: str) -> Markup | None:
        """The picture of a step's direction, or with an empty step of sagas that `what`."""
        course = self._found.get((saga_type, step, what), ())
        known = [value for value in course if value is not None]
        if len(known) < 2:
            return None
        name = f"{what} {step}" if step else f"{saga_type} {what}"
        label = f"{name}: p95 by the hour, {span(known[-1])} at last"
        return spark(course, label=label)


class Observatory:
    """Figures of every window."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._figures = {
            name: Costly(partial(self._gather, window)) for name, window in WINDOWS.items()
        }
        self._courses = Costly(lambda: desk.ask(desk.queries.courses))
        self._gone_through = Costly(lambda: desk.ask(desk.queries.counts_by_type))

    async def of(self, window: str) -> Figures:
        """The figures of one of WINDOWS.

        Raises:
            InvalidInput: it is none.
        """
        if window not in self._figures:
            known = ", ".join(WINDOWS)
            raise InvalidInput(f"{window[:40]!r} is no window of time.", hint=f"One of: {known}.")
        return await self._figures[window].answer()

    async def sagas(self) -> Mapping[str, Mapping[str, int]]:
        """Sagas by type and status; where no projection counts them, all are gone through."""
        vitals = (await self.of(USUALLY)).vitals
        if any(status not in OPEN for one in vitals.types for status in one.sagas):
            return {one.type: one.sagas for one in vitals.types}
        return await self._gone_through.answer()

    async def courses(self) -> Courses:
        """How long sagas and steps took, hour by hour, for a day."""
        return Courses(await self._courses.answer())

    async def _gather(self, window: Window) -> Figures:
        desk, now = self._desk, time()
        vitals = await desk.ask(desk.queries.vitals, within=float(window.seconds), now=now)
        first = int(now - window.seconds) // window.span * window.span + window.span
        at = range(first, int(now) + 1, window.span)
        series = partial(desk.queries.series, since=float(first), until=now + 1, step=window.span)
        every = await desk.ask(series)
        busiest = sorted(vitals.types, key=lambda one: -one.counts["started"])[:MAX_LINES]
        started: dict[str, Sequence[int]] = {}
        for one in busiest:
            points = await desk.ask(partial(series, saga_type=one.type))
            started[one.type] = _filled(points, at, "started")
        lines = {name: _filled(every, at, name) for name, _, _ in LINES}
        return Figures(vitals, at, lines, started)


def _filled(points: Sequence[Point], at: Sequence[int], count: str) -> list[int]:
    """A figure for every span: spans in which nothing happened are not in a series."""
    known = {int(point.at): point.counts[count] for point in points}
    return [known.get(begin, 0) for begin in at]


def total(sagas: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Sagas of all types by status."""
    found: dict[str, int] = {}
    for own in sagas.values():
        for status, number in own.items():
            found[status] = found.get(status, 0) + number
    return found


def chart(figures: Figures) -> dict[str, Any]:
    """What `chart.js` draws."""
    return {
        "at": [*figures.at],
        "lines": [
            {"label": word, "tone": tone, "values": figures.lines[name]}
            for name, word, tone in LINES
        ],
    }
