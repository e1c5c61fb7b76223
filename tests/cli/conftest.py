"""The command line, called in this process or as a child, and systems that really run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from es_saga.cli import main

REPOSITORY = Path(__file__).parents[2]
READY_SECONDS = 60.0
STOP_SECONDS = 40.0
CHILD_SECONDS = 60.0


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Result]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`cli("list", "-o", "json")` in this process, where no process of its own is needed."""

    def call(*arguments: str | Path, data: Path | None = None) -> Result:
        words = ["es-saga", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", [*words, *(["--data", str(data)] if data else [])])
        out, err = io.StringIO(), io.StringIO()
        code = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0
        return Result(code, out.getvalue(), err.getvalue())

    return call


def environment(**more: str) -> dict[str, str]:
    """Of a child: nothing of ours from outside, so that every test says what it sets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ES_SAGA_")}
    return {**kept, "ES_SAGA_SYNC": "false", **more}


def child(*arguments: str | Path, cwd: Path = REPOSITORY, **more: str) -> Result:
    """`python -m es_saga …` to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "es_saga", *map(str, arguments)],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=CHILD_SECONDS,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


class Running:
    """An `es-saga run` as a child, from when it says that it runs."""

    def __init__(self, data: Path, *arguments: str, **more: str) -> None:
        self.data = data
        self.log = data.with_suffix(".err")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "es_saga", "run", *arguments],
                cwd=REPOSITORY,
                env=environment(ES_SAGA_DATA=str(data), **more),
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + READY_SECONDS
        while "is running at" not in self.said():
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise AssertionError(f"it does not run: {self.said()}")
            time.sleep(0.02)

    def said(self) -> str:
        return self.log.read_text()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running, None, None]:
    """The reference shop with its services; stopped as an operator would, and drained."""
    data = tmp_path_factory.mktemp("shop") / "data"
    running = Running(data, "domain.orders:app", "--participants")
    yield running
    assert running.stop() == 0, running.said()
    assert "stopping" in running.said()
    assert not list(data.glob("run-*")), "it takes its announcement with it"


@pytest.fixture(scope="session")
def bakery(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running, None, None]:
    """A system whose sagas get stuck."""
    data = tmp_path_factory.mktemp("bakery") / "data"
    running = Running(data, "tests.cli.bakery:app", "--participants")
    yield running
    running.stop()


def order(number: str, **changes: Any) -> str:
    """The JSON of an order of the shop."""
    usual = {"customer": "ada", "sku": "teapot", "pence": 1999, "card": "visa", "town": "Leeds"}
    return json.dumps({"order_id": number, **usual, **changes})
