"""`es-saga ui` and `es-saga token`, as they are called."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from es_saga.web import server
from es_saga.web.access import Role, read_tokens
from tests.cli.conftest import (
    READY_SECONDS,
    REPOSITORY,
    Cli,
    Running,
    cli,
    environment,
    order,
    shop,
)

__all__ = ["cli", "shop"]

PATIENCE_SECONDS = 30.0


class Serving:
    """An `es-saga ui` as a child, from when it prints its address."""

    def __init__(self, data: Path, *arguments: str, **more: str) -> None:
        self._log = data.parent / "ui.err"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "es_saga", "ui", *arguments],
                cwd=REPOSITORY,
                env=environment(ES_SAGA_DATA=str(data), **more),
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + READY_SECONDS
        while (match := re.search(r"serving at (http://[0-9.:]+)", self.said())) is None:
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise AssertionError(f"it does not serve: {self.said()}")
            time.sleep(0.02)
        self.address = match[1]

    def said(self) -> str:
        return self._log.read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextmanager
def serving(data: Path, *arguments: str, **more: str) -> Generator[tuple[Serving, httpx.Client]]:
    found = Serving(data, *arguments, **more)
    try:
        with httpx.Client(base_url=found.address, timeout=PATIENCE_SECONDS) as http:
            yield found, http
    finally:
        if found.process.poll() is None:
            assert found.stop() == 0, found.said()


@pytest.mark.requirement("R076", "R080")
def test_a_saga_is_started_and_its_end_awaited_over_http(shop: Running) -> None:
    with serving(shop.data, "domain.orders:app", "--port", "0") as (_, http):
        body = {"type": "order", "data": json.loads(order("http-1")), "key": "http-1"}
        started = http.post("/api/v1/sagas", json=body)
        assert started.status_code == 201, started.text
        ended = http.get("/api/v1/sagas/order-http-1/outcome")
        assert (ended.status_code, ended.json()["business_id"]) == (200, "http-1")
        assert http.get("/api/v1/sagas/order-http-1/check").json()["same"] is True


def test_it_looks_at_a_log_that_nobody_conducts_and_finds_the_app_once_it_runs(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    Running(data, "domain.orders:app", "--participants").stop()
    with serving(data, "--port", "0") as (_, http):
        assert http.get("/api/v1/sagas").json()["items"] == []
        body = {"type": "order", "data": json.loads(order("1")), "key": "1"}
        refused = http.post("/api/v1/sagas", json=body)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        again = Running(data, "domain.orders:app", "--participants")
        try:
            end = time.monotonic() + PATIENCE_SECONDS
            while http.post("/api/v1/sagas", json=body).status_code == 503:
                assert time.monotonic() < end
                time.sleep(0.1)
            assert http.get("/api/v1/sagas/order-1/outcome").status_code == 200
        finally:
            again.stop()


def test_it_stops_at_once_with_streams_open(shop: Running) -> None:
    with (
        serving(shop.data, "--port", "0") as (ui, http),
        http.stream("GET", "/api/v1/events") as told,
    ):
        assert told.status_code == 200
        lines = told.iter_lines()
        assert next(lines).startswith("retry:")
        begun = time.monotonic()
        assert ui.stop() == 0, ui.said()
        assert time.monotonic() - begun < server.STOP_SECONDS
        assert [line for line in lines if line.startswith("data:")] == []
    assert "Traceback" not in ui.said()


def test_with_tokens_nobody_is_answered_without_one(shop: Running, cli: Cli) -> None:
    made = cli("token", "ada", "--role", "operate")
    secret = made.err.rpartition(" ")[2].strip()
    assert secret not in made.out
    tokens = shop.data.parent / "tokens"
    tokens.write_text(f"# keys\n{made.out}")
    with serving(shop.data, "--port", "0", ES_SAGA_TOKENS_FILE=str(tokens)) as (ui, http):
        assert http.get("/api/v1/sagas").status_code == 401
        known = {"Authorization": f"Bearer {secret}"}
        assert http.get("/api/v1/sagas", headers=known).status_code == 200
    assert secret not in ui.said()


def test_a_token_reads_unless_it_is_said_to_operate(cli: Cli) -> None:
    (token,) = read_tokens(cli("token", "grafana").out)
    assert (token.name, token.role) == ("grafana", Role.READ)
    for name in ("a b", "a,b", "a:b", "a#b", ""):
        refused = cli("token", name)
        assert (refused.code, refused.out) == (2, ""), name
        assert "A token's name has" in refused.err


def address_of(listener: socket.socket) -> str:
    return str(listener.getsockname()[1])


REFUSED: dict[str, Callable[[socket.socket], list[str]]] = {
    "beyond this machine without tokens": lambda _: ["--host", "0.0.0.0"],
    "port taken": lambda listener: ["--port", address_of(listener)],
    "no host": lambda _: ["--host", "no.such.host.invalid"],
    "no port": lambda _: ["--port", "70000"],
    "no app": lambda _: ["domain.nothing:app"],
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_served_is_said_in_words(case: str, cli: Cli, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = cli("ui", *REFUSED[case](taken), data=tmp_path)
    assert found.code == 2
    assert found.err
    assert "Traceback" not in found.err


def test_without_a_log_there_is_nothing_to_serve(cli: Cli, tmp_path: Path) -> None:
    found = cli("ui", "--port", "0", data=tmp_path / "nothing")
    assert found.code == 5
    assert "There is no log" in found.err


def test_tokens_without_a_token_keep_nobody_out_and_are_refused(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_SAGA_TOKENS", "# nobody")
    assert cli("ui", data=tmp_path).code == 2
    monkeypatch.setenv("ES_SAGA_TOKENS_FILE", str(tmp_path / "missing"))
    assert cli("ui", data=tmp_path).code == 2


def test_without_the_extra_it_says_what_to_install(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name == "uvicorn" else usual(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    found = cli("ui", data=tmp_path)
    assert found.code == 2
    assert "uvicorn" in found.err
    assert "es-saga[web]" in found.err
