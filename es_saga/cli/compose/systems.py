"""Process managers, participants and the dashboard, put together from all the rest.

Log events: `version_missing` (sagas are open on a version that the app does not have).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa
import structlog

from es_saga.adapters import definitions as known_definitions
from es_saga.adapters.clock import SystemClock
from es_saga.adapters.leases import PostgresLeases
from es_saga.adapters.nats_status import StatusChecker
from es_saga.adapters.store import check_schema, connect
from es_saga.app import App
from es_saga.cli.alarming import alerting
from es_saga.cli.compose.broker import login
from es_saga.cli.compose.logs import (
    catching_up,
    encryption_key,
    existing_log,
    log_engine,
    views,
    within_reach,
)
from es_saga.cli.running import data_folder, running_apps
from es_saga.cli.views import caught_up
from es_saga.config import Settings
from es_saga.core.compiled import Definition
from es_saga.core.errors import NotFound, Unavailable
from es_saga.core.nested import is_for_saga
from es_saga.engine.client import Client
from es_saga.engine.condition import MEBIBYTE
from es_saga.engine.leases import SoleOwner
from es_saga.engine.manager import ProcessManager
from es_saga.engine.ports import Questions, Transport
from es_saga.engine.projector import Projector
from es_saga.participant import PollingRelay, Server, Subscriber, TailingRelay
from es_saga.participant.answering import Answering
from es_saga.participant.holding import HoldingPipe, HoldingRelay
from es_saga.participant.relay import Relay
from es_saga.projections.definitions import known
from es_saga.projections.queries import Queries

if TYPE_CHECKING:  # with the extra `web` only
    from es_saga.web.access import Access
    from es_saga.web.desk import Desk

_log = structlog.get_logger("es_saga.run")


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
        ConflictError: another app runs on the log.
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
        locks = None if embedded else PostgresLeases(engine, app.name)
        if locks is not None:
            stack.push_async_callback(locks.close)
        store = connect(
            settings.database_url,
            views=inline,
            migrate=migrate or embedded,
            master=encryption_key(settings),
        )
        stack.push_async_callback(store.close)
        if locks is not None:
            await locks.alone()
        with within_reach():
            known_definitions.register(engine, found)
            await caught_up(engine, inline, clock)
            _say_who_is_left(engine, found)
        manager = ProcessManager(
            app.name,
            found,
            store=store,
            transport=pipe,
            clock=clock,
            leases=locks or SoleOwner(),
            tenant=settings.tenant,
            refuse_starts=settings.starts_during_outage == "refuse",
            cached=settings.cached_sagas,
            volatile=volatile,
        )
        projector = Projector(
            following, stack.enter_context(catching_up(settings, following)), clock
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


def _say_who_is_left(engine: sa.Engine, found: Sequence[Definition]) -> None:
    """Warn of sagas that are open on a version which is not here: until it is they wait."""
    here = {(definition.name, definition.version) for definition in found}
    with engine.connect() as connection:
        for row in known(connection):
            if row.open and (row.type, row.version) not in here:
                _log.warning(
                    "version_missing",
                    saga_type=row.type,
                    version=row.version,
                    open=row.open,
                    hint="They wait. Keep old versions in the app until their sagas are closed.",
                )


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
    holding: HoldingPipe | None = None,
) -> AsyncGenerator[list[Server], None]:
    """Participants of an app, each on its own database, serving, listening and publishing.

    Args:
        questions: where they answer queries, too.
        holding: the pipe once more, if what it holds is lost with this process.

    Raises:
        NotFound: the app has no such participant.
        Unavailable: a database, or the broker, is out of reach.
    """
    if settings.participant_database is None:
        data_folder(settings)
    servers: list[Server] = []
    beside: list[Subscriber | Answering] = []
    relays: list[Relay] = []
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
            relays.append(_relay(settings, name, pipe, holding))
        if questions is not None:
            limit = settings.slot_limit * MEBIBYTE
            beside.append(Answering(participant, url, questions, tenant=tenant, slot_limit=limit))
    async with AsyncExitStack() as stack:
        for serving in (*servers, *beside, *relays):  # who hears is there before it is told
            await stack.enter_async_context(serving)
        yield servers


def _relay(settings: Settings, name: str, pipe: Transport, holding: HoldingPipe | None) -> Relay:
    """What publishes a participant's outbox."""
    url, tenant = settings.participant_url(name), settings.tenant
    if holding is not None:
        return HoldingRelay(name, url, holding, tenant=tenant)
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
