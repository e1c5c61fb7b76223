"""Puts a running system together from settings: the one place that knows every part.

Heavy imports; commands import this module when they run, not when the command line is read.
"""

from __future__ import annotations

import importlib
import socket
import ssl
import sys
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from es_saga.adapters import definitions as known_definitions
from es_saga.adapters.catch_up import CatchUp
from es_saga.adapters.clock import SystemClock
from es_saga.adapters.leases import PostgresLeases
from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_link import Link, Login
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.adapters.nats_service import Asker
from es_saga.adapters.nats_status import StatusChecker
from es_saga.adapters.nats_streams import StreamLimits, Streams
from es_saga.adapters.sealing import master_key
from es_saga.adapters.store import check_schema, connect
from es_saga.adapters.trouble import Trouble, trouble, unavailable
from es_saga.app import App
from es_saga.cli.alarming import alerting
from es_saga.cli.running import RunningApp, data_folder, running_apps
from es_saga.cli.views import Kept, caught_up, kept
from es_saga.config import Settings
from es_saga.core.errors import InvalidInput, NotFound, SagaError, Unavailable
from es_saga.core.events import SagaEvent
from es_saga.core.messages import Subjects
from es_saga.core.nested import is_for_saga
from es_saga.database import is_sqlite, make_engine
from es_saga.engine.client import Client
from es_saga.engine.condition import MEBIBYTE, Asks
from es_saga.engine.leases import SoleOwner
from es_saga.engine.manager import ProcessManager
from es_saga.engine.ports import Leases, Questions, Transport
from es_saga.engine.projector import Projector
from es_saga.participant import PollingRelay, Server, Subscriber, TailingRelay
from es_saga.participant.answering import Answering
from es_saga.participant.relay import Relay
from es_saga.projections.queries import Queries, no_such
from es_saga.projections.view import View

if TYPE_CHECKING:  # with the extra `web` only
    from es_saga.web.access import Access
    from es_saga.web.desk import Desk


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
    except SagaError:
        raise
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{module_name}.".startswith(f"{missing}."):
            raise InvalidInput(
                f"There is no module {missing!r} here.", hint="Run it from your project's folder."
            ) from error
        raise InvalidInput(
            f"Module {module_name!r} cannot be imported: "
            f"{type(error).__name__}: {error}{_place(error)}.",
            hint="ES_SAGA_LOG_LEVEL=debug shows the traceback.",
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        known = [name for name, found in vars(module).items() if isinstance(found, App)]
        hint = f"Its apps: {', '.join(known)}." if known else "It has no App at all."
        raise InvalidInput(f"Module {module_name!r} has no {attribute!r}.", hint=hint) from error


def _place(error: Exception) -> str:
    """File and line that an import came to grief at."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or isinstance(error, SyntaxError):  # says it itself
        return ""
    return f" ({last.tb_frame.f_code.co_filename}, line {last.tb_lineno})"


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
        raise InvalidInput(
            f"{reference!r} is {type(app).__name__}, not App.",
            hint="Make one: app = App('name', sagas=[...]).",
        )
    return app


# ── parts ────────────────────────────────────────────────────────────────────────────────────────


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


@contextmanager
def broker(settings: Settings) -> Generator[str, None, None]:
    """The broker's URL: the one that is set, or a server of our own for as long as this lasts."""
    if settings.nats is not None:
        yield settings.nats
        return
    store = data_folder(settings) / "nats"
    with EmbeddedNats(store, sync_always=settings.synced, port=_last_port(store)) as server:
        (store / "port").write_text(server.url.rpartition(":")[2])
        yield server.url


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


def encryption_key(settings: Settings) -> bytes | None:
    """The master key of the log; None: it is not encrypted.

    Raises:
        InvalidInput: it is no key.
    """
    found = settings.encryption_key
    return None if found is None else master_key(found.get_secret_value())


def log_engine(settings: Settings) -> sa.Engine:
    """An engine on the log's database; for SQLite its folder is made.

    Raises:
        InvalidInput: it cannot be made, or that is no database's URL.
    """
    engine = make_engine(settings.database_url)
    file = settings.database_file
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"The log cannot be at {file}: {error.strerror}.") from error
    return engine


def existing_log(settings: Settings) -> sa.Engine:
    """An engine on a log that is there; to look at one shall not make it.

    Raises:
        Unavailable: a SQLite log that is not there.
        InvalidInput: a file that is something else.
    """
    file = settings.database_file
    if file is not None and not file.is_file():
        elsewhere = {entry.database for entry in running_apps(settings)} - {""}
        hint = "Run an app first, or say where its log is with --data or --database."
        if elsewhere:
            hint = f"The app has its log at {', '.join(elsewhere)}: say so with --database."
        raise Unavailable(f"There is no log at {file}.", hint=hint)
    try:
        if file is not None and not is_sqlite(file):
            raise InvalidInput(f"{file} is no SQLite database.", hint="Say where the log is.")
    except OSError as error:
        raise Unavailable(f"The log cannot be read: {error}.") from error
    return make_engine(settings.database_url)


def queries(settings: Settings) -> Queries:
    """The read side of the log.

    Raises:
        Unavailable: a SQLite log that is not there.
    """
    return Queries(existing_log(settings))


async def history(settings: Settings, saga_id: str) -> Sequence[SagaEvent]:
    """A saga's events as they are, with what is hidden from everybody.

    Raises:
        NotFound: there is no such saga.
        CorruptHistory: the first event that is missing or cannot be read is named.
        Unavailable: the log is not there, or encrypted and there is no key.
    """
    existing_log(settings).dispose()
    store = connect(settings.database_url, master=encryption_key(settings))
    try:
        found = (await store.load([saga_id])).get(saga_id)
    finally:
        await store.close()
    if found is None:
        raise no_such(saga_id)
    return found


@contextmanager
def _within_reach() -> Generator[None, None, None]:
    """Database errors in words.

    Raises:
        Unavailable: the database is out of reach.
    """
    try:
        yield
    except SQLAlchemyError as error:
        if trouble(error) is Trouble.OUTAGE:
            raise unavailable(error) from error
        raise


def views(settings: Settings, *, conducted: Sequence[RunningApp] = ()) -> list[Kept]:
    """The library's views, and those that the settings name.

    Args:
        conducted: whose read models are meant, too.

    Raises:
        InvalidInput: one is not there, is no view, or has the name of another one.
    """
    theirs = dict.fromkeys(reference for app in conducted for reference in app.projections)
    others = (reference for reference in theirs if reference not in settings.projections)
    return kept((reference, load(reference)) for reference in (*settings.projections, *others))


@contextmanager
def _catching_up(settings: Settings, following: Sequence[View]) -> Generator[CatchUp, None, None]:
    """What moves views on, with a connection for each."""
    engine = make_engine(settings.database_url, pool_size=len(following) + 1)
    catching = CatchUp(engine)
    try:
        yield catching
    finally:
        catching.close()
        engine.dispose()


@asynccontextmanager
async def conducting(
    settings: Settings,
    app: App,
    pipe: Transport,
    *,
    migrate: bool,
    volatile: bool = False,
    questions: Questions | None = None,
) -> AsyncGenerator[ProcessManager, None]:
    """A process manager with its log and its read models, running.

    Args:
        volatile: what the pipe holds is lost with this process.
        questions: where participants are asked how they are.

    Raises:
        DefinitionError: a definition cannot be run, or differs from what the log knows.
        Unavailable: the database is out of reach or not migrated.
    """
    found = app.definitions()
    found_views = views(settings)
    inline = [each.view for each in found_views if each.inline]
    following = [each.view for each in found_views if not each.inline]
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        engine = log_engine(settings)
        stack.callback(engine.dispose)
        embedded = engine.dialect.name == "sqlite"
        leases: Leases = SoleOwner()
        if not embedded:
            leases = locks = PostgresLeases(engine, app.name)
            stack.push_async_callback(locks.close)
        store = connect(
            settings.database_url,
            views=inline,
            migrate=migrate or embedded,
            master=encryption_key(settings),
        )
        stack.push_async_callback(store.close)
        with _within_reach():
            known_definitions.register(engine, found)
            await caught_up(engine, inline, clock)
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
            volatile=volatile,
        )
        projector = Projector(
            following, stack.enter_context(_catching_up(settings, following)), clock
        )
        manager.listen(lambda _: projector.wake())
        await stack.enter_async_context(manager)
        await projector.start()
        stack.push_async_callback(projector.stop)
        told = alerting(
            settings,
            manager,
            pipe,
            engine,
            clock,
            participants=_services(app),
            questions=questions,
        )
        await stack.enter_async_context(told)
        yield manager


def _services(app: App) -> list[str]:
    """Everybody whom an app's sagas ask for something, and its own participants."""
    asked = {
        step.command.to for definition in app.definitions() for step in definition.steps.values()
    }
    services = {*app.participants, *asked} - {""}
    return sorted(name for name in services if not is_for_saga(name))


@asynccontextmanager
async def serving(
    settings: Settings,
    app: App,
    pipe: Transport,
    names: Sequence[str],
    questions: Questions | None = None,
) -> AsyncGenerator[list[Server], None]:
    """Participants of an app, each on its own database, serving, listening and publishing.

    Args:
        questions: where they answer queries, too.

    Raises:
        NotFound: the app has no such participant.
        Unavailable: a database, or the broker, is out of reach.
    """
    if settings.participant_database is None:
        data_folder(settings)
    servers: list[Server] = []
    beside: list[Subscriber | Relay | Answering] = []
    for name in names or list(app.participants):
        participant = app.participants.get(name)
        if participant is None:
            known = ", ".join(app.participants)
            raise NotFound(
                f"App {app.name!r} has no participant {name!r}.", hint=f"Known: {known}."
            )
        url, tenant = settings.participant_url(name), settings.tenant
        servers.append(
            Server(
                participant,
                url,
                pipe,
                tenant=tenant,
                concurrency=settings.concurrency,
                create_tables=True,
            )
        )
        if participant.reactions:
            beside.append(Subscriber(participant, url, pipe, tenant=tenant, create_tables=True))
        if participant.outbox is not None:
            beside.append(_relay(settings, name, pipe))
        if questions is not None:
            limit = settings.slot_limit * MEBIBYTE
            beside.append(Answering(participant, url, questions, tenant=tenant, slot_limit=limit))
    async with AsyncExitStack() as stack:
        for serving in (*servers, *beside):
            await stack.enter_async_context(serving)
        yield servers


def _relay(settings: Settings, name: str, pipe: Transport) -> Relay:
    """What publishes a participant's outbox."""
    url, tenant = settings.participant_url(name), settings.tenant
    if settings.relay == "polling":
        return PollingRelay(name, url, pipe, tenant=tenant)
    limit = settings.slot_limit * MEBIBYTE
    return TailingRelay(
        name, url, pipe, tenant=tenant, max_retained_bytes=limit, create_tables=True
    )


@asynccontextmanager
async def status_checker(
    settings: Settings, app: App, url: str, pipe: Transport
) -> AsyncGenerator[None, None]:
    """The status checker of an app, over NATS request and reply.

    Raises:
        Unavailable: the broker is out of reach.
    """
    engine = log_engine(settings)
    checker = StatusChecker(
        url.split(","),
        login(settings),
        app=app.name,
        tenant=settings.tenant,
        queries=Queries(engine),
        client=Client(pipe, app.name, tenant=settings.tenant),
    )
    try:
        await checker.open()
        yield
    finally:
        await checker.close()
        engine.dispose()


# ── the web ──────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def desk(settings: Settings, app: App | None, access: Access) -> AsyncGenerator[Desk, None]:
    """What the HTTP side asks; with `app` its code too.

    Raises:
        DefinitionError: a definition of the app cannot be run.
        Unavailable: the log is out of reach, not there, or has not the schema that is needed.
    """
    from es_saga.cli.line import OnDemand
    from es_saga.cli.workshop import DatabaseWorkshop
    from es_saga.web.desk import Desk

    found = () if app is None else app.definitions()
    found_views = views(settings, conducted=running_apps(settings))
    engine = existing_log(settings)
    line = OnDemand(settings if app is None else settings.model_copy(update={"app": app.name}))
    async with AsyncExitStack() as stack:
        stack.callback(engine.dispose)
        stack.push_async_callback(line.close)
        check_schema(engine)
        try:
            store = connect(settings.database_url, master=encryption_key(settings))
            stack.push_async_callback(store.close)
        except Unavailable:  # it is encrypted and we have no key: the views can be looked at
            store = None
        made = Desk(
            engine,
            line=line,
            definitions=found,
            access=access,
            log=store,
            views={each.view.name: each.inline for each in found_views},
            workshop=DatabaseWorkshop(settings.database_url, found_views),
        )
        stack.push_async_callback(made.close)
        yield made
