"""A run as a sequence diagram: the process manager, the services, and all that was said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from es_saga.core.errors import CorruptHistory
from es_saga.core.events import SagaEvent
from es_saga.diagrams.drawing import MARGIN, SMALL, Drawing, shortened, width_of
from es_saga.diagrams.messages import Line, What, lines
from es_saga.diagrams.timescale import lasting, straightened

MAX_LINES: Final = 400
"""Lines that are drawn; of a longer run the rest is counted."""

MAX_DESCRIBED_CHARS: Final = 4_000

PROCESS_MANAGER: Final = "process manager"
OPERATOR: Final = "operator"

_ROW: Final = 28.0
_HEAD: Final = 32.0
_PAD: Final = 12.0
_MOST_CHARS: Final = 56

_COMMANDS: Final = (What.COMMAND, What.UNDO)
_ANSWERS: Final = (What.DONE, What.REFUSED, What.FAILED, What.LATE)
_TONES: Final = {
    What.COMMAND: "run",
    What.UNDO: "wait",
    What.DONE: "good",
    What.REFUSED: "bad",
    What.FAILED: "bad",
    What.LATE: "quiet",
    What.SILENCE: "wait",
    What.VERB: "pivot",
    What.NOTE: "quiet",
    What.TURN: "wait",
}


def svg(saga_id: str, events: Sequence[SagaEvent]) -> str:
    """A picture of what was said.

    Raises:
        CorruptHistory: there are no events.
    """
    if not events:
        raise CorruptHistory(f"saga {saga_id!r} has no events.")
    return _Sequence(saga_id, straightened(events)).svg()


class _Sequence:
    def __init__(self, saga_id: str, events: Sequence[SagaEvent]) -> None:
        self._saga_id = saga_id
        every = list(lines(events))
        self._lines = every[:MAX_LINES]
        self._left_out = len(every) - len(self._lines)
        self._begin = events[0].at
        self._drawing = Drawing()
        services = (line.service for line in self._lines if line.service is not None)
        self._services = list(dict.fromkeys(services))
        self._by_hand = any(line.what is What.VERB for line in self._lines)
        self._x = self._columns()

    def _columns(self) -> dict[str, float]:
        """Where everybody's line is: wide enough apart for what is written between them."""
        times = max(width_of(self._time(line.at), SMALL) for line in self._lines)
        x = MARGIN + times + 2 * _PAD
        found: dict[str, float] = {}
        if self._by_hand:
            x += self._half(OPERATOR)
            found[OPERATOR] = x
            x += max(self._widest(What.VERB), self._half(OPERATOR)) + 3 * _PAD
        x += 0.0 if found else self._half(PROCESS_MANAGER)
        found[PROCESS_MANAGER] = x
        room = max(
            self._half(PROCESS_MANAGER),
            self._widest(What.NOTE, What.TURN, What.SILENCE),
        )
        last = PROCESS_MANAGER
        for service in self._services:
            said = max(
                (
                    width_of(self._text(line), SMALL)
                    for line in self._lines
                    if line.service == service
                ),
                default=0.0,
            )
            apart = max(said, room if last is PROCESS_MANAGER else self._half(last))
            x += max(apart + 2.5 * _PAD, self._half(last) + self._half(service) + _PAD)
            found[service] = x
            last = service
        return found

    @staticmethod
    def _half(name: str) -> float:
        return width_of(name, bold=True) / 2 + _PAD

    def _widest(self, *kinds: What) -> float:
        said = [width_of(self._text(line), SMALL) for line in self._lines if line.what in kinds]
        return max(said, default=0.0)

    @staticmethod
    def _text(line: Line) -> str:
        return shortened(line.text, _MOST_CHARS)

    def _time(self, at: float) -> str:
        since = at - self._begin
        return f"+{lasting(since)}" if since > 0 else "0"

    # ── drawing ──────────────────────────────────────────────────────────────────────────────────

    def svg(self) -> str:
        """All of it."""
        top = MARGIN + _HEAD
        bottom = top + _ROW * (len(self._lines) + 0.7)
        for name, x in self._x.items():
            self._lifeline(name, x, top, bottom)
        y, told = top, ""
        for line in self._lines:
            y += _ROW
            time = self._time(line.at)
            if time != told:
                edge = min(self._x.values()) - self._half(next(iter(self._x))) - _PAD
                self._drawing.text(
                    max(edge, MARGIN + width_of(time, SMALL)),
                    y,
                    time,
                    size=SMALL,
                    anchor="end",
                    kind="time",
                )
                told = time
            self._line(line, y)
        if self._left_out:
            text = f"and {self._left_out} more"
            self._drawing.text(MARGIN, bottom + 16.0, text, size=SMALL, kind="more")
        title = f"Messages of saga {self._saga_id}"
        return self._drawing.svg("sequence", title, self._described())

    def _lifeline(self, name: str, x: float, top: float, bottom: float) -> None:
        draw, half = self._drawing, self._half(name)
        own = name in (PROCESS_MANAGER, OPERATOR)
        draw.line([(x, top), (x, bottom)], kind="lifeline", faint=0.3)
        draw.box(
            x - half,
            MARGIN,
            2 * half,
            _HEAD - 4.0,
            kind="who",
            round=6.0,
            tone="pivot" if name is OPERATOR else None,
            fill=0.08 if own else 0.03,
            line=1.25,
        )
        draw.text(x, MARGIN + 18.5, name, anchor="middle", bold=True, kind="name")

    def _line(self, line: Line, y: float) -> None:
        if line.what is What.VERB:
            self._arrow(self._x[OPERATOR], self._x[PROCESS_MANAGER], y, line)
        elif line.what in _COMMANDS and line.service is not None:
            self._arrow(self._x[PROCESS_MANAGER], self._x[line.service], y, line)
        elif line.what in _ANSWERS and line.service is not None:
            self._arrow(self._x[line.service], self._x[PROCESS_MANAGER], y, line)
        else:
            self._note(line, y)

    def _arrow(self, begin: float, end: float, y: float, line: Line) -> None:
        draw, tone = self._drawing, _TONES[line.what]
        left = end < begin
        answer = line.what in _ANSWERS
        kind = f"message {line.what}"
        stop = end + 6.0 if left else end - 6.0
        draw.line(
            [(begin, y), (stop, y)], kind=kind, tone=tone, thick=1.5, dashed=answer, title=line.text
        )
        draw.head(end, y, left=left, kind=kind, tone=tone)
        # Beside the one who is further out: nobody's line runs through the words there.
        text = self._text(line)
        if line.what is What.VERB:
            draw.text(begin + _PAD, y - 5.0, text, size=SMALL, kind="said")
        else:
            draw.text(max(begin, end) - _PAD, y - 5.0, text, size=SMALL, anchor="end", kind="said")

    def _note(self, line: Line, y: float) -> None:
        draw, x = self._drawing, self._x[PROCESS_MANAGER]
        tone = _TONES[line.what]
        way = f"M{x:.2f} {y - 9:.2f}l5 5l-5 5l-5 -5z"
        draw.path(way, kind=f"moment {line.what}", tone=tone, filled=True)
        bold = line.what is What.TURN
        draw.text(x + _PAD, y, self._text(line), size=SMALL, kind="note", bold=bold)

    def _described(self) -> str:
        """The picture in words."""
        said = [f"{self._time(line.at)}: {line.text}" for line in self._lines]
        return shortened("; ".join(said), MAX_DESCRIBED_CHARS)


# ── Mermaid ──────────────────────────────────────────────────────────────────────────────────────


def mermaid(saga_id: str, events: Sequence[SagaEvent]) -> str:
    """The same as a Mermaid sequence diagram.

    Raises:
        CorruptHistory: there are no events.
    """
    if not events:
        raise CorruptHistory(f"saga {saga_id!r} has no events.")
    every = list(lines(events))
    services = dict.fromkeys(line.service for line in every if line.service is not None)
    ids = {service: f"s{number}" for number, service in enumerate(services, 1)}
    told = ["sequenceDiagram"]
    if any(line.what is What.VERB for line in every):
        told.append(f"    actor op as {OPERATOR}")
    told.append(f"    participant pm as {PROCESS_MANAGER}")
    told += [f"    participant {own} as {_plain(service)}" for service, own in ids.items()]
    return "\n".join([*told, *(f"    {_mermaid(line, ids)}" for line in every)]) + "\n"


def _mermaid(line: Line, ids: dict[str, str]) -> str:
    text = _plain(line.text)
    if line.what is What.VERB:
        return f"op->>pm: {text}"
    if line.service is None or line.what not in (*_COMMANDS, *_ANSWERS):
        return f"Note over pm: {text}"
    if line.what in _COMMANDS:
        return f"pm->>{ids[line.service]}: {text}"
    return f"{ids[line.service]}-->>pm: {text}"


def _plain(text: str) -> str:
    """Text as Mermaid takes it: its own marks are written as numbers, and so is the word `end`."""
    line = shortened(text, _MOST_CHARS)
    line = line.replace("#", "#35;").replace(";", "#59;").replace("#35#59;", "#35;")
    line = line.replace("<", "#lt;").replace(">", "#gt;")
    return re.sub(r"\bend\b", "#101;nd", line, flags=re.IGNORECASE)
