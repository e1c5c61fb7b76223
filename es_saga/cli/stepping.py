"""Stepping through a history in the terminal, with keys."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from es_saga.cli.console import console_on, escape
from es_saga.cli.moments import head_of, lines_of, standing_of

if TYPE_CHECKING:
    from rich.console import Console

    from es_saga.replay import Replay

LOOK_SECONDS: Final = 0.25
"""How often the size of the window is looked at while no key comes."""

ESCAPE_SECONDS: Final = 0.05
"""After an escape: how long the rest of a key may take."""

KEY_BYTES: Final = 64
"""Read at once: a key, or a few."""

EXIT_TERMINATED: Final = 143

_EVENTS: Final = 9
"""Lines of the list of events, where the window is large enough."""

_KEYS: Final[dict[bytes, str]] = {
    b"\x1b[C": "next",
    b"\x1bOC": "next",
    b"\x1b[B": "next",
    b"\x1bOB": "next",
    b"n": "next",
    b"l": "next",
    b"j": "next",
    b" ": "next",
    b"\x1b[D": "back",
    b"\x1bOD": "back",
    b"\x1b[A": "back",
    b"\x1bOA": "back",
    b"p": "back",
    b"h": "back",
    b"k": "back",
    b"\x1b[H": "first",
    b"\x1bOH": "first",
    b"\x1b[1~": "first",
    b"0": "first",
    b"\x1b[F": "last",
    b"\x1bOF": "last",
    b"\x1b[4~": "last",
    b"$": "last",
    b"G": "last",
    b"d": "diff",
    b"g": "go",
    b"q": "quit",
    b"\x04": "quit",
    b"\x1b": "quit",
}
"""What keys mean, as terminals send them."""

_HELP: Final = "[dim]→ n next   ← p back   g N go to   d state or changes   q quit[/]"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the reader is."""

    version: int
    diff: bool = True
    """What changed is shown; else where the saga stands."""
    digits: str | None = None
    """What was typed after `g`; None: nothing is being typed."""


def step_through(replay: Replay) -> None:
    """Show a history on the terminal until the reader has seen enough. Ctrl-C leaves it as it was.

    Raises:
        KeyboardInterrupt: Ctrl-C; the terminal is as it was before.
    """
    console = console_on(sys.stdout)
    with _keyboard(sys.stdin.fileno()) as keyboard, _screen():
        place: Place | None = Place(1)
        drawn: object = None
        while place is not None:
            size = shutil.get_terminal_size()
            if drawn != (place, size):
                drawn = (place, size)
                _draw(console, replay, place, size)
            for key in _keys(keyboard):
                place = move(place, key, len(replay)) if place is not None else None


def move(place: Place, key: bytes, last: int) -> Place | None:
    """Where a key leads; None: out."""
    if place.digits is not None:
        return _typed(place, key, last)
    match _KEYS.get(key):
        case "next":
            return Place(min(place.version + 1, last), place.diff)
        case "back":
            return Place(max(place.version - 1, 1), place.diff)
        case "first":
            return Place(1, place.diff)
        case "last":
            return Place(last, place.diff)
        case "diff":
            return Place(place.version, not place.diff)
        case "go":
            return Place(place.version, place.diff, "")
        case "quit":
            return None
        case _:
            return place


def _typed(place: Place, key: bytes, last: int) -> Place:
    """A number, ended by Enter; whatever else is typed ends it, too."""
    assert place.digits is not None, "a number is being typed"
    if key.isdigit():
        return Place(place.version, place.diff, (place.digits + key.decode())[: len(str(last))])
    if key in (b"\x7f", b"\x08"):
        return Place(place.version, place.diff, place.digits[:-1])
    if key in (b"\r", b"\n") and place.digits:
        return Place(min(max(int(place.digits), 1), last), place.diff)
    return Place(place.version, place.diff)


# ── the screen ───────────────────────────────────────────────────────────────────────────────────


def _draw(console: Console, replay: Replay, place: Place, size: os.terminal_size) -> None:
    lines = list(page(replay, place, size.lines))
    sys.stdout.write("\x1b[H")
    for number, line in enumerate(lines[: size.lines]):
        text = console.render_str(line, emoji=False)
        text.truncate(size.columns, overflow="ellipsis")
        with console.capture() as capture:
            console.print(text, end="", no_wrap=True, crop=True, width=size.columns)
        sys.stdout.write(capture.get() + "\x1b[K" + ("\n" if number < size.lines - 1 else ""))
    sys.stdout.write("\x1b[J")
    sys.stdout.flush()


def page(replay: Replay, place: Place, height: int) -> Iterator[str]:
    """What is on the screen, line by line."""
    moment, origin = replay.at(place.version), replay.state.origin
    title = f"[bold]{escape(replay.saga_id)}[/]  {escape(origin.saga_type)} v{origin.definition}"
    yield f"{title}  event {place.version} of {len(replay)}"
    yield ""
    shown = max(1, min(_EVENTS, height // 3))
    first = max(1, min(place.version - shown // 2, len(replay) - shown + 1))
    for other in replay.moments[first - 1 : first - 1 + shown]:
        mark = "[bold]→[/]" if other.version == place.version else " "
        yield f"{mark} {head_of(other, replay)}"
    yield ""
    yield f"[dim]decided on[/]  {escape(moment.reaction.what)}"
    yield ""
    room = max(1, height - shown - 7)
    details = list(lines_of(moment) if place.diff else standing_of(moment.after))
    if len(details) <= room:
        yield from details
    else:
        yield from details[: room - 1]
        yield f"[dim]and {len(details) - room + 1} lines more[/]"
    yield ""
    yield f"go to event {place.digits}_" if place.digits is not None else _HELP


@contextmanager
def _screen() -> Generator[None, None, None]:
    """A screen of our own, without a cursor; what was there before comes back."""
    sys.stdout.write("\x1b[?1049h\x1b[?25l\x1b[2J")
    try:
        yield
    finally:
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()


# ── the keyboard ─────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _keyboard(file: int) -> Generator[int, None, None]:
    """Keys as they are pressed; Ctrl-C still interrupts."""
    import termios
    import tty

    before = termios.tcgetattr(file)
    ended = signal.signal(signal.SIGTERM, _end)
    try:
        tty.setcbreak(file)
        ours = termios.tcgetattr(file)
        ours[6][termios.VSUSP] = b"\0"  # whoever stops us would be left with our screen
        termios.tcsetattr(file, termios.TCSADRAIN, ours)
        yield file
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTERM, ended)


def _end(_signal: int, _frame: object) -> None:
    """Told to end: on the way out the terminal becomes what it was."""
    raise SystemExit(EXIT_TERMINATED)


def _keys(file: int) -> list[bytes]:
    """The keys that were pressed; none, if none was for a while."""
    if not select.select([file], [], [], LOOK_SECONDS)[0]:
        return []
    read = os.read(file, KEY_BYTES)
    if not read:
        return [b"q"]  # nobody is there any more
    while _BEGUN.search(read) and select.select([file], [], [], ESCAPE_SECONDS)[0]:
        more = os.read(file, KEY_BYTES)
        if not more:
            break
        read += more
    return list(split(read))


def split(read: bytes) -> Iterator[bytes]:
    """Bytes as keys: a few may have come at once, and one may take several.

    >>> list(split(b"n\\x1b[C\\x1b[5~q"))
    [b'n', b'\\x1b[C', b'\\x1b[5~', b'q']
    """
    return (match[0] for match in _KEY.finditer(read))


_KEY: Final = re.compile(rb"\x1b\[[0-9;?]*[@-~]|\x1bO[@-~]|[\x00-\xff]", re.DOTALL)
_BEGUN: Final = re.compile(rb"\x1b(\[[0-9;?]*|O)?$")
"""A key of which more may come."""
