"""The operator's verbs: cancel, retry, skip, resolve. Each goes to the saga's owner by message."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from es_saga.cli.console import (
    AppOption,
    DataOption,
    NatsOption,
    Output,
    OutputOption,
    QuietOption,
    TenantOption,
    escape,
    say,
    show_one,
    styled_status,
)
from es_saga.cli.reading import IdArgument

if TYPE_CHECKING:
    from es_saga.config import Settings

StepOption = Annotated[str | None, typer.Option("--step", help="Which step.", show_default=False)]
NeededStepOption = Annotated[str, typer.Option("--step", help="Which step.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; goes into the audit trail.")]
ActorOption = Annotated[
    str | None, typer.Option("--actor", help="Who; default: your user name.", show_default=False)
]


class Result(StrEnum):
    """What work can be said to have ended in."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for verb, example in (
        (cancel, "cancel order-1 --reason 'the customer changed her mind'"),
        (retry, "retry order-1 --reason 'the carrier is back'"),
        (skip, "skip order-1 --step ship --reason 'collected by hand'"),
        (resolve, "resolve order-1 --step charge --outcome refused --reason 'asked the bank'"),
    ):
        app.command(epilog=f"Example: es-saga {example}")(verb)


def cancel(
    saga_id: IdArgument,
    reason: ReasonOption,
    actor: ActorOption = None,
    app: AppOption = None,
    data: DataOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Undo a saga that has not passed its pivot."""
    settings = _settings(app, data, nats, tenant, actor)
    _operate(settings, saga_id, output, verb="cancel", reason=reason)


def retry(
    saga_id: IdArgument,
    reason: ReasonOption,
    step: StepOption = None,
    actor: ActorOption = None,
    app: AppOption = None,
    data: DataOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Try again what a stuck saga is stuck at."""
    settings = _settings(app, data, nats, tenant, actor)
    _operate(settings, saga_id, output, verb="retry", reason=reason, step=step)


def skip(
    saga_id: IdArgument,
    reason: ReasonOption,
    step: NeededStepOption,
    actor: ActorOption = None,
    app: AppOption = None,
    data: DataOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Waive a step after the pivot, or an undo that keeps failing."""
    settings = _settings(app, data, nats, tenant, actor)
    _operate(settings, saga_id, output, verb="skip", reason=reason, step=step)


def resolve(
    saga_id: IdArgument,
    reason: ReasonOption,
    step: NeededStepOption,
    outcome: Annotated[Result, typer.Option(help="What became of it.")] = Result.SUCCEEDED,
    undo: Annotated[bool, typer.Option("--undo", help="The step's compensation is meant.")] = False,
    reply: Annotated[
        str | None, typer.Option(help="What it answered: JSON or @file.", show_default=False)
    ] = None,
    actor: ActorOption = None,
    app: AppOption = None,
    data: DataOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Say what became of work that a saga is stuck at."""
    from es_saga.cli.starting import read_object

    settings = _settings(app, data, nats, tenant, actor)
    _operate(
        settings,
        saga_id,
        output,
        verb="resolve",
        reason=reason,
        step=step,
        outcome=outcome.value,
        direction="undo" if undo else "do",
        reply=read_object(reply) if reply else None,
    )


def _settings(
    app: str | None, data: Path | None, nats: str | None, tenant: str | None, actor: str | None
) -> Settings:
    from es_saga.config import load

    return load(app=app, data=data, nats=nats, tenant=tenant, actor=actor)


def _operate(settings: Settings, saga_id: str, output: Output, **request: Any) -> None:
    import asyncio

    from pydantic import ValidationError

    from es_saga.cli import compose
    from es_saga.cli.running import located
    from es_saga.core.errors import InvalidInput
    from es_saga.core.messages import check_id
    from es_saga.engine.requests import VerbRequest

    check_id(saga_id)
    try:
        verb = VerbRequest.model_validate({"actor": settings.actor, **request})
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_input=False)
        )
        raise InvalidInput(f"That cannot be asked: {faults}.") from error
    here = located(settings)

    async def ask() -> dict[str, Any]:
        async with compose.asking(here) as client:
            return (await client.operate(saga_id, verb)).result()

    summary = asyncio.run(ask())
    if output is Output.TABLE:
        say(f"{escape(summary['saga_id'])} is {styled_status(summary['status'])}")
    else:
        show_one(summary, output)
