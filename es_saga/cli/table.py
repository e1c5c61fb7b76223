"""Tables that stay calm: what can be left out is, before anything that matters is folded.

Off a terminal nothing is left out or folded, so that `grep` and `cut` find whole lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from rich.console import Console
from rich.text import Text

GAP = 2
"""Spaces between two columns."""

LEAST = 24
"""A column that may fold is not made narrower than this to keep an optional one, in characters."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; where a plain name is given, it is always there and never folds."""

    name: str
    folds: bool = False
    """Its text may go over several lines where the terminal is narrow."""
    optional: bool = False
    """On a terminal it is left out where it says nothing, or where there is no room for it; of
    several the last one goes first."""
    right: bool = False


def table(
    console: Console,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str | Column],
    *,
    markup: Callable[[str, Any], str],
) -> Iterable[Text]:
    """The lines of a table, no wider than the terminal if that can be.

    `markup` turns a column's name and a value into rich's markup.
    """
    wanted = [column if isinstance(column, Column) else Column(column) for column in columns]
    heads = {column.name: Text(column.name.replace("_", " "), "dim") for column in wanted}
    cells = [
        {
            column.name: Text.from_markup(markup(column.name, row.get(column.name)), emoji=False)
            for column in wanted
        }
        for row in rows
    ]
    widths = {name: max(_width(line[name]) for line in (heads, *cells)) for name in heads}
    if console.is_terminal:
        told = {name for line in cells for name, cell in line.items() if cell.plain}
        wanted = [column for column in wanted if column.name in told or not column.optional]
        wanted = _fitting(wanted, widths, console.width)
        _shrink(wanted, widths, console.width)
    for line in (heads, *cells):
        yield from _folded(console, wanted, widths, line)


def _width(cell: Text) -> int:
    return max((part.cell_len for part in cell.split()), default=0)


def _fitting(columns: list[Column], widths: Mapping[str, int], room: int) -> list[Column]:
    """Without the optional columns that there is no room for."""
    kept = list(columns)
    for column in reversed(columns):
        least = sum(
            GAP + (min(LEAST, widths[one.name]) if one.folds else widths[one.name]) for one in kept
        )
        if least - GAP <= room:
            break
        if column.optional:
            kept.remove(column)
    return kept


def _shrink(columns: Sequence[Column], widths: dict[str, int], room: int) -> None:
    """Take from the widest column that folds, until the line fits or nothing can be taken."""
    folding = [column.name for column in columns if column.folds]
    excess = sum(GAP + widths[column.name] for column in columns) - GAP - room
    while excess > 0 and folding:
        widest = max(folding, key=lambda name: widths[name])
        if widths[widest] <= LEAST:
            return
        widths[widest] -= 1
        excess -= 1


def _folded(
    console: Console,
    columns: Sequence[Column],
    widths: Mapping[str, int],
    cells: Mapping[str, Text],
) -> Iterable[Text]:
    """One row: a line, or several where a cell is folded."""
    folded = [
        list(cells[column.name].wrap(console, max(1, widths[column.name]))) for column in columns
    ]
    for parts in zip_longest(*folded):
        line = Text()
        for column, part in zip(columns, parts, strict=True):
            cell = (part or Text()).copy()
            cell.rstrip()
            space = " " * max(0, widths[column.name] - cell.cell_len)
            line.append_text(Text(space).append_text(cell) if column.right else cell.append(space))
            line.append(" " * GAP)
        line.rstrip()
        yield line
