"""Where it is played: a folder, a NATS server, databases, and what the processes must know."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from es_saga.adapters.migrate import upgrade
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.app import App
from es_saga.cli import compose
from es_saga.cli.console import say
from es_saga.config import Settings
from es_saga.config import load as load_settings
from es_saga.database import make_engine
from es_saga.participant import create_tables


class Stage(NamedTuple):
    """Everything is there, and nobody is at work yet."""

    app: App
    settings: Settings
    nats: str

    @property
    def environment(self) -> dict[str, str]:
        """Where a process finds it all."""
        found = {
            **os.environ,
            "ES_SAGA_DATA": str(self.settings.data),
            "ES_SAGA_NATS": self.nats,
            "ES_SAGA_SYNC": "true",
        }
        for name in ("database", "participant_database"):
            secret = getattr(self.settings, name)
            if secret is not None:
                found[f"ES_SAGA_{name.upper()}"] = secret.get_secret_value()
        return found


@contextmanager
def stage(app: App, data: Path | None, *, postgres: bool) -> Generator[Stage, None, None]:
    """A stage in this folder; without one, in a folder that is thrown away afterwards."""
    with ExitStack() as stack:
        kept = data is not None
        if data is None:
            data = Path(tempfile.mkdtemp(prefix="es-saga-demo-"))
            stack.callback(shutil.rmtree, data, ignore_errors=True)
        data.mkdir(parents=True, exist_ok=True)
        say(f"[dim]data in {data}[/]")
        settings = load_settings(data=data)
        if postgres:
            settings = _on_postgres(data, app.participants, stack, kept=kept)
        nats = EmbeddedNats(data / "nats", sync_always=True)
        stack.enter_context(nats)
        say(f"[dim]NATS server {nats.url}, every message synced to disk[/]")
        upgrade(compose.log_engine(settings))
        for participant in app.participants.values():
            engine = make_engine(settings.participant_url(participant.name))
            create_tables(participant, engine)
            engine.dispose()
        say(f"[dim]{'PostgreSQL 18' if postgres else 'SQLite'} holds the log[/]")
        yield Stage(app, settings, nats.url)


def _on_postgres(data: Path, services: Iterable[str], stack: ExitStack, *, kept: bool) -> Settings:
    from es_saga.adapters.postgres import EmbeddedPostgres

    options = {"wal_level": "logical"}  # so that a relay can follow the log: ES_SAGA_RELAY=tailing
    if not kept:  # what is thrown away survives the death of processes, and not of the machine
        options["fsync"] = "off"
    server = EmbeddedPostgres(data / "postgres", settings=options)
    url = stack.enter_context(server)
    admin = make_engine(url).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        known = set(connection.exec_driver_sql("SELECT datname FROM pg_database").scalars())
        for name in {"log", *services} - known:
            connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    admin.dispose()
    return load_settings(
        data=data,
        database=url.replace("/postgres?", "/log?"),
        participant_database=url.replace("/postgres?", "/{name}?"),
    )
