"""The demo: a conductor, its participants and a broker, each a process of its own.

Real orders go through a real NATS server into a real database. Some are refused, some are answered
too late, and some bring a process down; in the end every total is counted again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from es_saga.adapters import launch
from es_saga.adapters.migrate import upgrade
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.adapters.telemetry import configure_logging
from es_saga.cli import compose
from es_saga.cli.console import clock, escape, say, styled_status
from es_saga.cli.looks import look_of
from es_saga.config import Settings
from es_saga.config import load as load_settings
from es_saga.core.errors import InvalidInput, NotFound, Unavailable
from es_saga.database import make_engine
from es_saga.engine.client import Client
from es_saga.projections.queries import AuditRow, Queries

APP = "domain.orders:app"
BOARD = "projections.order_board:board"
SERVICES = {
    "orders": "domain.orders.participants.order_book:totals",
    "payments": "domain.orders.participants.card_payments:totals",
    "stock": "domain.orders.participants.stockroom:totals",
    "shipping": "domain.orders.participants.carrier:totals",
}
"""The participants, and what counts the holdings of each."""

READY_SECONDS = 30.0
"""How long a process may take until it serves."""

PLAY_SECONDS = 120.0
"""How long the orders may take, all of them together."""

MAX_STARTS = 20
"""How often one process may be started."""

STOP_SECONDS = 10.0
LOOK_SECONDS = 0.05

COMPLETED, COMPENSATED = "completed", "compensated"


class Fate(NamedTuple):
    """What an order has in store, and how it must end."""

    story: str
    changes: dict[str, Any]
    ends: str
    kill: bool = False
    """The conductor is killed while the order is under way."""


HAPPY = Fate("all goes well", {}, COMPLETED)
REFUSED = Fate("the card is declined", {"card": "prepaid"}, COMPENSATED)
SOLD_OUT = Fate("the shelf is empty, the card is refunded", {"sku": "unicorn"}, COMPENSATED)
LOST = Fate("no answer comes from the stock, ever", {"sku": "teapot!garbled"}, COMPENSATED)
FLAKY = Fate("the carrier answers at the second attempt", {"town": "Leeds!flaky"}, COMPLETED)
CRASHED = Fate("payments die before they commit", {"card": "visa!crash"}, COMPLETED)
KILLED = Fate("the conductor is killed on the way", {}, COMPLETED, kill=True)

SCENARIOS: dict[str, tuple[Fate, ...]] = {
    "happy": (HAPPY,),
    "refuse": (REFUSED, SOLD_OUT),
    "timeout": (LOST, FLAKY),
    "crash": (CRASHED, KILLED, HAPPY),
    "mix": (HAPPY, REFUSED, SOLD_OUT, LOST, CRASHED, KILLED),
    "chaos": (HAPPY, SOLD_OUT, LOST, CRASHED, KILLED, REFUSED, FLAKY, KILLED),
}


@dataclass(slots=True)
class _Child:
    """A process of ours that is started again when it dies."""

    name: str
    arguments: list[str]
    process: asyncio.subprocess.Process | None = None
    starts: int = 0


class Demo:
    """One run of the demo. `play` returns whether everything ended as it must.

    Raises:
        InvalidInput: there is no such scenario.
    """

    def __init__(
        self,
        scenario: str,
        *,
        orders: int,
        once: bool,
        postgres: bool,
        data: Path | None,
        quiet: bool,
    ) -> None:
        if scenario not in SCENARIOS:
            known = ", ".join(SCENARIOS)
            raise InvalidInput(f"There is no scenario {scenario!r}.", hint=f"One of: {known}.")
        self._fates = [SCENARIOS[scenario][n % len(SCENARIOS[scenario])] for n in range(orders)]
        self._once = once
        self._postgres = postgres
        self._data = data
        self._quiet = quiet
        self._children: list[_Child] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._stopping = False
        self._prefix = f"{int(time.time()) % 0x100000:05x}"

    def _say(self, text: str) -> None:
        say(text, quiet=self._quiet)

    async def play(self) -> bool:
        """Start everything, run the orders, count, stop everything."""
        configure_logging("error")
        with ExitStack() as stack:
            if self._data is None:
                data = Path(tempfile.mkdtemp(prefix="es-saga-demo-"))
                stack.callback(shutil.rmtree, data, ignore_errors=True)
            else:
                data = self._data
            settings = self._settings(data, stack)
            nats = EmbeddedNats(data / "nats", sync_always=True)
            self._say(f"[dim]data in {data}[/]")
            stack.enter_context(nats)
            self._say(f"[dim]NATS server {nats.url}, every message synced to disk[/]")
            upgrade(compose.log_engine(settings))
            self._say(f"[dim]{'PostgreSQL 18' if self._postgres else 'SQLite'} holds the log[/]")
            try:
                return await self._play(settings, nats.url)
            finally:
                await self._stop_children()

    def _settings(self, data: Path, stack: ExitStack) -> Settings:
        data.mkdir(parents=True, exist_ok=True)
        if not self._postgres:
            return load_settings(data=data)
        from es_saga.adapters.postgres import EmbeddedPostgres

        url = stack.enter_context(EmbeddedPostgres(data / "postgres"))
        admin = make_engine(url).execution_options(isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            for name in ("log", *SERVICES):
                known = connection.exec_driver_sql(
                    "SELECT 1 FROM pg_database WHERE datname = %s", (name,)
                ).first()
                if known is None:
                    connection.exec_driver_sql(f"CREATE DATABASE {name}")
        admin.dispose()
        return load_settings(
            data=data,
            database=url.replace("/postgres?", "/log?"),
            participant_database=url.replace("/postgres?", "/{name}?"),
        )

    async def _play(self, settings: Settings, nats: str) -> bool:
        environment = {
            **os.environ,
            "ES_SAGA_DATA": str(settings.data),
            "ES_SAGA_NATS": nats,
            "ES_SAGA_SYNC": "true",
        }
        for name in ("database", "participant_database"):
            secret = getattr(settings, name)
            if secret is not None:
                environment[f"ES_SAGA_{name.upper()}"] = secret.get_secret_value()
        conductor = _Child("conductor", ["run", APP, "--projection", BOARD, "-q"])
        payments = _Child("payments", ["participant", APP, "payments", "-q"])
        others = [name for name in SERVICES if name != "payments"]
        self._children = [
            conductor,
            payments,
            _Child("the other services", ["participant", APP, *others, "-q"]),
        ]
        dashboard = None if self._once else _free_port()
        if dashboard is not None:
            words = ["ui", APP, "--port", str(dashboard), "-q"]
            self._children.append(_Child("dashboard", words))
        for child in self._children:
            self._watchers.append(asyncio.create_task(self._keep(child, environment)))
        if dashboard is not None:
            await _reachable(dashboard)
            self._say(f"[bold green]dashboard http://127.0.0.1:{dashboard}[/]")
        async with compose.transport(settings, nats, "demo") as pipe:
            client = Client(pipe, "orders")
            found = compose.queries(settings)
            started = await self._start_orders(client)
            killed = await self._kill_conductor(conductor)
            ended = await self._watch(found, started)
            verdict = self._judge(settings, started, ended, killed)
            if not self._once and not self._stopping:
                self._invite(settings, dashboard)
                await _interrupted()
        return verdict

    # ── processes ────────────────────────────────────────────────────────────────────────────────

    async def _keep(self, child: _Child, environment: dict[str, str]) -> None:
        """Start a process, and again whenever it dies."""
        launcher = str(Path(launch.__file__))
        while not self._stopping:
            child.starts += 1
            child.process = await asyncio.create_subprocess_exec(
                sys.executable,
                launcher,
                str(os.getpid()),
                "-1",
                sys.executable,
                "-m",
                "es_saga",
                *child.arguments,
                env=environment,
                start_new_session=True,
            )
            code = await child.process.wait()
            if child.starts > MAX_STARTS:
                raise Unavailable(f"The {child.name} keeps dying (exit {code}).")
            if not self._stopping:
                self._say(f"[bold red]✗[/] {child.name} died (exit {code}); started again")
                await asyncio.sleep(0.1)

    async def _stop_children(self) -> None:
        self._stopping = True
        for child in self._children:
            if child.process is not None and child.process.returncode is None:
                child.process.send_signal(signal.SIGTERM)
        for child in self._children:
            if child.process is None:
                continue
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await child.process.wait()
            except TimeoutError:
                child.process.kill()
                await child.process.wait()
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)

    async def _kill_conductor(self, conductor: _Child) -> bool:
        if not any(fate.kill for fate in self._fates):
            return False
        assert conductor.process is not None
        conductor.process.kill()
        return True

    # ── orders ───────────────────────────────────────────────────────────────────────────────────

    async def _start_orders(self, client: Client) -> dict[str, Fate]:
        started: dict[str, Fate] = {}
        self._say("")
        for number, fate in enumerate(self._fates, 1):
            key = f"{self._prefix}-{number:02}"
            order = {
                "order_id": key,
                "customer": "ada",
                "sku": "teapot",
                "pence": 1_999,
                "card": "visa",
                "town": "Leeds",
                **fate.changes,
            }
            started[await self._start(client, key, order)] = fate
            self._say(f"  [bold]order-{key}[/]  {fate.story}")
        self._say("")
        return started

    async def _start(self, client: Client, key: str, order: dict[str, Any]) -> str:
        """Start an order; the first one waits until the conductor is there."""
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                answer = await client.start("order", order, key=key, timeout=2.0)
                return str(answer.result()["saga_id"])
            except Unavailable:
                if time.monotonic() > end:
                    raise

    async def _watch(self, found: Queries, started: dict[str, Fate]) -> dict[str, str]:
        """Print what happens as it happens, until every order is closed."""
        seen = dict.fromkeys(started, 0)
        ended: dict[str, str] = {}
        end = time.monotonic() + PLAY_SECONDS
        while len(ended) < len(started) and time.monotonic() < end:
            await asyncio.sleep(LOOK_SECONDS)
            news: list[AuditRow] = []
            for saga_id in started.keys() - ended.keys():
                with contextlib.suppress(NotFound):
                    news += await asyncio.to_thread(found.history, saga_id, after=seen[saga_id])
            for row in sorted(news, key=lambda row: (row.at, row.saga_id, row.version)):
                self._tell(row)
                seen[row.saga_id] = row.version
                if row.kind in ("SagaCompleted", "SagaCompensated"):
                    ended[row.saga_id] = found.status(row.saga_id).status
        return ended

    def _tell(self, row: AuditRow) -> None:
        look = look_of(row.kind)
        what = _what(row)
        step = row.step or ""
        self._say(
            f"[dim]{clock(row.at)}[/]  {row.saga_id}  {look.of(f'{look.mark} {row.kind:<22}')} "
            f"{step:<8} [dim]{escape(what)}[/]"
        )

    # ── the verdict ──────────────────────────────────────────────────────────────────────────────

    def _judge(
        self, settings: Settings, started: dict[str, Fate], ended: dict[str, str], killed: bool
    ) -> bool:
        self._say("")
        good = True
        for saga_id, fate in started.items():
            status = ended.get(saga_id, "not closed")
            right = status == fate.ends
            good &= right
            mark = "[green]✓[/]" if right else "[bold red]✗[/]"
            self._say(f"{mark} {saga_id}  {styled_status(status)}  [dim]{fate.story}[/]")
        done = sum(status == COMPLETED for status in ended.values())
        deaths = sum(child.starts - 1 for child in self._children)
        if self._data is None:
            good &= self._count(settings, done)
        self._say("")
        words = f"{len(ended)} of {len(started)} orders closed, {done} completed; "
        words += f"{deaths} processes died on the way"
        self._say(
            f"[bold {'green' if good else 'red'}]{words}: {'all well' if good else 'WRONG'}[/]"
        )
        return good

    def _count(self, settings: Settings, done: int) -> bool:
        """Count what the services hold: every effect exactly once, every undone one not at all."""
        totals = {name: _totals(settings, name) for name in SERVICES}
        expected = {
            "orders placed": (totals["orders"]["placed"], done),
            "pence taken": (totals["payments"]["taken"], done * 1_999),
            "pieces reserved": (totals["stock"]["reserved"], done),
            "parcels posted": (totals["shipping"]["posted"], done),
        }
        self._say("")
        for what, (found, right) in expected.items():
            mark = "[green]✓[/]" if found == right else f"[bold red]✗ {right} expected[/]"
            self._say(f"{mark} {what}: {found}")
        return all(found == right for found, right in expected.values())

    def _invite(self, settings: Settings, dashboard: int | None) -> None:
        self._say("")
        self._say(f"Everything is still running. Look at http://127.0.0.1:{dashboard}, or type")
        self._say(f"  es-saga list --data {settings.data}")
        self._say("Ctrl-C stops it.")


def _what(row: AuditRow) -> str:
    payload = row.payload
    for name in ("command_type", "refusal_type", "error", "why"):
        if payload.get(name):
            attempt = payload.get("attempt", 1)
            return f"{payload[name]}{f', attempt {attempt}' if attempt > 1 else ''}"
    return f"attempt {payload['attempt']}" if payload.get("attempt", 1) > 1 else ""


def _totals(settings: Settings, name: str) -> dict[str, int]:
    count: Callable[[Any], dict[str, int]] = compose.load(SERVICES[name])
    engine = make_engine(settings.participant_url(name))
    try:
        return count(engine)
    finally:
        engine.dispose()


def _free_port() -> int:
    """Where the dashboard will be."""
    from es_saga.web import server

    with server.listen("127.0.0.1", None, guarded=False) as listener:
        return int(listener.getsockname()[1])


async def _reachable(port: int) -> None:
    """Wait until somebody listens there.

    Raises:
        Unavailable: nobody does in time.
    """
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            if time.monotonic() > end:
                raise Unavailable("The dashboard did not start.") from error
            await asyncio.sleep(LOOK_SECONDS)
        else:
            writer.close()
            await writer.wait_closed()
            return


async def _interrupted() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    await stop.wait()
