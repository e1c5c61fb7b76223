"""Help: quick, complete, and with an example on every page."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer

from es_saga.cli import app
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


def pages(command: Any, name: str = "") -> Iterator[str]:
    """The names of all help pages there are."""
    yield name
    for inner, found in getattr(command, "commands", {}).items():
        yield from pages(found, f"{name} {inner}".strip())


PAGES = list(pages(typer.main.get_command(app)))


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


@pytest.mark.parametrize("command", PAGES)
def test_every_help_page_is_whole_in_80_columns_and_ends_with_an_example(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    page = cli(*command.split(), "--help")

    assert page.code == 0
    assert not [line for line in page.out.splitlines()[1:] if line.endswith("...")]
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
