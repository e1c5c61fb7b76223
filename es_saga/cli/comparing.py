"""The command that puts two runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from es_saga.cli.console import (
    DatabaseOption,
    DataOption,
    Output,
    OutputOption,
    QuietOption,
    escape,
    put,
    say,
    show,
    show_one,
    styled_status,
)
from es_saga.cli.histories import SagaArgument, Where, find

if TYPE_CHECKING:
    from es_saga.replay.comparing import Comparison, Row, Run


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: es-saga compare order-1 order-2")(compare)


def compare(
    a: SagaArgument,
    b: SagaArgument,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Two runs side by side. How each attempt ended, its time, and where they part."""
    from es_saga.replay.comparing import compare as compared
    from es_saga.replay.comparing import plain_row

    where = Where(data, database)
    found = compared(find(a, where).replay, find(b, where).replay)
    if output is Output.JSON:
        show_one(found.plain(), output)
    elif output is Output.JSONL:
        show((plain_row(row) for row in found.rows), output)
    else:
        _show(found)


def _show(found: Comparison) -> None:
    from es_saga.cli.table import Column
    from es_saga.replay.changes import told

    for name, run in (("a", found.a), ("b", found.b)):
        put(_head(name, run), hang=3)
    for change in found.input:
        before, after = escape(told(change.before)), escape(told(change.after))
        put(f"[dim]input[/]  {escape(change.path)}  {before} [dim]→[/] {after}", hang=7)
    put("")
    first = found.first
    columns = (
        Column(" "),
        "step",
        Column("a", folds=True),
        Column("took", right=True),
        Column("b", folds=True),
        Column("took ", right=True),
        Column("longer", right=True, optional=True),
    )
    show([_line(row, row is first) for row in found.rows], Output.TABLE, columns)
    if first is None:
        say("both went the same way")
    else:
        say(f"they part at [bold]{escape(_name(first))}[/]")


def _head(name: str, run: Run) -> str:
    reason = f"  [yellow]{escape(run.reason)}[/]" if run.reason else ""
    where = f" at {escape(run.reason_step)}" if run.reason and run.reason_step else ""
    return (
        f"[bold]{name}[/]  {escape(run.saga_id)}  {escape(run.type)} v{run.definition}  "
        f"{styled_status(run.status)} after {_seconds(run.seconds)}{reason}{where}"
    )


def _line(row: Row, first: bool) -> dict[str, Any]:
    longer = row.longer
    return {
        " ": "→" if first else "",
        "step": _name(row),
        "a": row.a.outcome if row.a else "",
        "took": _seconds(row.a.seconds) if row.a else "",
        "b": row.b.outcome if row.b else "",
        "took ": _seconds(row.b.seconds) if row.b else "",
        "longer": "" if longer is None else f"{longer:+.3f} s",
    }


def _name(row: Row) -> str:
    name = row.step if row.direction.value == "do" else f"undo {row.step}"
    return f"{name}, attempt {row.attempt}" if row.attempt > 1 else name


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3f} s"
