"""The command that draws definitions."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from es_saga.cli.console import QuietOption
from es_saga.cli.run import AppArgument


class Diagram(StrEnum):
    """The languages a diagram can be written in."""

    MERMAID = "mermaid"
    DOT = "dot"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: es-saga graph domain.orders:app --saga order --format dot")(graph)


def graph(
    app: AppArgument,
    saga: Annotated[str | None, typer.Option(help="Only this saga.", show_default=False)] = None,
    format: Annotated[Diagram, typer.Option(help="Language of the diagram.")] = Diagram.MERMAID,
    quiet: QuietOption = False,
) -> None:
    """A diagram of every saga of an app, as text to stdout."""
    from es_saga.cli import compose
    from es_saga.core.errors import NotFound
    from es_saga.core.graph import dot, mermaid

    draw = {Diagram.MERMAID: mermaid, Diagram.DOT: dot}[format]
    every = compose.load_app(app).definitions()
    found = [definition for definition in every if saga in (None, definition.name)]
    if not found:
        known = ", ".join(definition.name for definition in every)
        raise NotFound(f"The app has no saga {saga!r}.", hint=f"Known: {known}.")
    for definition in found:
        sys.stdout.write(draw(definition).rstrip() + "\n")
