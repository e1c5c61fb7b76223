"""The command that opens histories which were kept as files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from es_saga.cli.console import (
    EXIT_FINDING,
    Output,
    OutputOption,
    QuietOption,
    complain,
    escape,
    say,
    show,
)

if TYPE_CHECKING:
    from es_saga.core.definition import Definition
    from es_saga.testing.history import History
    from es_saga.testing.story import Judgement


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: es-saga replay counterexample.jsonl --app domain.orders:app")(
        replay
    )


def replay(
    file: Annotated[Path, typer.Argument(help="A history that was kept, as `check` does.")],
    app: Annotated[
        str | None,
        typer.Option("--app", help="Judge it by the laws; module:attribute.", show_default=False),
    ] = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Open a history that is kept in a file, event by event; exit 6 where it is not right.

    It is folded by today's code and compared with what it led to when it was kept.
    """
    from es_saga.cli import compose
    from es_saga.core.aggregate import fold
    from es_saga.core.errors import NotFound
    from es_saga.testing.history import differences, read_history

    definitions = compose.load_app(app).definitions() if app else ()
    if not file.is_file():
        raise NotFound(f"There is no file {file}.", hint="check says where it has put one.")
    kept = read_history(file)
    judgement = _judge(kept, definitions)
    violations = judgement.violations if judgement else ()
    _show(kept, output, next((one.event for one in violations if one.event), None))
    if kept.found:
        say(f"[dim]found[/] {escape(kept.found)}")
    changed = differences(kept.state, fold(kept.saga_id, kept.events))
    for difference in changed:
        complain(f"today it leads elsewhere: {difference}")
    for violation in violations:
        complain(str(violation))
    if changed or violations:
        raise typer.Exit(EXIT_FINDING)
    if judgement:
        say(f"[green]ok[/] {escape(kept.saga_id)}: {len(judgement.applied)} laws, none is broken")


def _judge(kept: History, definitions: Sequence[Definition]) -> Judgement | None:
    """By the definition that it began with; None: without an app.

    Raises:
        NotFound: the app has no such saga.
    """
    from es_saga.core.errors import NotFound
    from es_saga.core.events import SagaStarted
    from es_saga.testing.laws import judge
    from es_saga.testing.story import Story

    first = kept.events[0] if kept.events else None
    if not definitions or not isinstance(first, SagaStarted):
        return None
    for definition in definitions:
        if (definition.name, definition.version) == (first.saga_type, first.definition):
            return judge(Story(definition, kept.saga_id, kept.events, kept.effects))
    known = ", ".join(f"{one.name} v{one.version}" for one in definitions)
    raise NotFound(
        f"The app has no saga {first.saga_type} v{first.definition}.", hint=f"Known: {known}."
    )


def _show(kept: History, output: Output, mark: int | None) -> None:
    from es_saga.testing.timeline import timeline

    if output is Output.TABLE:
        sys.stdout.write(timeline(kept.events, mark=mark) + "\n")
        return
    show(
        (
            {"version": number, "event": type(event).__name__, **event.model_dump(mode="json")}
            for number, event in enumerate(kept.events, 1)
        ),
        output,
    )
