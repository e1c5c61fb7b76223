"""Which attempts share a line of a timeline: one line a step, and a few for all items of a list.

The items of a list are gone over some at a time. So they need no more lines than there are under
way at once, and the picture of fifty is as tall as that of five.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from es_saga.core.messages import as_written
from es_saga.diagrams.drawing import shortened
from es_saga.diagrams.timescale import lasting
from es_saga.replay.attempts import Ending, Span

MOST_ITEMS: Final = 12
"""Items of a list that have a line each; more of them share lines."""

MOST_CHARS: Final = 48


class Row(NamedTuple):
    """One line."""

    name: str
    """Empty: it goes on with the list of the line above."""
    attempts: Sequence[Span]
    """In the order of the steps, and of each step in the order in which they were made."""
    told: str
    """How it went."""
    shared: bool = False
    """By several items of a list."""

    @property
    def waits(self) -> Iterator[tuple[Span, Span]]:
        """Attempts of one step between which it waited."""
        return ((a, b) for a, b in pairwise(self.attempts) if a.step == b.step)


def rows(found: Iterable[Span]) -> list[Row]:
    """Lines, in the order in which their first steps were begun.

    Args:
        found: attempts of one direction.
    """
    steps: dict[str, list[Span]] = {}
    for span in found:
        steps.setdefault(span.step, []).append(span)
    sizes = Counter(_list_of(step) for step in steps)
    lists: dict[str, list[list[Span]]] = {}
    for step, attempts in steps.items():
        name = _list_of(step)
        lists.setdefault(name if sizes[name] > MOST_ITEMS else step, []).append(attempts)
    lines: list[Row] = []
    for name, items in lists.items():
        if len(items) == 1:
            lines.append(Row(shortened(name, MOST_CHARS), items[0], _told(items[0])))
        else:
            lines += _shared(name, items)
    return lines


def _list_of(step: str) -> str:
    """The step over a list that it stands for, on its way; else it itself."""
    name, _, item = step.rpartition("-")
    return name if item.isdigit() and as_written(name) == as_written(step) else step


def _shared(name: str, items: Sequence[list[Span]]) -> Iterator[Row]:
    """As few lines as there are items under way at once."""
    lines: list[list[list[Span]]] = []
    for item in sorted(items, key=lambda attempts: attempts[0].begin):
        free = next((line for line in lines if _over(line[-1]) <= item[0].begin), None)
        if free is None:
            lines.append(free := [])
        free.append(item)
    for number, line in enumerate(lines):
        told = _counted(items) if number == 0 else ""
        label = f"{shortened(name, MOST_CHARS)}, {len(items)} items" if number == 0 else ""
        yield Row(label, [span for item in line for span in item], told, shared=True)


def _over(attempts: Sequence[Span]) -> float:
    """When nothing more is to come of it."""
    last = attempts[-1]
    if last.end is None or last.again is not None:
        return float("inf")
    return last.end


def _counted(items: Iterable[Sequence[Span]]) -> str:
    """How all items went, on one line."""
    endings = Counter(attempts[-1].outcome for attempts in items)
    return shortened(", ".join(f"{n} {how}" for how, n in endings.most_common()), MOST_CHARS)


def _told(attempts: Sequence[Span]) -> str:
    """How one step went, on one line."""
    last = attempts[-1]
    parts = [] if last.ending is Ending.SUCCEEDED else [shortened(last.outcome, MOST_CHARS)]
    if len(attempts) > 1:
        parts.append(f"{len(attempts)} attempts")
    if last.end is not None:
        parts.append(lasting(last.end - attempts[0].begin))
    return ", ".join(parts)
