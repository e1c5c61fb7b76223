"""What a terminal shows: nothing is lost, nothing is cut, and nobody's text is taken for markup."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from es_saga.cli import main
from es_saga.cli.console import Output, escape, put, say, show
from es_saga.cli.table import Column
from es_saga.projections.audit import AuditView
from es_saga.projections.status import StatusView
from tests.cli.conftest import Cli
from tests.projections.logs import Told, appends, write

TOLD = Told(["order/refused", "order/stuck_and_retried"], [(0, 99), (1, 17)], 8_001)
ODD = "[bold]a[/bold] :cat: [A-7] <b>x</b>"


class Screen(io.StringIO):
    """Where a terminal would be."""

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", self.getvalue())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a log of an undone saga, and one that is stuck at an undo."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    write(url, [StatusView(), AuditView()], *([one] for one in appends(TOLD)), migrate=True)
    return tmp_path


@pytest.fixture(params=[80, 120])
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal that is so wide; see `on`."""
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Screen()


@contextlib.contextmanager
def on(screen: Screen) -> Generator[None, None, None]:
    """Standard output and standard error are that terminal."""
    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
        yield


def width(screen: Screen) -> int:
    return max(map(len, screen.shown.splitlines()))


def run(screen: Screen, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["es-saga", *words])
    with on(screen), contextlib.suppress(SystemExit):
        main()


UNDONE, STUCK = TOLD.id_of(0), TOLD.id_of(1)
COMMANDS = (
    ("list",),
    ("status", STUCK),
    ("status", "nobody"),
    ("history", STUCK),
    ("replay", STUCK, "--diff"),
    ("replay", STUCK, "--to", "12"),
    ("compare", UNDONE, STUCK),
    ("health",),
    ("doctor",),
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_line_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, screen: Screen, data: Path, words: tuple[str, ...]
) -> None:
    run(screen, monkeypatch, *words, "--data", str(data))

    assert width(screen) <= int(os.environ["COLUMNS"])
    assert "\x1b[" in screen.getvalue()


@pytest.mark.parametrize("words", [("replay", STUCK, "--diff"), ("replay", STUCK, "--to", "1")])
def test_a_narrow_terminal_loses_nothing(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, screen: Screen, data: Path, words: tuple[str, ...]
) -> None:
    run(screen, monkeypatch, *words, "--data", str(data))
    whole = cli(*words, data=data).out

    assert width(screen) < max(map(len, whole.splitlines()))
    assert screen.shown.split() == whole.split()


def test_what_there_is_no_room_for_goes_on_below_and_indented(screen: Screen) -> None:
    with on(screen):
        put(f"input    {'word ' * 40}", hang=9)

    first, *more = screen.shown.splitlines()
    assert first.startswith("input    word word")
    assert more
    assert {line[:10] for line in more} == {" " * 9 + "w"}


def test_text_is_not_taken_for_markup_or_a_picture(screen: Screen) -> None:
    with on(screen):
        put(escape(ODD))
        say(escape(ODD))
        show([{"what": ODD}], Output.TABLE, (Column("what", folds=True),))

    assert [line.rstrip() for line in screen.shown.splitlines()] == [ODD, ODD, "what", ODD]


def test_status_tells_why_a_saga_is_stuck_and_what_to_do(cli: Cli, data: Path) -> None:
    told = cli("status", STUCK, data=data)

    assert "stuck    the compensation of reserve failed: Rejected\n" in told.out
    assert f"es-saga retry {STUCK} --reason … --dry-run" in told.err
