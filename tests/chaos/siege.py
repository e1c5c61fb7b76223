"""The system under attack: its broker, its database, its processes, and what can befall them."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import sqlalchemy as sa

from es_saga.adapters import launch
from es_saga.adapters.migrate import upgrade
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.adapters.postgres import EmbeddedPostgres
from es_saga.cli.compose import load_app
from es_saga.core.errors import Unavailable
from es_saga.database import make_engine
from tests.chaos.app import Safeguard, Scene

ROOT = Path(__file__).parents[2]

WATCH_SECONDS = 0.05
"""How often dead processes are looked for."""

STOP_SECONDS = 40.0
"""How long a process may take to stop in order."""

SHARE_SECONDS = 30.0
"""How long the managers may take until the parts are shared."""

RESTART_SECONDS = 30.0
"""How long PostgreSQL may take until a killed server's last children are gone."""

ERROR_LINES = 40
"""So much of what a process said last is told when it ends by itself."""


class Child:
    """A process that is started again when it dies."""

    def __init__(self, name: str, role: str, scene: Scene) -> None:
        self.name = name
        self._role = role
        self._scene = scene
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.surprises: list[str] = []
        """Ends that nobody had asked for."""
        self.errors = scene.folder / f"{name}.log"

    def start(self) -> None:
        """Start it; it ends with us, however we end."""
        self._starts += 1
        scene = self._scene.model_copy(update={"seed": f"{self._scene.seed}{self._starts}"})
        tied = [sys.executable, launch.__file__, str(os.getpid()), "-1"]
        system = [sys.executable, "-m", "tests.chaos.app", self._role, scene.model_dump_json()]
        with self.errors.open("ab") as errors:
            self._process = subprocess.Popen([*tied, *system], cwd=ROOT, stderr=errors)

    def look(self) -> None:
        """Start it again if it has died by itself."""
        process = self._process
        if process is not None and process.poll() is not None:
            last = self.errors.read_text().splitlines()[-ERROR_LINES:]
            ended = f"{self.name} ended by itself: exit {process.returncode}"
            self.surprises.append("\n".join([ended, *last]))
            self.start()

    def kill(self, *, restart: bool = True) -> None:
        """End it without warning, and start it again."""
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        process.wait()
        if restart:
            self.start()

    def stop(self) -> None:
        """End it in order."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code:
            self.surprises.append(f"{self.name} did not stop in order: exit {code}")


class Siege:
    """Everything running, and ways to break it. A context manager.

    Two managers share the log. On SQLite each believes that it owns every part; on PostgreSQL they
    share the parts by leases.

    Args:
        wiping: the broker's store may be lost, too; what services have told is lost with it, since
            nobody asks for an event again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: str,
        postgres: bool,
        without: Safeguard | None = None,
        app: str = "tests.chaos.shop:app",
        wiping: bool = True,
    ) -> None:
        self._folder = folder
        self._nats = EmbeddedNats(folder / "nats")
        self._postgres: EmbeddedPostgres | None = None
        if postgres:
            # A killed server keeps what the system has in memory: no need to wait for the disk.
            settings = {"fsync": "off", "max_connections": "100", "shared_buffers": "32MB"}
            self._postgres = EmbeddedPostgres(folder / "pg", settings=settings)
        self._seed = seed
        self._without: Safeguard | None = without
        self._app = app
        self._wiping = wiping
        self.children: list[Child] = []
        self.faults: Counter[str] = Counter()
        self.scene = Scene(folder=folder, nats="", seed=seed, app=app)

    @property
    def nats_url(self) -> str:
        """Where the broker is, whenever it is up."""
        return self._nats.url

    def engine(self, name: str) -> sa.Engine:
        """The database of the log, or of a service."""
        settings = self.scene.settings()
        return make_engine(
            settings.database_url if name == "log" else settings.participant_url(name)
        )

    def __enter__(self) -> Siege:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._nats.start()
        databases: dict[str, str] = {}
        if self._postgres is not None:
            self._postgres.start()
            url = self._postgres.url
            admin = make_engine(url).execution_options(isolation_level="AUTOCOMMIT")
            with admin.connect() as connection:
                for name in ("log", *load_app(self._app).participants):
                    connection.exec_driver_sql(f"CREATE DATABASE {name}")
            admin.dispose()
            databases = {
                "database": url.replace("/postgres?", "/log?"),
                "participants": url.replace("/postgres?", "/{name}?"),
            }
        self.scene = Scene(
            folder=self._folder,
            nats=self._nats.url,
            seed=self._seed,
            app=self._app,
            without=self._without,
            **databases,
        )
        log = self.engine("log")
        upgrade(log)
        log.dispose()
        for name, role in (
            ("manager-1", "manager"),
            ("manager-2", "manager"),
            ("participants", "participants"),
        ):
            scene = self.scene.model_copy(update={"seed": f"{self._seed}/{name}/"})
            self.children.append(Child(name, role, scene))
            self.children[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children:
            child.stop()
        self._nats.stop()
        if self._postgres is not None:
            self._postgres.stop()

    async def watch(self) -> None:
        """Start again what has died by itself, until cancelled."""
        while True:
            for child in self.children:
                child.look()
            await asyncio.sleep(WATCH_SECONDS)

    async def until_shared(self) -> None:
        """Wait until each of the two managers holds half of the parts (PostgreSQL only)."""
        log = self.engine("log")
        deadline = time.monotonic() + SHARE_SECONDS
        while True:
            with log.connect() as connection:
                shares = connection.exec_driver_sql(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                    " AND objid < 1000 GROUP BY pid"
                ).scalars()
                if sorted(shares) == [8, 8]:
                    break
            for child in self.children:
                child.look()
            assert time.monotonic() < deadline, f"the parts are not shared; {self.surprises}"
            await asyncio.sleep(WATCH_SECONDS)
        log.dispose()

    @property
    def surprises(self) -> list[str]:
        """Every end of a process that we had no hand in."""
        return [surprise for child in self.children for surprise in child.surprises]

    # ── what can happen ──────────────────────────────────────────────────────────────────────────

    def kinds(self) -> Sequence[tuple[str, Callable[[], None]]]:
        """Every kind of fault, by name."""
        managers, participants = self.children[:2], self.children[2]
        found: list[tuple[str, Callable[[], None]]] = [
            ("NATS killed", self._kill_nats),
            ("manager killed", managers[0].kill),
            ("other manager killed", managers[1].kill),
            ("participants killed", participants.kill),
        ]
        if self._wiping:
            found.append(("NATS killed and its store wiped", self._wipe_nats))
        if self._postgres is not None:
            found.append(("PostgreSQL killed", self._kill_postgres))
        return found

    async def attack(self, count: int, die: random.Random, pause: tuple[float, float]) -> None:
        """`count` faults, every kind about as often, in random order, at random moments."""
        kinds = self.kinds()
        planned = [kinds[n % len(kinds)] for n in range(count)]
        die.shuffle(planned)
        for name, happen in planned:
            await asyncio.sleep(die.uniform(*pause))
            happen()
            self.faults[name] += 1

    def _kill_nats(self) -> None:
        self._nats.kill()
        self._nats.start()

    def _wipe_nats(self) -> None:
        self._nats.kill()
        shutil.rmtree(self._folder / "nats" / "jetstream")
        self._nats.start()

    def _kill_postgres(self) -> None:
        server = self._postgres
        assert server is not None
        assert server.process is not None
        server.process.kill()
        server.stop()
        deadline = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                server.start()
            except Unavailable:  # children of the killed one still hold its memory
                if time.monotonic() > deadline:
                    raise
            else:
                return
