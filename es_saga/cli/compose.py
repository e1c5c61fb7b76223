"""Puts a running system together from settings: the one place that knows every part.

Heavy imports; commands import this module when they run, not when the command line is read.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from es_saga.adapters import definitions as known_definitions
from es_saga.adapters.catch_up import CatchUp
from es_saga.adapters.clock import SystemClock
from es_saga.adapters.leases import PostgresLeases
from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_link import Login
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.adapters.store import connect
from es_saga.app import App
from es_saga.config import Settings
from es_saga.core.errors import InvalidInput, NotFound, Unavailable
from es_saga.database import make_engine
from es_saga.engine.leases import SoleOwner
from es_saga.engine.manager import ProcessManager
from es_saga.engine.ports import Transport
from es_saga.engine.projector import Projector
from es_saga.participant import Server
from es_saga.projections.audit import AuditView
from es_saga.projections.queries import Queries
from es_saga.projections.status import StatusView
from es_saga.projections.view import View

VIEWS: tuple[View, ...] = (StatusView(), AuditView())
"""What is kept in step with the log, in its own transactions."""


def load(reference: str) -> Any:
    """The object that `module:attribute` names; modules of the working directory first.

    Raises:
        InvalidInput: there is none.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise InvalidInput(
            f"{reference!r} names nothing.", hint="Write module:attribute, as domain.orders:app."
        )
    for folder in (*_examples(), str(Path.cwd())):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise InvalidInput(
            f"There is no module {error.name!r} here.", hint="Run it from your project's folder."
        ) from error
    if not hasattr(module, attribute):
        raise InvalidInput(f"Module {module_name!r} has no {attribute!r}.")
    return getattr(module, attribute)


def _examples() -> Iterator[str]:
    """Where the reference business is: shipped with the package, or beside it in its repository."""
    package = Path(__file__).parents[1]
    for folder in (package / "scaffold", package.parent):
        if (folder / "domain" / "orders").is_dir():
            yield str(folder)
            return


def load_app(reference: str) -> App:
    """An app.

    Raises:
        InvalidInput: the reference names something else, or nothing.
        DefinitionError: its definitions cannot be run.
    """
    app = load(reference)
    if not isinstance(app, App):
        raise InvalidInput(f"{reference!r} is {type(app).__name__}, not an App.")
    return app


# ── who runs where ───────────────────────────────────────────────────────────────────────────────


@contextmanager
def announced(settings: Settings, app: str, nats: str) -> Iterator[None]:
    """Tell other commands on this machine where the app runs; one process a data folder."""
    settings.data.mkdir(parents=True, exist_ok=True)
    path = settings.data / f"run-{app}.json"
    found = {"app": app, "nats": nats, "tenant": settings.tenant, "pid": os.getpid()}
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(found))
    temporary.replace(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            if json.loads(path.read_text())["pid"] == os.getpid():
                path.unlink()


def running(settings: Settings) -> dict[str, Any]:
    """The app that runs in the data folder: its name, broker and tenant.

    Raises:
        NotFound: none does, or several do and `--app` does not say which.
    """
    found: list[dict[str, Any]] = []
    for path in sorted(settings.data.glob("run-*.json")):
        with contextlib.suppress(OSError, ValueError):
            entry = json.loads(path.read_text())
            if settings.app in (None, entry["app"]):
                found.append(entry)
    if len(found) > 1:
        names = ", ".join(entry["app"] for entry in found)
        raise NotFound(f"Several apps run here: {names}.", hint="Say which with --app.")
    if not found:
        raise Unavailable(
            f"Nothing is running in {settings.data}.",
            hint="Start it with `es-saga run APP`, or give --nats and --app.",
        )
    return found[0]


# ── parts ────────────────────────────────────────────────────────────────────────────────────────


def login(settings: Settings) -> Login:
    """Who we are to the broker."""

    def plain(secret: Any) -> str | None:
        return None if secret is None else secret.get_secret_value()

    tls = ssl.create_default_context(cafile=str(settings.nats_ca)) if settings.nats_ca else None
    return Login(
        credentials=settings.nats_credentials,
        nkey=plain(settings.nats_nkey),
        user=settings.nats_user,
        password=plain(settings.nats_password),
        token=plain(settings.nats_token),
        tls=tls,
    )


@contextmanager
def broker(settings: Settings) -> Iterator[str]:
    """The broker's URL: the one that is set, or a server of our own for as long as this lasts."""
    if settings.nats is not None:
        yield settings.nats
        return
    with EmbeddedNats(settings.data / "nats", sync_always=settings.sync) as server:
        yield server.url


@asynccontextmanager
async def transport(settings: Settings, url: str, name: str) -> AsyncIterator[NatsTransport]:
    """A connection to the broker.

    Raises:
        Unavailable: it is out of reach.
    """
    connected = await NatsTransport.connect(
        url,
        tenant=settings.tenant,
        login=login(settings),
        name=name,
        sync_batches=settings.sync,
    )
    try:
        yield connected
    finally:
        await connected.close()


def log_engine(settings: Settings) -> sa.Engine:
    """An engine on the log's database; for SQLite its folder is made."""
    url = settings.database_url
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return make_engine(url)


def queries(settings: Settings) -> Queries:
    """The read side of the log.

    Raises:
        Unavailable: an embedded log that is not there.
    """
    url = settings.database_url
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        raise Unavailable(
            f"There is no log at {url.removeprefix('sqlite:///')}.",
            hint="Run an app first, or say where its log is with --data or --database.",
        )
    return Queries(make_engine(url))


@asynccontextmanager
async def conducting(
    settings: Settings, app: App, pipe: Transport, *, migrate: bool
) -> AsyncIterator[ProcessManager]:
    """A process manager with its log and its read models, running.

    Raises:
        DefinitionError: a definition cannot be run, or differs from what the log knows.
        Unavailable: the database is out of reach or not migrated.
    """
    found = app.definitions()
    followers: Sequence[View] = [load(reference) for reference in settings.projections]
    engine = log_engine(settings)
    embedded = engine.dialect.name == "sqlite"
    store = connect(settings.database_url, views=VIEWS, migrate=migrate or embedded)
    known_definitions.register(engine, found)
    clock = SystemClock()
    projector = Projector(followers, CatchUp(engine), clock)
    leases = SoleOwner() if embedded else PostgresLeases(engine, app.name)
    for view in VIEWS:
        await Projector([view], CatchUp(engine), clock).catch_up(view)
    manager = ProcessManager(
        app.name,
        found,
        store=store,
        transport=pipe,
        clock=clock,
        leases=leases,
        tenant=settings.tenant,
        refuse_starts=settings.starts_during_outage == "refuse",
        cached=settings.cached_sagas,
    )
    manager.listen(lambda _: projector.wake())
    try:
        async with manager:
            await projector.start()
            try:
                yield manager
            finally:
                await projector.stop()
    finally:
        await store.close()
        if isinstance(leases, PostgresLeases):
            await leases.close()
        engine.dispose()


@asynccontextmanager
async def serving(
    settings: Settings, app: App, pipe: Transport, names: Sequence[str]
) -> AsyncIterator[list[Server]]:
    """Participants of an app, each on its own database, serving.

    Raises:
        NotFound: the app has no such participant.
    """
    settings.data.mkdir(parents=True, exist_ok=True)
    servers: list[Server] = []
    for name in names or list(app.participants):
        participant = app.participants.get(name)
        if participant is None:
            known = ", ".join(app.participants)
            raise NotFound(
                f"App {app.name!r} has no participant {name!r}.", hint=f"Known: {known}."
            )
        servers.append(
            Server(
                participant,
                settings.participant_url(name),
                pipe,
                tenant=settings.tenant,
                concurrency=settings.concurrency,
                create_tables=True,
            )
        )
    async with contextlib.AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server)
        yield servers
