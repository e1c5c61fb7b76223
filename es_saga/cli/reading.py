"""Commands that look at sagas: list, status, history, wait."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from es_saga.cli.console import (
    EXIT_FAILURE,
    EXIT_TIMED_OUT,
    DatabaseOption,
    DataOption,
    Output,
    OutputOption,
    QuietOption,
    clock,
    console_on,
    escape,
    moment,
    say,
    show,
    show_one,
    styled_status,
    text_of,
)

if TYPE_CHECKING:
    from es_saga.config import Settings
    from es_saga.projections.queries import AuditRow, Queries, SagaRow

WATCH_SECONDS: Final = 1.0
"""How often `--watch` looks."""

MAX_CELL_CHARS: Final = 160
"""What a table shows of an input, a reply or a reason; `-o json` has it whole."""

MAX_ROWS: Final = 1_000

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A saga's id.")]


class Status(StrEnum):
    """The statuses a saga can have."""

    RUNNING = "running"
    WAITING = "waiting"
    COMPENSATING = "compensating"
    STUCK = "stuck"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    COMPENSATED_WITH_EXCEPTIONS = "compensated-with-exceptions"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list", epilog="Example: es-saga list --status stuck --since 1h")(list_sagas)
    app.command(epilog="Example: es-saga status order-1")(status)
    app.command(epilog="Example: es-saga history order-1 -o jsonl")(history)
    app.command(epilog="Example: es-saga wait order-1 --timeout 30")(wait)


# ── list ─────────────────────────────────────────────────────────────────────────────────────────


def list_sagas(
    status: Annotated[
        Status | None, typer.Option("--status", help="Only these.", show_default=False)
    ] = None,
    type: Annotated[
        str | None, typer.Option("--type", help="Only of this type.", show_default=False)
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Only with this business key.", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Changed within: 30s, 15m, 1h, 7d.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(help="Rows at most.", min=1, max=MAX_ROWS)] = 50,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on: on a terminal the list, else what changes.")
    ] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Sagas, the most recently changed first."""
    from es_saga.cli import compose
    from es_saga.config import load

    span = _seconds(since)
    found = compose.queries(load(data=data, database=database))

    def look() -> list[SagaRow]:
        return found.sagas(
            status=None if status is None else status.value,
            saga_type=type,
            business_id=key,
            since=None if span is None else time.time() - span,
            limit=limit,
        )

    if watch:
        _watch(look, output)
    rows = look()
    _show_list(rows, output)
    if not rows:
        say("no sagas")
    elif len(rows) == limit:
        say(f"[dim]the latest {limit}; --limit shows more[/]")


def _watch(look: Any, output: Output) -> None:
    """Show what there is, again and again; ends with Ctrl-C."""
    live = output is Output.TABLE and console_on(sys.stdout).is_terminal
    seen: dict[str, int] = {}
    while True:
        rows: list[SagaRow] = look()
        if live:
            sys.stdout.write("\x1b[H\x1b[2J")
            _show_list(rows[: _terminal_rows()], output)
            say(f"[dim]{len(rows)} sagas at {clock(time.time())[:8]}; Ctrl-C ends[/]")
        else:
            news = [row for row in reversed(rows) if seen.get(row.saga_id) != row.version]
            form = Output.JSONL if output is Output.JSON else output
            _show_list(news, form)
            seen = {row.saga_id: row.version for row in rows}
        time.sleep(WATCH_SECONDS)


def _terminal_rows() -> int:
    """Sagas that a screen has room for, below the head and above the remark."""
    return max(1, console_on(sys.stdout).height - 3)


def _show_list(rows: Iterable[SagaRow], output: Output) -> None:
    if output is not Output.TABLE:
        show((asdict(row) for row in rows), output)
        return
    from es_saga.cli.table import Column

    columns = (
        "saga_id",
        Column("type", optional=True),
        "status",
        Column("current", folds=True, optional=True),
        Column("reason", folds=True),
        Column("version", optional=True, right=True),
        Column("updated", optional=True),
    )
    show(map(_line, rows), output, columns, styles=_style)


def _line(row: SagaRow) -> dict[str, Any]:
    reason = f"{row.reason_step}: {row.reason}" if row.reason_step else row.reason
    return {
        "saga_id": row.saga_id,
        "type": row.type,
        "status": row.status,
        "current": ", ".join(row.current),
        "reason": _short(reason or ""),
        "version": row.version,
        "updated": moment(row.updated),
    }


def _style(column: str, value: Any) -> str:
    return styled_status(value) if column == "status" else escape(text_of(value))


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([smhd])", text)
    if match is None:
        from es_saga.core.errors import InvalidInput

        raise InvalidInput(f"{text!r} is no span of time.", hint="Write 30s, 15m, 1h or 7d.")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[match[2]]


# ── status ───────────────────────────────────────────────────────────────────────────────────────


def status(
    saga_id: IdArgument,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Where one saga stands, step by step."""
    from es_saga.cli import compose
    from es_saga.config import load

    row = compose.queries(load(data=data, database=database)).status(saga_id)
    if output is not Output.TABLE:
        show_one(asdict(row), output)
        return
    _show_head(row)
    if row.steps:
        _show_steps(row)
    if row.status == "stuck":
        say(f"It needs a human: see `es-saga history {row.saga_id}`, then retry, skip or resolve.")


def _show_head(row: SagaRow) -> None:
    console = console_on(sys.stdout)
    console.print(
        f"[bold]{row.saga_id}[/]  {escape(row.type)} v{row.definition}  {styled_status(row.status)}"
    )
    span = "" if row.closed is None else f", closed after {row.closed - row.created:.3f} s"
    console.print(f"[dim]started[/]  {moment(row.created)}{span}")
    console.print(f"[dim]input[/]    {escape(_short(_json(row.payload)))}")
    if row.reason:
        where = f" at {escape(row.reason_step)}" if row.reason_step else ""
        console.print(f"[dim]reason[/]   [yellow]{escape(_short(row.reason))}[/]{where}")
    for exception in row.exceptions:
        what = f"{exception['step']}: {_short(exception['error'])}"
        console.print(f"[dim]owed[/]     [magenta]{escape(what)}[/]")
    console.print()


def _show_steps(row: SagaRow) -> None:
    from es_saga.cli.table import Column

    steps: list[dict[str, Any]] = [
        {
            "step": name,
            "status": step["status"],
            "attempt": step["attempt"],
            "started": clock(step["started"]),
            "ended": clock(step.get("ended")),
            "undo": _undo(step).get("status", ""),
            "result": _short(_result(step)),
        }
        for name, step in row.steps.items()
    ]
    columns = (
        "step",
        "status",
        Column("undo"),
        Column("result", folds=True),
        "started",
        Column("ended", optional=True),
        Column("attempt", optional=True, right=True),
    )
    show(steps, Output.TABLE, columns)


def _undo(step: Mapping[str, Any]) -> Mapping[str, Any]:
    undo: Mapping[str, Any] | None = step.get("undo")
    return undo or {}


def _result(step: Mapping[str, Any]) -> str:
    """What a step answered, or why not; what its undo came to grief at comes first."""
    trouble = _undo(step).get("error")
    if trouble:
        return f"undo: {trouble}"
    return _json(step["reply"]) if "reply" in step else step.get("error", "")


# ── history ──────────────────────────────────────────────────────────────────────────────────────


def history(
    saga_id: IdArgument,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Everything that happened to one saga, in order."""
    from es_saga.cli import compose
    from es_saga.config import load

    rows = list(_whole(compose.queries(load(data=data, database=database)), saga_id))
    if output is not Output.TABLE:
        show((asdict(row) for row in rows), output)
        return
    from es_saga.cli.table import Column

    shown = [
        {
            "#": row.version,
            "at": clock(row.at),
            "event": row.kind,
            "step": row.step,
            "what": _short(_told(row)),
            "cause": _cause(row),
        }
        for row in rows
    ]
    columns = (
        Column("#", right=True),
        "at",
        "event",
        "step",
        Column("what", folds=True),
        Column("cause", optional=True),
    )
    show(shown, output, columns)


def _whole(found: Queries, saga_id: str) -> Iterator[AuditRow]:
    """A history of any length, page by page."""
    after = 0
    while page := found.history(saga_id, after=after):
        yield from page
        after = page[-1].version


def _told(row: AuditRow) -> str:
    """An event on one line; one that this release cannot read, as it is."""
    from es_saga.adapters.codec import decode
    from es_saga.core.errors import CorruptHistory
    from es_saga.core.gist import gist

    payload = _json(row.payload)
    try:
        return gist(decode(row.kind, payload.encode()))
    except CorruptHistory:
        return payload


def _cause(row: AuditRow) -> str:
    """Who or what led to an event, without the saga's own id that every message id begins with."""
    if row.actor:
        return row.actor
    if row.cause is None:
        return "timer"
    cause = row.cause.removeprefix(f"{row.saga_id}/")
    return "start" if cause.startswith("start") else cause


# ── wait ─────────────────────────────────────────────────────────────────────────────────────────


def wait(
    saga_id: IdArgument,
    timeout: Annotated[float, typer.Option(help="Seconds at most.", min=0)] = 60.0,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Wait until a saga is closed. Exit 0: it completed; 1: it ended otherwise; 7: not in time."""
    from es_saga.config import load

    show_end(load(data=data, database=database), saga_id, timeout, output)


def show_end(
    settings: Settings, saga_id: str, timeout: float, output: Output, *, name_it: bool = False
) -> None:
    """Wait for a saga's end, say how it ended, and exit as `wait` does."""
    import asyncio

    from es_saga.cli import compose

    row = asyncio.run(compose.queries(settings).wait(saga_id, timeout))
    if output is not Output.TABLE:
        show_one(asdict(row), output)
    elif name_it:
        sys.stdout.write(f"{saga_id}\n")
        sys.stdout.flush()
    reason = f" because of {escape(_short(row.reason))}" if row.reason else ""
    if row.status == "stuck":
        say(f"{styled_status(row.status)}{reason}; see `es-saga status {saga_id}`")
        raise typer.Exit(EXIT_FAILURE)
    if row.closed is None:
        say(f"still {styled_status(row.status)} after {timeout:g} s{reason}")
        raise typer.Exit(EXIT_TIMED_OUT)
    say(f"{styled_status(row.status)}{reason}")
    if row.status != "completed":
        raise typer.Exit(EXIT_FAILURE)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_CELL_CHARS else f"{line[: MAX_CELL_CHARS - 1]}…"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
