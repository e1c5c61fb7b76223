"""Help: quick, complete, and with an example on every page."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.cli.conftest import Cli

HEAVY = {
    "alembic",
    "asyncio",
    "eventsourcing",
    "hypothesis",
    "nats",
    "psycopg",
    "pydantic",
    "pydantic_settings",
    "rich",
    "sqlalchemy",
    "structlog",
    "uvloop",
}
COMMANDS = (
    *("cancel", "check", "demo", "doctor", "graph", "history", "list", "participant"),
    *(
        "compensate",
        "resend",
        "resolve",
        "resume",
        "retry",
        "run",
        "skip",
        "start",
        "status",
        "wait",
    ),
    *("migrate", "migrate up", "migrate status", "migrate sql"),
    *("streams", "streams ensure", "streams status"),
    *("projections", "projections list", "projections rebuild", "projections verify"),
)


def test_help_imports_no_heavy_module() -> None:
    program = (
        "import sys\n"
        "from es_saga.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "print('MODULES', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    imported = set(done.stdout.rpartition("MODULES ")[2].split())

    assert "Commands:" in done.stdout
    assert imported & HEAVY == set()


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_help_page_ends_with_an_example(cli: Cli, command: str) -> None:
    page = cli(*command.split(), "--help")

    assert page.code == 0
    last = page.out.strip().split("\n\n")[-1].strip()
    assert last.startswith("Example: es-saga")


def test_what_cannot_be_understood_is_a_usage_error(cli: Cli) -> None:
    for words in (("nonsense",), ("status",), ("list", "--limit", "0"), ("list", "--status", "x")):
        refused = cli(*words)

        assert refused.code == 2, words
        assert refused.out == ""
        assert "rror" in refused.err


def test_the_version_is_told(cli: Cli) -> None:
    told = cli("--version")

    assert told.code == 0
    assert told.out == f"es-saga {version('es-saga')}\n"
