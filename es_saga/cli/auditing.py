"""Commands about the audit trail: audit verify."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from es_saga.cli.console import (
    EXIT_FINDING,
    DatabaseOption,
    DataOption,
    Output,
    OutputOption,
    QuietOption,
    say,
    seconds,
    show,
    show_one,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    audit = typer.Typer(
        help="The audit trail. A chain of hashes over every event of every saga.",
        epilog="Example: es-saga audit verify",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    audit.callback()(_group)
    audit.command(epilog="Example: es-saga audit verify --since 24h")(verify)
    app.add_typer(audit, name="audit")


def _group() -> None:
    """The audit trail. A chain of hashes over every event of every saga."""


def verify(
    saga_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="One saga only.", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Only what changed within: 1h, 7d.", show_default=False),
    ] = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Check every event. Names the first bad one of each saga, and exits 6."""
    from es_saga.cli import compose
    from es_saga.config import load
    from es_saga.core.errors import InvalidInput
    from es_saga.projections import verification

    span = seconds(since)
    if saga_id is not None and span is not None:
        raise InvalidInput("One saga is checked as a whole.", hint="Leave out --since, or the id.")
    settings = load(data=data, database=database)
    found = compose.queries(settings)
    if saga_id is not None:
        found.status(saga_id)  # whether there is one
    engine = compose.existing_log(settings)
    try:
        total = None if saga_id or span is not None else verification.events_of(engine)
        with _progress(total, quiet=quiet) as told:
            verdict = verification.verify(
                engine,
                saga_id=saga_id,
                since=None if span is None else time.time() - span,
                told=told,
            )
    finally:
        engine.dispose()
    if output is Output.TABLE:
        show(({**asdict(one), "wrong": str(one.wrong)} for one in verdict.damages), output)
        checked = f"{verdict.events:,} events of {verdict.sagas:,} sagas checked"
        bad = len(verdict.damages)
        if not bad:
            say(f"{checked}: [green]all as they were written[/]")
        else:
            rest = "" if verdict.whole else ", and then no further"
            say(f"{checked}{rest}: [bold red]{bad:,} damaged[/]; restore them from a backup")
    else:
        show_one(asdict(verdict), output)
    if verdict.damages:
        raise typer.Exit(EXIT_FINDING)


@contextmanager
def _progress(total: int | None, *, quiet: bool) -> Generator[Callable[[int], None], None, None]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.completed:,} events"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)
