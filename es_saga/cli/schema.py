"""Commands about the log's schema: migrate up, status, sql."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from es_saga.cli.console import (
    EXIT_FINDING,
    DatabaseOption,
    DataOption,
    Output,
    OutputOption,
    QuietOption,
    say,
    show_one,
)

if TYPE_CHECKING:
    from es_saga.adapters.migrate import SchemaStatus


def register(app: typer.Typer) -> None:
    """Add the commands."""
    migrate = typer.Typer(
        help="The schema of the log's database.",
        epilog="Example: es-saga migrate up --database postgresql://me@db/log",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    example = "Example: es-saga migrate {} --database postgresql://me@db/log"
    migrate.command(epilog=example.format("up"))(up)
    migrate.command(epilog=example.format("status"))(status)
    migrate.command(epilog=example.format("sql") + " > schema.sql")(sql)
    app.add_typer(migrate, name="migrate")


def up(
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Apply what is missing, in one transaction."""
    from es_saga.adapters.migrate import upgrade
    from es_saga.cli import compose
    from es_saga.config import load
    from es_saga.core.errors import IllegalOperation

    engine = compose.log_engine(load(data=data, database=database))
    try:
        found = upgrade(engine)
    finally:
        engine.dispose()
    if found.unknown:
        raise IllegalOperation(
            f"The database is at schema {found.applied}, which a later release made.",
            hint="Install that release.",
        )
    if output is not Output.TABLE:
        show_one(_fields(found), output)
    say(f"[green]ok[/] the database is at schema {found.applied}")


def status(
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """How far the database is. Exit 0: as this release needs it; 6: not."""
    from es_saga.adapters.migrate import status as look
    from es_saga.cli import compose
    from es_saga.config import load

    engine = compose.existing_log(load(data=data, database=database))
    try:
        found = look(engine)
    finally:
        engine.dispose()
    if output is not Output.TABLE:
        show_one(_fields(found), output)
    else:
        for name, value in _fields(found).items():
            shown = ", ".join(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            sys.stdout.write(f"{name:<8} {'none' if shown in (None, '') else shown}\n")
    if found.unknown:
        say("A later release was here: install that one.")
    elif not found.current:
        say("Run `es-saga migrate up`.")
    if not found.current:
        raise typer.Exit(EXIT_FINDING)


def _fields(found: SchemaStatus) -> dict[str, Any]:
    return {
        "applied": found.applied,
        "needed": found.needed,
        "pending": list(found.pending),
        "current": found.current,
    }


def sql(
    data: DataOption = None, database: DatabaseOption = None, quiet: QuietOption = False
) -> None:
    """Every migration as a script. To be applied by hand."""
    from es_saga.adapters.migrate import sql as script
    from es_saga.config import load

    sys.stdout.write(script(load(data=data, database=database).database_url))
