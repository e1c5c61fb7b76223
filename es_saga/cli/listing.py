"""The command that lists sagas: by any mix of filters, once or on and on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from es_saga.cli.console import (
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
    seconds,
    short,
    show,
    styled_status,
    text_of,
)

if TYPE_CHECKING:
    from es_saga.projections.lists import UnderWay
    from es_saga.projections.queries import Queries, SagaRow

WATCH_SECONDS: Final = 1.0
"""How often `--watch` looks."""

MAX_ROWS: Final = 1_000


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
    """Add the command."""
    app.command("list", epilog="Example: es-saga list --status stuck --since 1h")(list_sagas)


StatusOption = Annotated[
    list[Status] | None,
    typer.Option("--status", help="Only these; may be repeated.", show_default=False),
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", help="Changed within: 30s, 15m, 1h, 7d.", show_default=False),
]


def list_sagas(
    status: StatusOption = None,
    type: Annotated[
        str | None, typer.Option("--type", help="Only of this type.", show_default=False)
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Only with this business key.", show_default=False)
    ] = None,
    step: Annotated[
        str | None, typer.Option("--step", help="Only at this step.", show_default=False)
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Part of the reason.", show_default=False)
    ] = None,
    search: Annotated[
        str | None, typer.Option("--search", help="How the id or key begins.", show_default=False)
    ] = None,
    since: SinceOption = None,
    until: Annotated[
        str | None,
        typer.Option("--until", help="Not changed within: 1h.", show_default=False),
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
    from es_saga.projections.queries import SagaFilter

    begin, end = seconds(since), seconds(until)
    found = compose.queries(load(data=data, database=database))

    def look() -> list[SagaRow]:
        now = time.time()
        wanted = SagaFilter(
            status=tuple(one.value for one in status or ()),
            type=type,
            business_id=key,
            step=step,
            reason=reason,
            search=search,
            since=None if begin is None else now - begin,
            until=None if end is None else now - end,
        )
        return found.sagas(wanted, limit=limit)

    if watch:
        _watch(found, look, output)
    rows = look()
    _show_list(found, rows, output)
    if not rows:
        say("no sagas")
    elif len(rows) == limit:
        say(f"[dim]the latest {limit}; --limit shows more[/]")


def _watch(queries: Queries, look: Callable[[], list[SagaRow]], output: Output) -> None:
    """Show what there is, again and again; ends with Ctrl-C."""
    live = output is Output.TABLE and console_on(sys.stdout).is_terminal
    seen: dict[str, int] = {}
    while True:
        rows = look()
        if live:
            sys.stdout.write("\x1b[H\x1b[2J")
            _show_list(queries, rows[: _terminal_rows()], output)
            say(f"[dim]{len(rows)} sagas at {clock(time.time())[:8]}; Ctrl-C ends[/]")
        else:
            news = [row for row in reversed(rows) if seen.get(row.saga_id) != row.version]
            form = Output.JSONL if output is Output.JSON else output
            _show_list(queries, news, form)
            seen = {row.saga_id: row.version for row in rows}
        time.sleep(WATCH_SECONDS)


def _terminal_rows() -> int:
    """Sagas that a screen has room for, below the head and above the remark."""
    return max(1, console_on(sys.stdout).height - 3)


def _show_list(queries: Queries, rows: Iterable[SagaRow], output: Output) -> None:
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
        Column("updated", optional=True),
        Column("version", optional=True, right=True),
    )
    rows = list(rows)
    lists = queries.lists(rows)
    lines = (_line(row, lists.get(row.saga_id, ())) for row in rows)
    show(lines, output, columns, styles=_style)


def _line(row: SagaRow, lists: Sequence[UnderWay]) -> dict[str, Any]:
    from es_saga.projections.lists import folded

    reason = f"{row.reason_step}: {row.reason}" if row.reason_step else row.reason
    return {
        "saga_id": row.saga_id,
        "type": row.type,
        "status": row.status,
        "current": ", ".join(folded(row.current, lists)),
        "reason": short(reason or ""),
        "version": row.version,
        "updated": moment(row.updated),
    }


def _style(column: str, value: Any) -> str:
    return styled_status(value) if column == "status" else escape(text_of(value))
