"""Fixtures of the whole suite."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
import structlog
from hypothesis import settings

from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.adapters.postgres import EmbeddedPostgres
from es_saga.adapters.telemetry import configure_logging
from tests import requirements_report

# Durability is not under test here; a killed server still keeps what the system has in memory.
_TEST_SETTINGS = {
    "fsync": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "wal_level": "logical",
}
_numbers = itertools.count(1)

LONG = ("chaos", "cli/test_bench.py", "typing", "test_readme.py", "test_notebooks.py")
"""What takes longest. Begun last, it would keep one core busy while the others are done."""

configure_logging("warning")
LOGGER = structlog.get_config()["wrapper_class"]

# A busy machine is no failure. In CI the examples are the same every time; elsewhere they are not.
settings.register_profile("ours", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("ours")


def pytest_addoption(parser: pytest.Parser) -> None:
    requirements_report.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    requirements_report.register(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first; else as they were collected."""
    long = tuple(str(Path(__file__).parent / place) for place in LONG)
    items.sort(key=lambda item: not str(item.path).startswith(long))


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: some tests wait for processes, and some for the time."""
    return (os.cpu_count() or 1) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have to tell: `record_property("told", …)`; with xdist they cannot."""
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, value in report.user_properties:
            if name == "told":
                terminalreporter.write_line(str(value))


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Commands set up logging for their process; run in this one, they leave nothing of it."""
    yield
    if structlog.get_config()["wrapper_class"] is LOGGER:
        return
    configure_logging("warning")
    for name, module in list(sys.modules.items()):
        if name.startswith("es_saga."):
            log: object = vars(module).get("_log", module)
            log.__dict__.pop("bind", None)  # made for another level


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of one PostgreSQL server; each worker of a parallel run has its own."""
    folder: Path = tmp_path_factory.mktemp("postgres") / "data"
    with EmbeddedPostgres(folder, settings=_TEST_SETTINGS) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty database of its own, dropped afterwards."""
    name = f"test_{next(_numbers)}"
    server = sa.make_url(postgres_server)
    plain = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} STRATEGY = FILE_COPY".encode())
        yield server.set(database=name).render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def nats_server() -> Iterator[EmbeddedNats]:
    """One NATS server with JetStream; each worker of a parallel run has its own."""
    with EmbeddedNats() as server:
        yield server


@pytest.fixture
def nats_url(nats_server: EmbeddedNats) -> str:
    """URL of a server that other tests use too: take a tenant of your own (`nats_tenant`)."""
    return nats_server.url


@pytest.fixture
def nats_tenant() -> str:
    """A tenant's name that no other test has."""
    return f"t{next(_numbers)}"
