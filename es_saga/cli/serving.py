"""Commands of the HTTP side: `ui` serves it, `token` makes the keys to it."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from es_saga import loop
from es_saga.cli.console import (
    DatabaseOption,
    DataOption,
    NatsOption,
    QuietOption,
    TenantOption,
    say,
)

if TYPE_CHECKING:
    import socket

    from es_saga.app import App
    from es_saga.config import Settings
    from es_saga.web.access import Access

SECRET_BYTES = 32
"""Random bytes of a token."""


class TokenRole(StrEnum):
    """What a token allows."""

    READ = "read"
    OPERATE = "operate"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: es-saga ui domain.orders:app --port 8080")(ui)
    app.command(epilog="Example: es-saga token ada --role operate >> tokens")(token)


def ui(
    app: Annotated[
        str | None,
        typer.Argument(
            metavar="[APP]",
            help="module:attribute of an App: with its code, decisions can be checked.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine with tokens.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int | None,
        typer.Option(help="Default: 8080, or the next free one.", min=0, max=65_535),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Nobody may start or operate anything.")
    ] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    quiet: QuietOption = False,
) -> None:
    """Serve the dashboard and the HTTP API until interrupted.

    Sagas are read from the log's database; what changes them goes to the app by message.
    """
    installed()
    from es_saga.adapters.telemetry import configure_logging
    from es_saga.cli import compose
    from es_saga.config import load
    from es_saga.web import server

    settings = load(data=data, database=database, nats=nats, tenant=tenant)
    configure_logging("error" if quiet else settings.log_level)
    found = None if app is None else compose.load_app(app)
    access = _access(settings, read_only=read_only)
    with server.listen(host, port, guarded=access.guarded) as listener:
        loop.run(_serve(settings, found, access, listener), thresholds=loop.ANSWERING)


async def _serve(
    settings: Settings, app: App | None, access: Access, listener: socket.socket
) -> None:
    from es_saga.cli import compose
    from es_saga.cli.run import told_to_stop
    from es_saga.web import server

    with told_to_stop() as stop:
        async with compose.desk(settings, app, access) as desk:
            say(f"serving at [bold green]{server.address(listener)}[/]; Ctrl-C stops it")
            await server.serve(desk, listener, stop.wait)


def installed() -> None:
    """Raise InvalidInput where the extra `web` is missing."""
    from importlib.util import find_spec

    from es_saga.core.errors import InvalidInput

    missing = [name for name in ("fastapi", "uvicorn", "jinja2") if find_spec(name) is None]
    if missing:
        raise InvalidInput(
            f"The dashboard and the HTTP API need {', '.join(missing)}.",
            hint="Install es-saga[web].",
        )


def _access(settings: Settings, *, read_only: bool) -> Access:
    from es_saga.core.errors import InvalidInput
    from es_saga.web.access import Access, read_tokens

    text = settings.tokens.get_secret_value() if settings.tokens else ""
    if settings.tokens_file is not None:
        try:
            text = f"{text}\n{settings.tokens_file.read_text()}"
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"tokens_file cannot be read: {error}.") from error
    tokens = read_tokens(text)
    if not tokens and (settings.tokens is not None or settings.tokens_file is not None):
        raise InvalidInput("There is no token among the tokens.", hint="Write NAME:ROLE:SECRET.")
    return Access(tokens, local=settings.actor, read_only=read_only)


def token(
    name: Annotated[str, typer.Argument(help="Whose it is: the actor in the audit trail.")],
    role: Annotated[TokenRole, typer.Option(help="What it allows.")] = TokenRole.READ,
    quiet: QuietOption = False,
) -> None:
    """Make a token. Its line for the tokens file goes to stdout, the secret itself to stderr."""
    installed()
    import secrets

    from es_saga.web.access import Role, written

    secret = secrets.token_urlsafe(SECRET_BYTES)
    line = written(name, Role(role.value), secret)
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    sys.stderr.write(f"the token, shown this once: {secret}\n")
