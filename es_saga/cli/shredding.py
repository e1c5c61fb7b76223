"""The command that makes a saga's personal data unreadable."""

from __future__ import annotations

import typer

from es_saga.cli.console import DatabaseOption, DataOption, QuietOption, escape, say
from es_saga.cli.operating import ActorOption, ReasonOption
from es_saga.cli.reading import IdArgument


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: es-saga shred order-1 --reason 'the customer asked for it'")(shred)


def shred(
    saga_id: IdArgument,
    reason: ReasonOption,
    actor: ActorOption = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    quiet: QuietOption = False,
) -> None:
    """Delete the key of a saga's sensitive values. Nobody can read them then.

    The same of the sagas that it ran, and of theirs.
    """
    from es_saga.adapters import sealing
    from es_saga.cli import compose
    from es_saga.config import load
    from es_saga.core.messages import check_id

    settings = load(data=data, database=database, actor=actor)
    engine = compose.existing_log(settings)
    try:
        done = sealing.shred(engine, check_id(saga_id), actor=settings.actor, reason=reason)
    finally:
        engine.dispose()
    for one in done:
        say(f"{escape(one)}: its sensitive values cannot be read any more")
