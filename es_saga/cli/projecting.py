"""Commands about read models: projections list, rebuild, verify."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from es_saga.cli.console import (
    EXIT_FINDING,
    DatabaseOption,
    DataOption,
    Output,
    OutputOption,
    QuietOption,
    escape,
    say,
    show,
    text_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from es_saga.adapters.comparing import Drift
    from es_saga.adapters.rebuild import Told, Verdict
    from es_saga.cli.views import Kept
    from es_saga.projections.progress import Progress

HELP = "Read models. How far they are, made anew from the log, compared with it."

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="Which; or --all.", show_default=False),
]
ViewOption = Annotated[
    list[str] | None,
    typer.Option(
        "--projection",
        help="module:attribute of a read model of your own; may be repeated.",
        show_default=False,
    ),
]
T = TypeVar("T")
AllOption = Annotated[bool, typer.Option("--all", help="All of them.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    projections = typer.Typer(
        help=HELP,
        epilog="Example: es-saga projections list",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    example = "Example: es-saga projections {}"
    projections.command("list", epilog=example.format("list -o json"))(list_)
    projections.command(epilog=example.format("rebuild status"))(rebuild)
    projections.command(epilog=example.format("verify status audit"))(verify)
    app.add_typer(projections, name="projections")


def list_(
    projection: ViewOption = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """How far each read model is. Why it stands still if it does."""
    from es_saga.cli.table import Column
    from es_saga.projections.progress import Progresses

    with _views(projection, data, database) as (engine, found):
        rows = Progresses(engine).of([kept.view.name for kept in found])
    told = [_row(kept, progress) for kept, progress in zip(found, rows, strict=True)]
    if output is not Output.TABLE:
        show(told, output)
        return
    columns = (
        "name",
        Column("kept", optional=True),
        Column("position", right=True, optional=True),
        Column("behind", right=True),
        Column("lag", right=True),
        "state",
        Column("error", folds=True, optional=True),
    )
    show([{**row, **_words(row)} for row in told], output, columns, styles=_style)


def _row(kept: Kept, progress: Progress) -> dict[str, Any]:
    fields = {"name": progress.name, "kept": "in step" if kept.inline else "following"}
    return {**fields, **asdict(progress)}


def _words(row: dict[str, Any]) -> dict[str, Any]:
    """What a table shows of it."""
    state = "up to date" if not row["behind"] else "behind"
    error = row["error"]
    if error is not None:
        state = "stands still"
        if row["error_position"] is not None:
            error = f"event {row['error_position']} of part {row['error_part']}: {error}"
    lag = f"{row['seconds_behind']:.1f} s" if row["behind"] else ""
    numbers = {name: f"{row[name]:,}" for name in ("position", "behind")}
    return {**numbers, "state": state, "lag": lag, "error": error}


def _style(column: str, value: Any) -> str:
    colours = {"up to date": "green", "behind": "yellow", "stands still": "bold red"}
    text = escape(text_of(value))
    return f"[{colours[value]}]{text}[/]" if column == "state" else text


def rebuild(
    names: NamesArgument = None,
    everything: AllOption = False,
    projection: ViewOption = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Make read models anew from the log. Those in use serve until they are swapped.

    Writers stand still only for the swap. Interrupted, it leaves everything as it was.
    """
    from es_saga.adapters import rebuild as building

    done: list[dict[str, Any]] = []
    with _views(projection, data, database) as (engine, found):
        for kept in _chosen(found, names, everything):

            def work(told: Told, kept: Kept = kept) -> building.Rebuilt:
                return building.rebuild(engine, kept.view, inline=kept.inline, told=told)

            rebuilt = _tried(kept, work, quiet=quiet)
            done.append(asdict(rebuilt))
            say(
                f"[green]ok[/] {escape(rebuilt.view)}: {rebuilt.events:,} events in "
                f"{rebuilt.seconds:.1f} s; writers stood still for "
                f"{1000 * rebuilt.stopped_seconds:.0f} ms"
            )
    if output is not Output.TABLE:
        show(done, output)


def verify(
    names: NamesArgument = None,
    everything: AllOption = False,
    projection: ViewOption = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Compare read models with the log. Exit 6: one is not what the log says.

    Nobody waits for it; the copies are dropped.
    """
    from es_saga.adapters import rebuild as building

    verdicts: list[Verdict] = []
    with _views(projection, data, database) as (engine, found):
        for kept in _chosen(found, names, everything):

            def work(told: Told, kept: Kept = kept) -> Verdict:
                return building.verify(engine, kept.view, told=told)

            verdict = _tried(kept, work, quiet=quiet)
            verdicts.append(verdict)
            _tell(verdict)
    if output is not Output.TABLE:
        show((asdict(verdict) for verdict in verdicts), output)
    else:
        show((_line(one) for verdict in verdicts for one in verdict.drifts), output)
    if any(verdict.drifted for verdict in verdicts):
        raise typer.Exit(EXIT_FINDING)


def _tell(verdict: Verdict) -> None:
    name = escape(verdict.view)
    compared = f"{verdict.rows:,} rows out of {verdict.events:,} events"
    if not verdict.drifted:
        say(f"[green]ok[/] {name}: {compared} are as the log says")
        return
    say(
        f"[bold red]drift[/] {name}: {verdict.drifted:,} of {compared} are not as the log says; "
        f"`es-saga projections rebuild {name}` makes it anew"
    )


def _line(drift: Drift) -> dict[str, Any]:
    """A row that differs, on one line."""
    return {"table": drift.table, "row": drift.row, "what": drift.what}


# ── together ─────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _views(
    projection: Sequence[str] | None, data: Path | None, database: str | None
) -> Generator[tuple[sa.Engine, list[Kept]], None, None]:
    """A log that is there, and the views that are kept of it."""
    from es_saga.adapters.store import check_schema
    from es_saga.cli import compose
    from es_saga.cli.running import running_apps
    from es_saga.config import load

    settings = load(
        data=data, database=database, projections=tuple(projection) if projection else None
    )
    engine = compose.existing_log(settings)
    try:
        check_schema(engine)
        yield engine, compose.views(settings, conducted=running_apps(settings))
    finally:
        engine.dispose()


def _chosen(found: Sequence[Kept], names: Sequence[str] | None, everything: bool) -> Sequence[Kept]:
    from es_saga.cli.views import named
    from es_saga.core.errors import InvalidInput

    if everything == bool(names):
        raise InvalidInput(
            "Say which views: their names, or --all.", hint="`es-saga projections list` has them."
        )
    return named(found, names) if names else found


def _tried(kept: Kept, work: Callable[[Told], T], *, quiet: bool) -> T:
    """What comes of it, with a bar; what a view cannot take in, in words."""
    from es_saga.cli.views import refused
    from es_saga.engine.following import Undigested

    try:
        with _bar(kept.view.name, quiet=quiet) as told:
            return work(told)
    except Undigested as error:
        raise refused(kept.view, error) from error


@contextmanager
def _bar(name: str, *, quiet: bool) -> Generator[Told, None, None]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("events"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(name, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
