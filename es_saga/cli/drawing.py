"""The command that draws: saga types, and sagas that ran."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from es_saga.cli.console import DatabaseOption, DataOption, QuietOption
from es_saga.cli.histories import Where, find

if TYPE_CHECKING:
    from es_saga.diagrams.plan import Source
    from es_saga.replay import Replay


class Diagram(StrEnum):
    """The forms a diagram can have."""

    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"
    GANTT = "gantt"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: es-saga graph --saga order-1 --format gantt > order-1.svg")(graph)


def graph(
    app: Annotated[
        str | None,
        typer.Argument(
            metavar="[APP]",
            help="module:attribute of an App whose saga types are drawn.",
            show_default=False,
        ),
    ] = None,
    saga: Annotated[
        str | None,
        typer.Option(
            help="With APP, only this saga type; without, a saga: ID or .jsonl file.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[
        Diagram, typer.Option(help="Of a saga: mermaid, svg (messages) or gantt (times, SVG).")
    ] = Diagram.MERMAID,
    data: DataOption = None,
    database: DatabaseOption = None,
    quiet: QuietOption = False,
) -> None:
    """A diagram of saga types, or of how one saga went, to stdout."""
    from es_saga.core.errors import InvalidInput

    if app is not None:
        _draw_types(app, saga, format)
    elif saga is not None:
        where = Where(data, database)
        _draw_run(find(saga, where).replay, format, where)
    else:
        raise InvalidInput("There is nothing to draw.", hint="Give an APP, or --saga with an id.")


def _draw_types(app: str, saga: str | None, format: Diagram) -> None:
    from es_saga.cli import compose
    from es_saga.core.errors import InvalidInput, NotFound
    from es_saga.diagrams import definition_dot, definition_mermaid, definition_svg

    draw = {
        Diagram.MERMAID: definition_mermaid,
        Diagram.DOT: definition_dot,
        Diagram.SVG: definition_svg,
    }.get(format)
    if draw is None:
        raise InvalidInput(
            "A saga type has no times.", hint="Draw one of its sagas: --saga ID without an APP."
        )
    every = compose.load_app(app).definitions()
    found = [definition for definition in every if saga in (None, definition.name)]
    known = ", ".join(dict.fromkeys(definition.name for definition in every))
    if not found:
        raise NotFound(f"The app has no saga {saga!r}.", hint=f"Known: {known}.")
    if format is Diagram.SVG and len(found) > 1:
        raise InvalidInput("An SVG file has one picture.", hint=f"Say which with --saga: {known}.")
    for definition in found:
        sys.stdout.write(draw(definition).rstrip() + "\n")


def _draw_run(replay: Replay, format: Diagram, where: Where) -> None:
    from es_saga.core.errors import InvalidInput
    from es_saga.diagrams import sequence_mermaid, sequence_svg, timeline_svg

    if format is Diagram.DOT:
        raise InvalidInput("A run is no graph.", hint="Draw it as mermaid, svg or gantt.")
    if format is Diagram.MERMAID:
        sys.stdout.write(sequence_mermaid(replay.saga_id, replay.events))
    elif format is Diagram.SVG:
        sys.stdout.write(sequence_svg(replay.saga_id, replay.events))
    else:
        source = _shape(replay, where)
        sys.stdout.write(timeline_svg(replay.saga_id, replay.events, source))


def _shape(replay: Replay, where: Where) -> Source | None:
    """What the log remembers of its saga type; None: there is no such log, so no pivot is known."""
    from es_saga.cli import compose
    from es_saga.core.errors import NotFound, Unavailable

    origin = replay.state.origin
    try:
        return compose.queries(where.settings).definition(origin.saga_type, origin.definition).shape
    except (NotFound, Unavailable):
        return None
