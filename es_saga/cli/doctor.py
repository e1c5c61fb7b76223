"""The command `doctor`: is everything there, within reach and well, and where is it set?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from es_saga.cli.console import (
    EXIT_UNREACHABLE,
    DatabaseOption,
    DataOption,
    NatsOption,
    Output,
    OutputOption,
    QuietOption,
    TenantOption,
    console_on,
    escape,
    say,
    show,
    show_one,
    text_of,
)

if TYPE_CHECKING:
    from es_saga.cli.health import Finding
    from es_saga.config import Origin


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: es-saga doctor --bundle support.zip")(doctor)


def doctor(
    bundle: Annotated[
        Path | None,
        typer.Option(help="Write a support bundle too, without secrets.", show_default=False),
    ] = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Health and configuration. Exit 0: well; 5: the database or NATS is out of reach."""
    from es_saga.cli.bundle import write
    from es_saga.cli.health import Health, examine
    from es_saga.config import load, origins

    flags = {"data": data, "database": database, "nats": nats, "tenant": tenant}
    settings = load(**flags)
    configuration = origins(settings, **flags)
    found = examine(settings)
    report = _report(found, configuration)
    if bundle is not None:
        write(bundle, settings, report)
    if output is Output.TABLE:
        _show(found, configuration)
    elif output is Output.JSON:
        show_one(report, output)
    else:
        show(report["health"], output)
    if bundle is not None:
        say(f"[green]ok[/] the support bundle is {escape(str(bundle))}")
    if any(finding.health is Health.BAD for finding in found):
        raise typer.Exit(EXIT_UNREACHABLE)


def _report(found: list[Finding], configuration: list[Origin]) -> dict[str, Any]:
    return {
        "health": [
            {"what": one.what, "health": one.health.value, "finding": one.finding, "hint": one.hint}
            for one in found
        ],
        "configuration": [origin._asdict() for origin in configuration],
    }


_MARKS = {"well": "[green]✓[/]", "warning": "[yellow]![/]", "bad": "[bold red]✗[/]"}


def _show(found: list[Finding], configuration: list[Origin]) -> None:
    from es_saga.cli.table import Column, table

    console = console_on(sys.stdout)
    health = [
        {
            "": one.health.value,
            "health": one.what,
            "finding": f"{one.finding} {one.hint}".strip(),
        }
        for one in found
    ]
    for line in table(
        console,
        health,
        ("", "health", Column("finding", folds=True)),
        markup=lambda column, value: escape(text_of(value)) if column else _MARKS[value],
    ):
        console.print(line)
    console.print()
    set_ones = [origin._asdict() for origin in configuration]
    for line in table(
        console,
        set_ones,
        ("setting", Column("value", folds=True), "source"),
        markup=lambda _, value: escape(text_of(value)),
    ):
        console.print(line)
