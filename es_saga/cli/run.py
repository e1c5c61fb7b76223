"""Commands that serve until they are told to stop: run, participant, demo."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from es_saga.cli.console import (
    DatabaseOption,
    DataOption,
    NatsOption,
    QuietOption,
    TenantOption,
    say,
)

AppArgument = Annotated[
    str, typer.Argument(metavar="APP", help="module:attribute of an App, as domain.orders:app")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: es-saga run domain.orders:app")(run)
    app.command(epilog="Example: es-saga participant domain.orders:app stock payments")(participant)
    app.command(epilog="Example: es-saga demo --scenario crash --once")(demo)


def run(
    app: AppArgument,
    participants: Annotated[
        bool, typer.Option("--participants", help="Serve the app's participants too.")
    ] = False,
    projection: Annotated[
        list[str] | None,
        typer.Option("--projection", help="module:attribute of a read model; may be repeated."),
    ] = None,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="Bring the database's schema up to date first.")
    ] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    quiet: QuietOption = False,
) -> None:
    """Conduct an app's sagas: process manager and read models, until interrupted."""
    from es_saga.adapters.telemetry import configure_logging
    from es_saga.cli import compose
    from es_saga.config import load

    settings = load(
        data=data,
        database=database,
        nats=nats,
        tenant=tenant,
        projections=tuple(projection) if projection else None,
    )
    configure_logging("error" if quiet else settings.log_level)
    found = compose.load_app(app)

    async def conduct() -> None:
        with compose.broker(settings) as url:
            async with (
                compose.transport(settings, url, f"pm-{found.name}") as pipe,
                compose.conducting(settings, found, pipe, migrate=migrate),
                compose.serving(settings, found, pipe, ()) if participants else nullcontext(),
            ):
                with compose.announced(settings, found.name, url):
                    say(f"[bold green]{found.name}[/] is running at {url}", quiet=quiet)
                    await _until_told_to_stop()
                    say("stopping: finishing what is in the works", quiet=quiet)

    _run(conduct())


def participant(
    app: AppArgument,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which; default: all of them.")
    ] = None,
    data: DataOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    quiet: QuietOption = False,
) -> None:
    """Serve participants of an app, each on its own database, until interrupted."""
    from es_saga.adapters.telemetry import configure_logging
    from es_saga.cli import compose
    from es_saga.config import load

    settings = load(data=data, nats=nats, tenant=tenant)
    configure_logging("error" if quiet else settings.log_level)
    found = compose.load_app(app)
    url = settings.nats or compose.running(settings)["nats"]

    async def serve() -> None:
        async with (
            compose.transport(settings, url, f"svc-{found.name}") as pipe,
            compose.serving(settings, found, pipe, names or ()) as servers,
        ):
            served = ", ".join(server.participant.name for server in servers)
            say(f"serving [bold green]{served}[/]", quiet=quiet)
            await _until_told_to_stop()

    _run(serve())


def demo(
    scenario: Annotated[
        str, typer.Option(help="happy, refuse, timeout, crash, chaos, or all of them: mix.")
    ] = "mix",
    once: Annotated[bool, typer.Option("--once", help="Exit with a verdict.")] = False,
    postgres: Annotated[
        bool, typer.Option("--postgres", help="PostgreSQL from its wheel instead of SQLite.")
    ] = False,
    orders: Annotated[int, typer.Option(min=1, max=1_000, help="How many orders.")] = 12,
    data: Annotated[
        Path | None, typer.Option("--data", help="Keep everything here; default: thrown away.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """The whole system on this machine: real orders over a real NATS server and a real database."""
    from es_saga.cli.demo import Demo

    verdict = _run(
        Demo(scenario, orders=orders, once=once, postgres=postgres, data=data, quiet=quiet).play()
    )
    raise typer.Exit(0 if verdict else 1)


async def _until_told_to_stop() -> None:
    """Return at the first SIGTERM or SIGINT; a second one interrupts as usual."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        stop.set()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(name)

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, told)
    await stop.wait()


def _run(body: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end, on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(body)
    return uvloop.run(body)
