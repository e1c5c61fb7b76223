"""An SVG in the making: shapes, text that is measured before it is placed, and the frame around.

No scripts and no inline styles, so that it stands under a strict content security policy. Lines and
text take the colour of the page (`currentColor`); tones are chosen to be seen on light and on dark.
Every shape has a class, for pages with colours of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Final, NamedTuple

FONT: Final = "ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"

SMALL: Final = 11.5
"""Size of the lesser words, in pixels."""
TEXT: Final = 13.0

MARGIN: Final = 16.0
"""Around the whole picture, in pixels."""

TONES: Final = {
    "good": "#2e8b57",
    "bad": "#d1495b",
    "wait": "#b7791f",
    "run": "#3b7dd8",
    "pivot": "#8a63d2",
    "quiet": "#7a7f8a",
}
"""Colours with a contrast of three to one at least, on white and on black paper alike."""

_WIDTHS: Final = {
    "ijl'": 0.31,
    " fIJ/\\|:;.,!-()[]": 0.41,
    'rt"': 0.47,
    "sczxkyv_?*`L": 0.60,
    "abdeghnopqu0123456789$FETYSPBXVAK": 0.70,
    "RCZGDHNUOQw": 0.83,
    "+<>=~^#": 0.85,
    "mMWw%&@": 1.01,
}
"""Widest that these are in common fonts, as shares of the font's size."""
_WIDTH: Final = {letter: width for letters, width in _WIDTHS.items() for letter in letters}
_OTHER: Final = 1.05
_ASTRAL: Final = 1.45
_BOLD: Final = 1.12

_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def width_of(text: str, size: float = TEXT, *, bold: bool = False) -> float:
    """How wide a text is at most, in pixels."""
    ems = sum(_WIDTH.get(c, _ASTRAL if ord(c) > 0xFFFF else _OTHER) for c in text)
    return ems * size * (_BOLD if bold else 1.0)


def shortened(text: str, most: int) -> str:
    """On one line, and no longer than so many characters.

    >>> shortened("the bank is on strike", 12)
    'the bank is…'
    """
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


class Point(NamedTuple):
    """A place in the picture, in pixels from its upper left corner."""

    x: float
    y: float


class Drawing:
    """Collects shapes and knows how much room they take."""

    def __init__(self) -> None:
        self._shapes: list[str] = []
        self._right = 0.0
        self._bottom = 0.0

    # ── shapes ───────────────────────────────────────────────────────────────────────────────────

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = TEXT,
        anchor: str = "start",
        bold: bool = False,
        tone: str | None = None,
        kind: str = "word",
    ) -> None:
        """A line of text; `y` is its base line. A tone is for large or bold words only."""
        width = width_of(text, size, bold=bold)
        self._reach(x + width * {"start": 1.0, "middle": 0.5, "end": 0.0}[anchor], y + size * 0.3)
        fill = "currentColor" if tone is None else TONES[tone]
        more = ' font-weight="600"' if bold else ""
        more += "" if anchor == "start" else f' text-anchor="{anchor}"'
        more += "" if size == TEXT else f' font-size="{_n(size)}"'
        self._add(
            f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}" fill="{fill}"{more}>{_t(text)}</text>'
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        kind: str,
        round: float = 0.0,
        tone: str | None = None,
        fill: float = 0.0,
        line: float = 1.0,
        dashed: bool = False,
        title: str = "",
    ) -> None:
        """A rectangle; `fill` is how opaque it is filled, `line` how thick its border is."""
        self._reach(x + width, y + height)
        paint = "currentColor" if tone is None else TONES[tone]
        filled = f'fill="{paint}" fill-opacity="{_n(fill)}"' if fill else 'fill="none"'
        if fill == 1.0:
            filled = f'fill="{paint}"'
        border = f' stroke="{paint}" stroke-width="{_n(line)}"' if line else ""
        corners = f' rx="{_n(round)}"' if round else ""
        self._add(
            f'<rect class="{kind}" x="{_n(x)}" y="{_n(y)}" width="{_n(width)}"'
            f' height="{_n(height)}"{corners} {filled}{border}{_dashes(dashed)}',
            title,
            "rect",
        )

    def line(
        self,
        points: Iterable[tuple[float, float]],
        *,
        kind: str,
        tone: str | None = None,
        thick: float = 1.25,
        dashed: bool = False,
        faint: float = 1.0,
        title: str = "",
    ) -> None:
        """Straight from point to point."""
        places = [Point(*point) for point in points]
        for place in places:
            self._reach(*place)
        way = "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in places)
        self.path(way, kind=kind, tone=tone, thick=thick, dashed=dashed, faint=faint, title=title)

    def path(
        self,
        way: str,
        *,
        kind: str,
        tone: str | None = None,
        thick: float = 1.25,
        dashed: bool = False,
        faint: float = 1.0,
        filled: bool = False,
        title: str = "",
        through: Iterable[tuple[float, float]] = (),
    ) -> None:
        """Any way; `through` are places that it keeps between."""
        for place in through:
            self._reach(*place)
        paint = "currentColor" if tone is None else TONES[tone]
        how = f'fill="{paint}"' if filled else f'fill="none" stroke="{paint}"'
        if not filled:
            how += f' stroke-width="{_n(thick)}" stroke-linecap="round"'
        shade = "" if faint == 1.0 else f' opacity="{_n(faint)}"'
        self._add(f'<path class="{kind}" d="{way}" {how}{shade}{_dashes(dashed)}', title, "path")

    def head(
        self, x: float, y: float, *, left: bool = False, kind: str, tone: str | None = None
    ) -> None:
        """The point of an arrow."""
        back = 7.0 if left else -7.0
        way = f"M{_n(x)} {_n(y)}l{_n(back)} -4v8z"
        self.path(way, kind=kind, tone=tone, filled=True)

    def dot(
        self,
        x: float,
        y: float,
        radius: float,
        *,
        kind: str,
        tone: str | None = None,
        full: bool = True,
    ) -> None:
        """A circle."""
        self._reach(x + radius, y + radius)
        paint = "currentColor" if tone is None else TONES[tone]
        how = f'fill="{paint}"' if full else f'fill="none" stroke="{paint}" stroke-width="1.5"'
        self._add(f'<circle class="{kind}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" {how}/>')

    # ── the whole ────────────────────────────────────────────────────────────────────────────────

    def svg(self, kind: str, title: str, description: str) -> str:
        """The picture; `title` names it and `description` says in words what is to be seen."""
        width, height = _n(self._right + MARGIN), _n(self._bottom + MARGIN)
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="es-saga {kind}" role="img"'
            f' viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            f' font-family="{escape(FONT)}" font-size="{_n(TEXT)}">',
            f"<title>{_t(title)}</title>",
            f"<desc>{_t(description)}</desc>",
            *self._shapes,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"

    def _add(self, shape: str, title: str = "", element: str = "") -> None:
        """An element; the last one of an open tag may get a title, which is shown on hovering."""
        if element:
            shape += f"><title>{_t(title)}</title></{element}>" if title else "/>"
        self._shapes.append(shape)

    def _reach(self, x: float, y: float) -> None:
        self._right, self._bottom = max(self._right, x), max(self._bottom, y)


def _t(text: str) -> str:
    """Text as it may stand in XML; what no XML can have is left out."""
    return escape(_UNPRINTABLE.sub("", text), quote=False)


def _n(number: float) -> str:
    """A number as short as it may be: two digits are less than anybody sees."""
    return f"{number:.2f}".rstrip("0").rstrip(".") or "0"


def _dashes(dashed: bool) -> str:
    return ' stroke-dasharray="4 3"' if dashed else ""
