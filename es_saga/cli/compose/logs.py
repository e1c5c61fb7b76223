"""The log: its engine, its read side, the views that follow it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from es_saga.adapters.catch_up import CatchUp
from es_saga.adapters.sealing import master_key
from es_saga.adapters.store import connect
from es_saga.adapters.trouble import Trouble, trouble, unavailable
from es_saga.cli.compose.apps import load
from es_saga.cli.running import RunningApp, running_apps
from es_saga.cli.views import Kept, kept
from es_saga.config import Settings
from es_saga.core.errors import InvalidInput, Unavailable
from es_saga.core.events import SagaEvent
from es_saga.database import is_sqlite, make_engine
from es_saga.projections.queries import Queries, no_such
from es_saga.projections.view import View

if TYPE_CHECKING:  # with the extra `web` only
    pass


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
def within_reach() -> Generator[None, None, None]:
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
def catching_up(settings: Settings, following: Sequence[View]) -> Generator[CatchUp, None, None]:
    """What moves views on, with a connection for each."""
    engine = make_engine(settings.database_url, pool_size=len(following) + 1)
    catching = CatchUp(engine)
    try:
        yield catching
    finally:
        catching.close()
        engine.dispose()
