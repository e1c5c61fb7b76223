"""Who runs in a data folder: conductors announce themselves, other commands find them.

An announcement is a small file whose writer holds a lock on it for as long as it lives. So one that
was left behind by a `kill -9` is told from one that counts, whoever has its process id by now.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from es_saga.config import Settings, public
from es_saga.core.errors import ConflictError, InvalidInput, NotFound, Unavailable

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True, slots=True)
class RunningApp:
    """A process manager on this machine."""

    app: str
    nats: str
    """URL of its broker, password and all: the file is its owner's alone."""
    tenant: str
    pid: int
    database: str
    """URL of its log without secrets; empty where it is the data folder's own."""
    reference: str = ""
    """`module:attribute` of its code."""
    projections: Sequence[str] = ()
    """The same of the read models that it keeps."""


def data_folder(settings: Settings) -> Path:
    """The data folder, made if it is missing.

    Raises:
        InvalidInput: it cannot be one.
    """
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"{settings.data} cannot be the data folder: {error.strerror}.",
            hint="Choose another one with --data.",
        ) from error
    return settings.data


@contextmanager
def sole_conductor(settings: Settings) -> Generator[None, None, None]:
    """Conduct a log that is a SQLite file alone: such a log has one owner.

    Raises:
        ConflictError: another process conducts it.
    """
    log = settings.database_file
    if log is None:
        yield
        return
    if settings.database is None:
        data_folder(settings)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(log.with_name(f"{log.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise InvalidInput(f"The log cannot be at {log}: {error.strerror}.") from error
    try:
        if not _locked(lock):
            owner = os.read(lock, 32).decode(errors="replace").strip()
            raise ConflictError(
                f"Another process{f' ({owner})' if owner else ''} conducts the log in {log}.",
                hint="Stop that one, choose another --data, or share a PostgreSQL log.",
            )
        os.ftruncate(lock, 0)
        os.write(lock, f"pid {os.getpid()}".encode())
        yield
    finally:
        os.close(lock)


@contextmanager
def announced(
    settings: Settings, app: str, nats: str, reference: str = ""
) -> Generator[None, None, None]:
    """Tell other commands on this machine where the app runs, for as long as this lasts."""
    path = data_folder(settings) / f"run-{app}-{os.getpid()}.json"
    elsewhere = public(settings.database_url) if settings.database is not None else ""
    entry = RunningApp(
        app, nats, settings.tenant, os.getpid(), elsewhere, reference, settings.projections
    )
    temporary = path.with_suffix(".new")
    file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, json.dumps(asdict(entry)).encode())
        _locked(file)  # before it has its name, so that nobody takes it for one left behind
        temporary.replace(path)
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(file)


def running_apps(settings: Settings) -> list[RunningApp]:
    """Every process manager in the data folder, by app and process id."""
    found: list[RunningApp] = []
    for path in sorted(settings.data.glob("run-*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError), path.open("rb") as file:
            if not _locked(file.fileno(), shared=True):
                found.append(RunningApp(**json.loads(file.read())))
    return found


def located(settings: Settings) -> Settings:
    """The settings with app, broker and tenant filled in from what runs in the data folder.

    Raises:
        NotFound: several apps run there, and nothing says which is meant.
        Unavailable: none does.
    """
    if settings.nats and settings.app:
        return settings
    apps = {
        entry.app: entry for entry in running_apps(settings) if settings.app in (None, entry.app)
    }
    if len(apps) > 1:
        raise NotFound(f"Several apps run here: {', '.join(apps)}.", hint="Say which with --app.")
    if not apps:
        what = f"App {settings.app!r} is not" if settings.app else "Nothing is"
        raise Unavailable(
            f"{what} running in {settings.data}.",
            hint="Start it with `es-saga run APP`, say where it is with --data, "
            "or give --nats and --app.",
        )
    (entry,) = apps.values()
    given = settings.model_fields_set
    return settings.model_copy(
        update={
            "app": entry.app,
            "nats": settings.nats or entry.nats,
            "tenant": settings.tenant if "tenant" in given else entry.tenant,
            "sync": settings.synced,
        }
    )


def _locked(file: int, *, shared: bool = False) -> bool:
    """Take a lock without waiting; False where somebody else has it."""
    if sys.platform == "win32":
        return not shared  # no such locks: what stands there is believed
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
