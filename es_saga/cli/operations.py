"""Commands for whoever keeps it running: migrate, streams, bench, doctor."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from es_saga.cli.console import Output, OutputOption, QuietOption, say, show, show_one


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: es-saga bench engine -o json")(bench)


class Part(StrEnum):
    """What `bench` can be restricted to."""

    ENGINE = "engine"
    SYSTEM = "system"
    CHOREOGRAPHY = "choreography"
    PROJECTIONS = "projections"
    OUTBOX = "outbox"
    STYLES = "styles"


class Database(StrEnum):
    """Where `bench` can keep the log."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


def bench(
    part: Annotated[
        Part | None,
        typer.Argument(
            metavar="[PART]",
            help="engine, system, choreography, projections, outbox or styles; default: all.",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=600.0, help="How long each measurement lasts.")
    ] = 5.0,
    store: Annotated[
        Database | None,
        typer.Option(help="Database of the log; default: each of them, and the system on SQLite."),
    ] = None,
    output: OutputOption = Output.JSON,
    quiet: QuietOption = False,
) -> None:
    """Throughput, latency and cost on this machine. With the floor under each."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from es_saga.bench import plan
    from es_saga.bench.process import run

    databases: list[plan.Database] = [store.value] if store else plan.installed()
    if not store and "postgres" not in databases:
        say("PostgreSQL is not installed here: install es-saga[postgres].", quiet=quiet)
    stages = plan.stages(part.value if part else None, databases)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        auto_refresh=False,  # its thread would be measured too
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )
    with plan.Bench(seconds) as measuring, bar:
        task = bar.add_task("", total=len(stages))
        for stage in stages:
            bar.update(task, description=stage.name, refresh=True)
            measuring.keep(stage, run(measuring.run(stage)))
            bar.advance(task)
    if output is Output.TABLE:
        show(
            ({"figure": name, "value": value} for name, value in plan.rows(measuring.figures)),
            output,
        )
    else:
        show_one(measuring.figures, output)
