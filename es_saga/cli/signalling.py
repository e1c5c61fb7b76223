"""The command that tells a saga what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from es_saga.cli.console import (
    AppOption,
    DatabaseOption,
    DataOption,
    NatsOption,
    Output,
    OutputOption,
    QuietOption,
    TenantOption,
    show_one,
)
from es_saga.cli.reading import IdArgument

if TYPE_CHECKING:
    from es_saga.config import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="""Example: es-saga signal order-1 Approval --input '{"by": "ada"}'""")(
        signal
    )


def signal(
    saga_id: IdArgument,
    type: Annotated[str, typer.Argument(metavar="TYPE", help="The type of the message.")],
    input: Annotated[
        str, typer.Option("--input", "-i", help="JSON, @file, or - for standard input.")
    ] = "{}",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.", min=0.1)] = 10.0,
    app: AppOption = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Tell a saga what it waits for, or will wait for.

    The same type twice counts once.
    """
    import asyncio

    from es_saga.cli.running import located
    from es_saga.cli.starting import read_object
    from es_saga.config import load

    body = read_object(input)
    settings = located(load(data=data, database=database, nats=nats, tenant=tenant, app=app))
    show_one(asyncio.run(_tell(settings, saga_id, type, body, timeout)), output)


async def _tell(
    settings: Settings, saga_id: str, kind: str, body: dict[str, Any], timeout: float
) -> dict[str, Any]:
    from es_saga.cli import compose

    async with compose.asking(settings) as client:
        return (await client.signal(saga_id, kind, body, timeout=timeout)).result()
