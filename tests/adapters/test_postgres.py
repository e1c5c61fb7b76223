"""The embedded PostgreSQL: starts anywhere, as anybody, and leaves with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from es_saga.adapters.postgres import EmbeddedPostgres
from es_saga.core.errors import InvalidInput, Unavailable

FAST = {"fsync": "off"}


def ask(url: str, *statements: str) -> object:
    """The first column of the last statement's first row."""
    plain = sa.make_url(url).set(drivername="postgresql").render_as_string()
    row = None
    with psycopg.connect(plain) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
    assert row is not None
    return row[0]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_it_starts_in_a_private_folder_and_keeps_its_data_over_a_restart(tmp_path: Path) -> None:
    private = tmp_path / ("private" * 15)  # also too long for a socket's path
    private.mkdir(mode=0o700)
    with EmbeddedPostgres(private / "data", settings=FAST) as url:
        assert ask(url, "SHOW listen_addresses") == ""
        ask(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7) RETURNING n")
    with EmbeddedPostgres(private / "data", settings=FAST) as url:
        assert ask(url, "SELECT n FROM kept") == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_it_stops_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from es_saga.adapters.postgres import EmbeddedPostgres\n"
        f"server = EmbeddedPostgres({str(tmp_path / 'data')!r}, settings={FAST!r})\n"
        "server.start()\n"
        "print(server.process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        server = int(parent.stdout.readline())
        assert alive(server)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 20
    while alive(server) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(server)


def test_a_second_server_on_the_folder_is_refused_with_the_reason(tmp_path: Path) -> None:
    with (
        EmbeddedPostgres(tmp_path / "data", settings=FAST),
        pytest.raises(Unavailable, match=r"postmaster\.pid"),
    ):
        EmbeddedPostgres(tmp_path / "data", settings=FAST).start()


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("es_saga.adapters.postgres._PACKAGE", "no_such_package")
    with pytest.raises(InvalidInput, match=r"es-saga\[postgres\]"):
        EmbeddedPostgres(tmp_path / "data").start()
