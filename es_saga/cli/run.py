"""Commands that serve until they are told to stop: run, participant, demo."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from es_saga import loop
from es_saga.cli.console import (
    DatabaseOption,
    DataOption,
    NatsOption,
    QuietOption,
    TenantOption,
    escape,
    say,
)
from es_saga.demo import scenarios

if TYPE_CHECKING:
    import asyncio

    from es_saga.app import App
    from es_saga.config import Settings

AppArgument = Annotated[
    str, typer.Argument(metavar="APP", help="module:attribute of an App, as domain.orders:app")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: es-saga run domain.orders:app --participants")(run)
    app.command(epilog="Example: es-saga participant domain.orders:app stock payments")(participant)
    listed = "\n".join(scenarios.told())
    app.command(
        help=f"{demo.__doc__}\n\n\b\n{listed}", epilog="Example: es-saga demo --scenario tcc --once"
    )(demo)


def run(
    app: AppArgument,
    participants: Annotated[
        bool, typer.Option("--participants", help="Serve the app's participants too.")
    ] = False,
    projection: Annotated[
        list[str] | None,
        typer.Option(
            "--projection",
            help="module:attribute of a read model; may be repeated.",
            show_default=False,
        ),
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
    """Conduct an app's sagas until interrupted.

    Process manager and read models, and a NATS server unless --nats names one. The first Ctrl-C
    finishes what is in the works; a second one does not.
    """
    from es_saga.adapters.telemetry import configure_logging
    from es_saga.cli import compose
    from es_saga.cli.running import sole_conductor
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
    with sole_conductor(settings):
        loop.run(_conduct(settings, found, app, participants=participants, migrate=migrate))


async def _conduct(
    settings: Settings, app: App, reference: str, *, participants: bool, migrate: bool
) -> None:
    from es_saga.cli import compose
    from es_saga.cli.running import announced
    from es_saga.config import public

    with told_to_stop() as stop:
        async with (
            compose.broker(settings) as url,
            compose.transport(settings, url, f"pm-{app.name}") as pipe,
            compose.conducting(settings, app, pipe, migrate=migrate, questions=pipe),
            compose.status_checker(settings, app, url, pipe),
            compose.serving(settings, app, pipe, (), pipe)
            if participants
            else nullcontext(()) as served,
        ):
            with announced(settings, app.name, url, reference):
                names = ", ".join(server.participant.name for server in served)
                say(
                    f"[bold green]{app.name}[/] is running at {escape(public(url))}"
                    f"{f', serving {names}' if names else ''}; Ctrl-C stops it"
                )
                if app.participants and not participants:
                    others = ", ".join(app.participants)
                    say(f"its participants are served elsewhere, or by --participants: {others}")
                await stop.wait()
            say("stopping: finishing what is in the works")


def participant(
    app: AppArgument,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Which; all of them if none is given."),
    ] = None,
    data: DataOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    quiet: QuietOption = False,
) -> None:
    """Serve participants of an app until interrupted. Each has a database of its own."""
    from es_saga.adapters.telemetry import configure_logging
    from es_saga.cli import compose
    from es_saga.cli.running import located
    from es_saga.config import load

    settings = load(data=data, nats=nats, tenant=tenant)
    configure_logging("error" if quiet else settings.log_level)
    found = compose.load_app(app)
    if settings.nats is None:
        settings = located(settings.model_copy(update={"app": found.name}))
    loop.run(_serve(settings, found, names or []))


async def _serve(settings: Settings, app: App, names: list[str]) -> None:
    from es_saga.cli import compose

    assert settings.nats is not None, "located"
    with told_to_stop() as stop:
        async with (
            compose.transport(settings, settings.nats, f"svc-{app.name}") as pipe,
            compose.serving(settings, app, pipe, names, pipe) as servers,
        ):
            served = ", ".join(server.participant.name for server in servers)
            say(f"serving [bold green]{served}[/]; Ctrl-C stops it")
            await stop.wait()
            say("stopping: finishing what is in the works")


def demo(
    scenario: Annotated[str, typer.Option(help="What is played; see above.")] = "mix",
    once: Annotated[bool, typer.Option("--once", help="Exit with a verdict.")] = False,
    postgres: Annotated[
        bool, typer.Option("--postgres", help="PostgreSQL from its wheel instead of SQLite.")
    ] = False,
    orders: Annotated[
        int | None,
        typer.Option(
            min=1, max=1_000, help="How many orders, or whatever it is.", show_default=False
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Keep everything here; else it is thrown away."),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """The whole system on this machine. NATS, the databases and the deaths are real."""
    from es_saga.demo.demo import Demo

    good = True
    for name, each in scenarios.chosen(scenario, once=once).items():
        say(f"[bold]{name}[/]: {each.about}")
        played = Demo(each, sagas=orders, once=once, postgres=postgres, data=data)
        good &= loop.run(played.play())
    raise typer.Exit(0 if good else 1)


@contextmanager
def told_to_stop() -> Generator[asyncio.Event, None, None]:
    """An event that the first SIGTERM or SIGINT sets; the second interrupts as usual.

    From the start on: a process that is told to stop while it starts finishes starting, then stops.
    """
    import asyncio
    import signal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    names = (signal.SIGTERM, signal.SIGINT)

    def listen_no_more() -> None:
        for name in names:
            loop.remove_signal_handler(name)

    def told() -> None:
        stop.set()
        listen_no_more()

    for name in names:
        loop.add_signal_handler(name, told)
    try:
        yield stop
    finally:
        listen_no_more()
