"""The command that takes a history out."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from es_saga.cli.console import DatabaseOption, DataOption, QuietOption
from es_saga.cli.histories import SagaArgument, Where, find


class Form(StrEnum):
    """The forms that a history can leave in."""

    JSONL = "jsonl"
    MERMAID = "mermaid"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: es-saga export order-1 > order-1.jsonl")(export)


def export(
    which: SagaArgument,
    format: Annotated[Form, typer.Option(help="Form of the history on stdout.")] = Form.JSONL,
    data: DataOption = None,
    database: DatabaseOption = None,
    quiet: QuietOption = False,
) -> None:
    """A saga's history to stdout. As a file for `replay`, or as a diagram.

    Sensitive values are hidden in it, as in every view.
    """
    found = find(which, Where(data, database))
    events, saga_id = found.replay.events, found.replay.saga_id
    if format is Form.MERMAID:
        from es_saga.diagrams import sequence_mermaid

        sys.stdout.write(sequence_mermaid(saga_id, events))
        return
    from es_saga.testing.history import history_lines

    sys.stdout.writelines(f"{line}\n" for line in history_lines(saga_id, events))
