"""The broker, and what is connected to it: as a process, as a client, for questions."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from pydantic import SecretStr

from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_link import Link, Login
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.adapters.nats_service import Asker
from es_saga.adapters.nats_streams import StreamLimits, Streams
from es_saga.cli.running import data_folder
from es_saga.config import Settings
from es_saga.core.errors import InvalidInput, Unavailable
from es_saga.core.messages import Subjects
from es_saga.engine.client import Client
from es_saga.engine.condition import Asks

if TYPE_CHECKING:  # with the extra `web` only
    pass

LOOK_SECONDS: Final = 1.0
"""How often we look whether the server of our own is still there."""

_log = structlog.get_logger("es_saga.nats")


def login(settings: Settings) -> Login:
    """Who we are to the broker."""

    def plain(secret: SecretStr | None) -> str | None:
        return None if secret is None else secret.get_secret_value()

    try:
        tls = ssl.create_default_context(cafile=settings.nats_ca) if settings.nats_ca else None
    except OSError as error:  # ssl.SSLError is one
        raise InvalidInput(f"nats_ca {settings.nats_ca} cannot be used: {error}.") from error
    if settings.nats_credentials is not None and not settings.nats_credentials.is_file():
        raise InvalidInput(f"nats_credentials: there is no file {settings.nats_credentials}.")
    return Login(
        credentials=settings.nats_credentials,
        nkey=plain(settings.nats_nkey),
        user=settings.nats_user,
        password=plain(settings.nats_password),
        token=plain(settings.nats_token),
        tls=tls,
    )


@asynccontextmanager
async def broker(settings: Settings) -> AsyncGenerator[str, None]:
    """The broker's URL: the one that is set, or a server of our own for as long as this lasts.

    Our own one is started again, at the same address, should it end by itself.
    """
    if settings.nats is not None:
        yield settings.nats
        return
    store = data_folder(settings) / "nats"
    with EmbeddedNats(store, sync_always=settings.synced, port=_last_port(store)) as server:
        (store / "port").write_text(server.url.rpartition(":")[2])
        keeping = asyncio.create_task(_keep(server))
        try:
            yield server.url
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])


async def _keep(server: EmbeddedNats) -> None:
    """In this thread, for the server ends with the one that starts it; without it nobody works."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if server.running:
            continue
        _log.warning("nats_server_ended", url=server.url)
        try:
            server.kill()
            server.start()
        except Unavailable as error:
            _log.warning("nats_server_away", error=str(error))


def _last_port(store: Path) -> int:
    """Where the server was the last time, so that participants find it again; -1: any free port."""
    try:
        port = int((store / "port").read_text())
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except (OSError, ValueError, OverflowError):
        return -1
    return port


@asynccontextmanager
async def transport(settings: Settings, url: str, name: str) -> AsyncGenerator[NatsTransport, None]:
    """A connection to the broker.

    Raises:
        Unavailable: it is out of reach.
    """
    connected = await NatsTransport.connect(
        url.split(","),
        tenant=settings.tenant,
        login=login(settings),
        name=name,
        sync_batches=settings.synced,
    )
    try:
        yield connected
    finally:
        await connected.close()


@asynccontextmanager
async def asking(settings: Settings) -> AsyncGenerator[Client, None]:
    """A client of the app that `settings` name; see `es_saga.cli.running.located`.

    Raises:
        Unavailable: the broker is out of reach.
    """
    assert settings.nats is not None, "located"
    assert settings.app is not None, "located"
    async with transport(settings, settings.nats, "es-saga-cli") as pipe:
        yield Client(pipe, settings.app, tenant=settings.tenant)


@asynccontextmanager
async def streams(settings: Settings, url: str) -> AsyncGenerator[Streams, None]:
    """The tenant's streams as they are: nothing is set up, as `transport` would.

    Raises:
        Unavailable: the broker is out of reach.
    """
    async with _bare_link(settings, url) as link:
        yield Streams(link, Subjects(settings.tenant), StreamLimits())


@asynccontextmanager
async def questions(settings: Settings, url: str) -> AsyncGenerator[Asks, None]:
    """The way to participants; nothing is set up, either.

    Raises:
        Unavailable: the broker is out of reach.
    """
    async with _bare_link(settings, url) as link:
        yield Asker(link)


@asynccontextmanager
async def _bare_link(settings: Settings, url: str) -> AsyncGenerator[Link, None]:
    def nothing() -> None:
        """Changes of the connection are of no interest for one question."""

    link = Link(url.split(","), login(settings), name="es-saga-cli", on_up=nothing, on_down=nothing)
    await link.open()
    try:
        yield link
    finally:
        await link.close()
