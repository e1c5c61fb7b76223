"""Commands about definitions: check, graph."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from es_saga.cli.console import Output, OutputOption, QuietOption, escape, say, show, text_of
from es_saga.cli.run import AppArgument

if TYPE_CHECKING:
    from es_saga.core.definition import Definition


class Diagram(StrEnum):
    """The languages a diagram can be written in."""

    MERMAID = "mermaid"
    DOT = "dot"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: es-saga check domain.orders:app")(check)
    app.command(epilog="Example: es-saga graph domain.orders:app --saga order --format dot")(graph)


def check(
    app: AppArgument, output: OutputOption = Output.TABLE, quiet: QuietOption = False
) -> None:
    """Verify every saga of an app; exit 6 and all its faults if there are any."""
    from es_saga.cli import compose

    found = compose.load_app(app)
    definitions = found.definitions()
    rows = [row for definition in definitions for row in _steps(definition)]
    if output is not Output.TABLE:
        show(rows, output)
    else:
        from es_saga.cli.table import Column

        columns = (
            "saga",
            "step",
            "kind",
            "command",
            "undo",
            Column("to", optional=True),
            Column("after", folds=True, optional=True),
            Column("timeout", right=True, optional=True),
        )
        show(_once(rows), output, columns, styles=_style)
    many = "1 saga" if len(definitions) == 1 else f"{len(definitions)} sagas"
    say(f"[green]ok[/] {escape(found.name)}: {many} without a fault")


def _steps(definition: Definition) -> Iterator[dict[str, Any]]:
    for step in definition.steps.values():
        yield {
            "saga": definition.name,
            "version": definition.version,
            "step": step.name,
            "kind": step.kind.value,
            "command": step.command.__name__,
            "to": step.command.to,
            "undo": step.undo.command.__name__ if step.undo else None,
            "after": list(step.after),
            "timeout": step.timeout,
        }


def _once(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows for a table: a saga's name stands beside its first step only."""
    before = None
    for row in rows:
        saga = f"{row['saga']} v{row['version']}"
        yield row | {
            "saga": saga if saga != before else "",
            "after": ", ".join(row["after"]),
            "timeout": f"{row['timeout']:g} s",
        }
        before = saga


_KINDS = {"pivot": "bold magenta", "check": "cyan", "retriable": "green"}


def _style(column: str, value: Any) -> str:
    text = escape(text_of(value))
    if column == "kind" and value in _KINDS:
        return f"[{_KINDS[value]}]{text}[/]"
    return f"[bold]{text}[/]" if column == "saga" and text else text


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
