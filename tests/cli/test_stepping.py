"""Stepping through a history with keys, on a terminal that is one."""

from __future__ import annotations

import doctest
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Generator
from typing import Any

import pytest

from es_saga.cli import stepping
from es_saga.cli.stepping import Place, move, page, split
from tests.cli.conftest import REPOSITORY, environment
from tests.histories.record import file_of
from tests.replay.recorded import recorded

HISTORY = file_of("order/timed_out")
LAST = 24
PATIENCE_SECONDS = 30.0


class Terminal:
    """`es-saga replay` on a pseudo-terminal."""

    def __init__(self, *options: str, columns: int = 100, lines: int = 30) -> None:
        self._ours, self._theirs = pty.openpty()
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, size)
        self.before = self.modes()
        kept = {k: v for k, v in environment().items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "es_saga", "replay", str(HISTORY), *options],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env=kept | {"TERM": "xterm-256color"},
            cwd=REPOSITORY,
            start_new_session=True,
            preexec_fn=self._control,
        )
        self.shown = ""
        """Since the last key."""
        self._before = ""

    def _control(self) -> None:
        fcntl.ioctl(self._theirs, termios.TIOCSCTTY, 0)

    def modes(self) -> list[Any]:
        """Echo, line by line, and so on."""
        return termios.tcgetattr(self._theirs)

    def press(self, keys: bytes) -> None:
        """Type."""
        self._before += self.shown
        self.shown = ""
        os.write(self._ours, keys)

    def sees(self, text: str) -> str:
        """What the screen has once this is on it."""
        end = time.monotonic() + PATIENCE_SECONDS
        while text not in plain(self.shown):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._ours], [], [], left)[0]:
                raise AssertionError(f"{text!r} never came: {plain(self.shown)}")
            try:
                self.shown += os.read(self._ours, 65_536).decode(errors="replace")
            except OSError as error:
                raise AssertionError(f"it ended: {plain(self.shown)}") from error
        return plain(self.shown)

    def ends(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE_SECONDS)

    def rest(self) -> str:
        """What it has written until it ended."""
        while select.select([self._ours], [], [], 0)[0]:
            self.shown += os.read(self._ours, 65_536).decode(errors="replace")
        return self.shown

    @property
    def all(self) -> str:
        """Everything that was ever shown."""
        return self._before + self.rest()

    def close(self) -> None:
        """End it, whatever it is doing."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


def plain(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


@pytest.fixture
def terminal() -> Generator[Terminal]:
    opened = Terminal()
    yield opened
    opened.close()


@pytest.mark.requirement("R083")
def test_keys_lead_forward_back_and_anywhere(terminal: Terminal) -> None:
    first = terminal.sees("q quit")
    assert "event 1 of 24" in first
    assert "decided on  order is started" in first
    terminal.press(b"\x1b[C")
    assert "event 2 of 24" in terminal.sees("send CreateOrder")
    terminal.press(b"nn")
    terminal.sees("event 4 of 24")
    terminal.press(b"\x1b[D")
    terminal.sees("event 3 of 24")
    terminal.press(b"p")
    terminal.sees("event 2 of 24")
    terminal.press(b"g14\r")
    assert "status  running → compensating" in terminal.sees("backward  false → true")
    terminal.press(b"d")
    assert "reason  timed out at ship" in terminal.sees("ship     unknown attempt 3 timed out")
    terminal.press(b"q")
    assert terminal.ends() == 0
    assert terminal.modes() == terminal.before


def test_the_screen_and_the_cursor_come_back(terminal: Terminal) -> None:
    terminal.sees("q quit")
    assert "\x1b[?1049h" in terminal.shown
    assert "\x1b[?25l" in terminal.shown
    terminal.press(b"q")
    assert terminal.ends() == 0
    assert "\x1b[?1049l" in terminal.rest()
    assert terminal.modes() == terminal.before


def test_ctrl_c_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    terminal.sees("q quit")
    assert terminal.modes() != terminal.before
    terminal.press(b"\x03")
    assert terminal.ends() == 130
    assert terminal.modes() == terminal.before
    assert "\x1b[?1049l" in terminal.rest()
    assert "Traceback" not in terminal.shown


def test_being_told_to_end_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    terminal.sees("q quit")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.ends() == 143
    assert terminal.modes() == terminal.before
    assert "\x1b[?1049l" in terminal.rest()


def test_a_small_window_is_not_overrun() -> None:
    small = Terminal(columns=40, lines=12)
    try:
        small.sees("event 1 of 24")
        small.press(b"n")
        small.sees("event 2 of 24")
        small.press(b"q")
        assert small.ends() == 0
        screens = small.all.split("\x1b[H")[1:]
        assert len(screens) == 2
        for screen in screens:
            lines = plain(screen).split("\r\n")
            assert len(lines) == 12
            assert max(map(len, lines)) <= 40
    finally:
        small.close()


@pytest.mark.parametrize("options", [("--diff",), ("-o", "jsonl"), ("--to", "3"), ("-q",)])
def test_who_asks_for_something_gets_it_without_keys(options: tuple[str, ...]) -> None:
    asked = Terminal(*options)
    try:
        asked.sees("StepSucceeded")
        assert asked.ends() == 0
        assert "\x1b[?1049h" not in asked.shown
    finally:
        asked.close()


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────


def test_examples_in_the_documentation_are_true() -> None:
    found = doctest.testmod(stepping)
    assert found.attempted
    assert not found.failed


def pressed(keys: bytes, at: int = 1) -> Place | None:
    """Where keys lead from an event."""
    place: Place | None = Place(at)
    for key in split(keys):
        assert place is not None, "there is nobody there any more"
        place = move(place, key, LAST)
    return place


@pytest.mark.parametrize(
    ("keys", "version"),
    [
        (b"n", 6),
        (b" ", 6),
        (b"\x1bOC", 6),
        (b"p", 4),
        (b"\x1bOD", 4),
        (b"n" * 99, LAST),
        (b"p" * 99, 1),
        (b"G", LAST),
        (b"\x1b[F", LAST),
        (b"0", 1),
        (b"\x1b[H", 1),
        (b"g7\r", 7),
        (b"g99\r", LAST),
        (b"g0\r", 1),
        (b"g12\x7f\r", 1),
        (b"g1x", 5),
        (b"g\r", 5),
        (b"gn", 5),
        (b"g7\x1b[C", 5),
        (b"\x1b[5~x\xc3\xa9\x00", 5),
    ],
)
def test_every_key_leads_somewhere_or_nowhere(keys: bytes, version: int) -> None:
    place = pressed(keys, 5)
    assert place is not None
    assert place.version == version
    assert place.digits is None


@pytest.mark.parametrize("key", [b"q", b"\x1b", b"\x04"])
def test_some_keys_lead_out(key: bytes) -> None:
    assert pressed(key) is None


def test_no_more_digits_are_taken_than_there_can_be() -> None:
    place = pressed(b"g123456")
    assert place is not None
    assert place.digits == "12"


def test_one_key_changes_what_is_shown_and_changes_it_back() -> None:
    assert pressed(b"d") == Place(1, diff=False)
    assert pressed(b"dn") == Place(2, diff=False)
    assert pressed(b"dd") == Place(1)


# ── the page ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("height", [5, 12, 24, 60])
@pytest.mark.parametrize("version", [1, 2, 12, LAST])
def test_the_present_event_is_always_on_the_page(height: int, version: int) -> None:
    lines = list(page(recorded("order/timed_out"), Place(version), height))
    (marked,) = [line for line in lines if line.startswith("[bold]→[/]")]
    assert f"{version:>2}  " in marked
    assert len(lines) <= max(height, 10)


def test_what_is_too_long_for_the_page_is_counted() -> None:
    lines = list(page(recorded("order/timed_out"), Place(1), 12))
    assert any("lines more" in line for line in lines)
    typing = list(page(recorded("order/timed_out"), Place(1, digits="1"), 30))
    assert typing[-1] == "go to event 1_"
