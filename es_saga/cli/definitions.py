"""Commands about definitions: check, graph."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from es_saga.cli.console import say
from es_saga.cli.run import AppArgument


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: es-saga check domain.orders:app")(check)
    app.command(epilog="Example: es-saga graph domain.orders:app --saga order --format dot")(graph)


def check(app: AppArgument) -> None:
    """Verify every saga of an app; exit 6 and the list of faults if there are any."""
    from es_saga.cli import compose

    for definition in compose.load_app(app).definitions():
        kinds = ", ".join(f"{step.name} ({step.kind})" for step in definition.steps.values())
        say(f"[green]ok[/] [bold]{definition.name}[/] v{definition.version}: {kinds}")


def graph(
    app: AppArgument,
    saga: Annotated[str | None, typer.Option(help="Only this saga.", show_default=False)] = None,
    format: Annotated[str, typer.Option(help="mermaid or dot")] = "mermaid",
) -> None:
    """A diagram of every saga of an app, as text to stdout."""
    from es_saga.cli import compose
    from es_saga.core.errors import InvalidInput, NotFound
    from es_saga.core.graph import dot, mermaid

    draw = {"mermaid": mermaid, "dot": dot}.get(format)
    if draw is None:
        raise InvalidInput(f"{format!r} is no format.", hint="mermaid or dot.")
    found = [
        definition
        for definition in compose.load_app(app).definitions()
        if saga in (None, definition.name)
    ]
    if not found:
        raise NotFound(f"The app has no saga {saga!r}.")
    for definition in found:
        sys.stdout.write(draw(definition).rstrip() + "\n")
