"""What every command shares: words on stderr, data on stdout in three forms, exit codes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from es_saga.cli.table import Column
    from es_saga.core.errors import SagaError

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_NOT_FOUND = 3
EXIT_ILLEGAL = 4
EXIT_UNREACHABLE = 5
EXIT_FINDING = 6
EXIT_TIMED_OUT = 7
EXIT_INTERRUPTED = 130

_CODES = {
    "invalid-input": EXIT_USAGE,
    "not-found": EXIT_NOT_FOUND,
    "illegal-state": EXIT_ILLEGAL,
    "conflict": EXIT_ILLEGAL,
    "unavailable": EXIT_UNREACHABLE,
    "not-prepared": EXIT_UNREACHABLE,
    "bad-definition": EXIT_FINDING,
    "corrupt-history": EXIT_FINDING,
}


MAX_CELL_CHARS = 160
"""What a table shows of an input, a reply or a reason; `-o json` has it whole."""


class Output(StrEnum):
    """The forms that data can have on stdout."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


class _Voice:
    """How this process talks: `-q` is said once, and holds for everything it prints."""

    quiet = False


def _be_quiet(value: bool) -> bool:
    _Voice.quiet = value
    return value


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Form of the data on stdout.")]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder of everything embedded.", show_default=False)
]
DatabaseOption = Annotated[
    str | None, typer.Option("--database", help="URL of the log's database.", show_default=False)
]
NatsOption = Annotated[
    str | None, typer.Option("--nats", help="URL of the NATS server.", show_default=False)
]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", help="Whose subjects to use.", show_default=False)
]
AppOption = Annotated[
    str | None, typer.Option("--app", help="Name of the running app.", show_default=False)
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Data and errors only, no colour.", callback=_be_quiet),
]
"""Acts by its callback: functions take it and need not look at it."""


# ── words ────────────────────────────────────────────────────────────────────────────────────────


def exit_code(error: SagaError) -> int:
    """The exit code that an error means."""
    return _CODES.get(error.code, EXIT_FAILURE)


def explain(error: SagaError) -> None:
    """Say what went wrong and what to do, on stderr."""
    complain(error.message, error.hint)


def complain(message: str, hint: str = "") -> None:
    """An error for people: also under `-q`."""
    console = console_on(sys.stderr)
    console.print(f"[bold red]error[/] {escape(message)}")
    if hint:
        console.print(f"[dim]hint[/]  {escape(hint)}")


def escape(text: str) -> str:
    """Text that is not markup."""
    from rich.markup import escape as escape_markup

    return escape_markup(text)


def say(text: str, *, quiet: bool = False) -> None:
    """A remark to people: stderr, with colour only on a terminal, and not under `-q`."""
    if not (quiet or _Voice.quiet):
        console_on(sys.stderr).print(text)


def console_on(file: Any) -> Console:
    """A console on stdout or stderr; without any escapes off a terminal, under NO_COLOR or `-q`."""
    from rich.console import Console

    console = Console(file=file, highlight=False, emoji=False)
    if console.no_color or _Voice.quiet:
        console = Console(file=file, highlight=False, emoji=False, color_system=None)
    console.soft_wrap = not console.is_terminal  # a terminal would break words, programs want lines
    return console


def put(line: str, *, hang: int = 0) -> None:
    """A line to stdout; what a terminal has no room for goes on below, `hang` characters in."""
    from rich.text import Text

    console = console_on(sys.stdout)
    text = Text.from_markup(line, emoji=False)
    if not console.is_terminal:
        console.print(text)
        return
    head, body = text[:hang], text[hang:]
    for part in body.wrap(console, max(1, console.width - hang)):
        console.print(head.append_text(part))
        head = Text(" " * hang)


# ── data ─────────────────────────────────────────────────────────────────────────────────────────


def show(
    rows: Iterable[Mapping[str, Any]],
    output: Output,
    columns: Sequence[str | Column] | None = None,
    *,
    styles: Callable[[str, Any], str] | None = None,
) -> None:
    """Rows to stdout: a table of `columns`, or all fields as JSON or JSON lines."""
    found = [dict(row) for row in rows]
    if output is Output.JSON:
        sys.stdout.write(_json(found, indent=2) + "\n")
    elif output is Output.JSONL:
        sys.stdout.writelines(_json(row) + "\n" for row in found)
    elif found:
        from es_saga.cli.table import table

        console = console_on(sys.stdout)
        for line in table(console, found, columns or list(found[0]), markup=styles or _plain):
            console.print(line)
    sys.stdout.flush()


def show_one(row: Mapping[str, Any], output: Output) -> None:
    """One object to stdout, as JSON."""
    sys.stdout.write(_json(dict(row), indent=None if output is Output.JSONL else 2) + "\n")
    sys.stdout.flush()


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, default=str, ensure_ascii=False)


def _plain(_column: str, value: Any) -> str:
    return escape(text_of(value))


def text_of(value: Any) -> str:
    """A cell's text."""
    return "" if value is None else str(value)


def short(text: str) -> str:
    """Text as one line of a table."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_CELL_CHARS else f"{line[: MAX_CELL_CHARS - 1]}…"


def clock(at: float | None) -> str:
    """A time of day with milliseconds, in the local zone."""
    return "" if at is None else f"{_local(at):%H:%M:%S.%f}"[:-3]


def moment(at: float | None) -> str:
    """A date and time to the second, in the local zone."""
    return "" if at is None else f"{_local(at):%Y-%m-%d %H:%M:%S}"


def seconds(text: str | None) -> float | None:
    """A span of time as people write it.

    Raises:
        InvalidInput: it is none.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([smhd])", text)
    if match is None:
        from es_saga.core.errors import InvalidInput

        raise InvalidInput(f"{text!r} is no span of time.", hint="Write 30s, 15m, 1h or 7d.")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[match[2]]


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone()


STATUS_STYLE = {
    "running": "cyan",
    "waiting": "cyan",
    "compensating": "yellow",
    "stuck": "bold red",
    "completed": "green",
    "compensated": "blue",
    "compensated-with-exceptions": "magenta",
}


def styled_status(status: str) -> str:
    """A saga's status in its colour."""
    return f"[{STATUS_STYLE.get(status, 'default')}]{status}[/]"
