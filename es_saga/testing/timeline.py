"""A history as a person reads it: one line an event, times counted from the start of the saga.

>>> from es_saga.core.events import SagaStarted, SagaStuck
>>> print(timeline([
...     SagaStarted(at=5.0, saga_type="order", definition=1, fingerprint="f", data={"sku": "tea"}),
...     SagaStuck(at=6.5, step="ship", why="the carrier is on strike"),
... ], mark=2))
   #   +s  event        step  what
   1  0.0  SagaStarted        order {"sku": "tea"}
→  2  1.5  SagaStuck    ship  the carrier is on strike
"""

from __future__ import annotations

from collections.abc import Sequence

from es_saga.core.events import SagaEvent
from es_saga.core.gist import gist

MAX_WHAT_CHARS = 72
"""Longest text of the last column; what is longer ends in `…`."""

_HEAD = ("#", "+s", "event", "step", "what")
_RIGHT = (True, True, False, False, False)


def timeline(history: Sequence[SagaEvent], *, mark: int | None = None) -> str:
    """The events as a table; an arrow points at event number `mark`, counted from 1.

    Any sequence of events will do, an impossible one too.
    """
    began = history[0].at if history else 0.0
    rows = [_HEAD, *(_row(n, began, event) for n, event in enumerate(history, 1))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines: list[str] = []
    for number, row in enumerate(rows):
        cells = zip(row, widths, _RIGHT, strict=True)
        told = "  ".join(cell.rjust(w) if right else cell.ljust(w) for cell, w, right in cells)
        lines.append(f"{'→' if number and number == mark else ' '}  {told}".rstrip())
    return "\n".join(lines)


def _row(number: int, began: float, event: SagaEvent) -> tuple[str, ...]:
    step = getattr(event, "step", None) or ""
    since = f"{event.at - began:.3f}".rstrip("0")
    since += "0" if since.endswith(".") else ""
    return str(number), since, type(event).__name__, step, _short(gist(event))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_WHAT_CHARS else f"{text[: MAX_WHAT_CHARS - 1]}…"
