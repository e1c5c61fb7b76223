"""Times, spans and data as a page shows them.

Times are in the reader's zone: the browser says which in a cookie, and until it has, they are UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

MAX_DATA_CHARS: Final = 20_000
"""What a page shows of one payload; the API has it whole."""

MAX_GIST_CHARS: Final = 160
"""The same of it on one line."""

_DAY = 86_400


def zone(name: str | None) -> tzinfo:
    """The time zone of that name; UTC where there is none.

    >>> str(zone("Europe/London")), str(zone("../etc/passwd"))
    ('Europe/London', 'UTC')
    """
    try:
        return ZoneInfo(name) if name else UTC
    except (ValueError, OSError):  # no such zone, or no database of zones: ZoneInfoNotFoundError
        return UTC


def clock(seconds: float, where: tzinfo) -> str:
    """The time of day.

    >>> clock(1_700_000_000.25, UTC)
    '22:13:20.250'
    """
    return datetime.fromtimestamp(seconds, where).strftime("%H:%M:%S.%f")[:-3]


def moment(seconds: float, where: tzinfo) -> str:
    """Day and time, with the zone's name.

    >>> moment(1_700_000_000.25, UTC)
    '2023-11-14 22:13:20 UTC'
    """
    return datetime.fromtimestamp(seconds, where).strftime("%Y-%m-%d %H:%M:%S %Z")


def span(seconds: float | None) -> str:
    """How long something took, in the unit that suits.

    >>> [span(s) for s in (0.0004, 0.0123, 1.25, 75, 3700, 200_000)]
    ['0 ms', '12 ms', '1.2 s', '1 min 15 s', '1 h 1 min', '2 d 7 h']
    """
    if seconds is None:
        return "\N{EN DASH}"
    if seconds < 0:
        return f"\N{MINUS SIGN}{span(-seconds)}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    for unit, upper, size, lower in (("min", 3_600, 60, "s"), ("h", _DAY, 3_600, "min")):
        if seconds < upper:
            rest = int(seconds % size // (size // 60))
            return f"{int(seconds // size)} {unit}{f' {rest} {lower}' if rest else ''}"
    hours = int(seconds % _DAY // 3_600)
    return f"{int(seconds // _DAY)} d{f' {hours} h' if hours else ''}"


def age(seconds: float) -> str:
    """How long ago, roughly. `app.js` says the same as time goes by.

    >>> [age(s) for s in (-3, 0.4, 59, 61, 7_300, 90_000)]
    ['in 3 s', 'now', '59 s ago', '1 min ago', '2 h ago', '1 d ago']
    """
    if -1 < seconds < 1:
        return "now"
    rough = abs(seconds)
    text = next(
        f"{int(rough // size)} {unit}"
        for size, unit in ((_DAY, "d"), (3_600, "h"), (60, "min"), (1, "s"))
        if rough >= size
    )
    return f"in {text}" if seconds < 0 else f"{text} ago"


def number(value: float) -> str:
    """With a thin space between thousands.

    >>> number(1234567)
    '1\\u202f234\\u202f567'
    """
    return f"{value:,.0f}".replace(",", "\u202f")


def rate(per_minute: float) -> str:
    """Three digits, no more.

    >>> [rate(r) for r in (0, 0.25, 12.5, 1250)]
    ['0', '0.25', '12.5', '1\\u202f250']
    """
    return number(per_minute) if per_minute >= 100 or not per_minute else f"{per_minute:.3g}"


def on_one_line(value: object, limit: int = MAX_GIST_CHARS) -> str:
    """Data or text, shortened.

    >>> on_one_line({"sku": "tea", "n": 2}), on_one_line("a\\nb")
    ('sku tea, n 2', 'a b')
    """
    if isinstance(value, Mapping):
        pairs = cast(Mapping[str, Any], value).items()
        text = ", ".join(f"{key} {_bare(item)}" for key, item in pairs)
    else:
        text = value if isinstance(value, str) else _bare(value)
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _bare(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def marked(text: str) -> Markup:
    """A sentence of ours, in which what stands between backticks is code.

    >>> print(marked("Start it with `es-saga ui APP`, not <so>."))
    Start it with <code>es-saga ui APP</code>, not &lt;so&gt;.
    """
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # one too many: they mean something else
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if index % 2 else escape(piece)
        for index, piece in enumerate(pieces)
    )


def data(value: object) -> Markup:
    """Data as indented JSON, with its parts marked for the style sheet; everything is escaped.

    >>> print(data({"<b>": [1]}))
    {
      <span class="k">&#34;&lt;b&gt;&#34;</span>: [
        <span class="n">1</span>
      ]
    }
    """
    size, shown = 0, list[Markup]()
    for piece in _pieces(value, ""):
        size += len(piece)
        if size > MAX_DATA_CHARS:
            shown.append(Markup('\n<span class="x">… the rest is in the API</span>'))
            break
        shown.append(piece)
    return Markup("").join(shown)


def _pieces(value: object, indent: str) -> Iterator[Markup]:
    deeper = f"{indent}  "
    if isinstance(value, Mapping) and value:
        yield Markup("{\n")
        pairs = cast(Mapping[str, Any], value)
        for index, (key, item) in enumerate(pairs.items()):
            name = json.dumps(str(key), ensure_ascii=False)
            yield escape(f"{',' * bool(index)}{chr(10) * bool(index)}{deeper}")
            yield Markup('<span class="k">{}</span>: ').format(name)
            yield from _pieces(item, deeper)
        yield escape(f"\n{indent}}}")
    elif isinstance(value, list | tuple) and value:
        yield Markup("[\n")
        for index, item in enumerate(cast("list[Any]", value)):
            yield escape(f"{',' * bool(index)}{chr(10) * bool(index)}{deeper}")
            yield from _pieces(item, deeper)
        yield escape(f"\n{indent}]")
    else:
        plain = value is None or isinstance(value, bool)
        kind = "s" if isinstance(value, str) else "x" if plain else "n"
        text = json.dumps(value, ensure_ascii=False, default=str)
        yield Markup('<span class="{}">{}</span>').format(kind, text[:MAX_DATA_CHARS])
