"""What every command shares: options, output in three forms, errors as exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from es_saga.core.errors import SagaError

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_NOT_FOUND = 3
EXIT_ILLEGAL = 4
EXIT_UNREACHABLE = 5
EXIT_FINDING = 6
EXIT_TIMED_OUT = 7

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


class Output(StrEnum):
    """The forms that data can have on stdout."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


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
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Data only, nothing else.")]


def exit_code(error: SagaError) -> int:
    """The exit code that an error means."""
    return _CODES.get(error.code, EXIT_FAILURE)


def explain(error: SagaError) -> None:
    """Say what went wrong and what to do, on stderr."""
    say(f"[bold red]error[/] {escape(error.message)}")
    if error.hint:
        say(f"[dim]hint[/]  {escape(error.hint)}")


def escape(text: str) -> str:
    """Text that is not markup."""
    from rich.markup import escape as escape_markup

    return escape_markup(text)


def say(text: str, *, quiet: bool = False) -> None:
    """A remark to people: stderr, with colour only on a terminal."""
    if quiet:
        return
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(text)


def show(
    rows: Iterable[Mapping[str, Any]],
    output: Output,
    columns: Sequence[str] | None = None,
    *,
    styles: Callable[[str, Any], str] | None = None,
) -> None:
    """Rows to stdout: a table of `columns`, or all fields as JSON or JSON lines."""
    found = [dict(row) for row in rows]
    if output is Output.JSON:
        sys.stdout.write(json.dumps(found, indent=2, default=str) + "\n")
    elif output is Output.JSONL:
        sys.stdout.writelines(json.dumps(row, default=str) + "\n" for row in found)
    else:
        _table(found, columns or (list(found[0]) if found else []), styles)


def show_one(row: Mapping[str, Any], output: Output) -> None:
    """One object to stdout, as JSON."""
    indent = None if output is Output.JSONL else 2
    sys.stdout.write(json.dumps(dict(row), indent=indent, default=str) + "\n")


def _table(
    rows: list[dict[str, Any]],
    columns: Sequence[str],
    styles: Callable[[str, Any], str] | None,
) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(
            *(
                styles(column, row.get(column)) if styles else escape(text_of(row.get(column)))
                for column in columns
            )
        )
    console.print(table)


def text_of(value: Any) -> str:
    """A cell's text."""
    return "" if value is None else str(value)


def clock(seconds: float | None) -> str:
    """A time of day with milliseconds, in the local zone."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]


def moment(seconds: float | None) -> str:
    """A date and time to the second, in the local zone."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


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
    return f"[{STATUS_STYLE.get(status, 'white')}]{status}[/]"
