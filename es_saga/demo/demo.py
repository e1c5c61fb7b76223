"""One run of the demo, from the empty stage to the verdict."""

from __future__ import annotations

import asyncio
import signal
import time
from itertools import chain, cycle, islice
from pathlib import Path

from es_saga.adapters.telemetry import configure_logging
from es_saga.cli import compose
from es_saga.cli.console import say, styled_status
from es_saga.core.errors import Unavailable
from es_saga.core.state import CLOSED
from es_saga.demo.play import LOOK_SECONDS, READY_SECONDS, Play
from es_saga.demo.processes import Processes
from es_saga.demo.scenario import COMPLETED, CONDUCTOR, Scenario, Totals
from es_saga.demo.stage import Stage, stage
from es_saga.demo.verdict import Entry, count, entries
from es_saga.engine.client import Client

SETTLE_SECONDS = 10.0
"""How long services may still react to what closed a saga, until they are counted as wrong."""


class Demo:
    """One run of a scenario; `play` returns whether everything ended as it must.

    Args:
        sagas: how many; default: as many as the scenario has.
        data: a folder that stays; what earlier runs left there is not counted again.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        sagas: int | None = None,
        once: bool = True,
        postgres: bool = False,
        data: Path | None = None,
    ) -> None:
        self._scenario = scenario
        many = sagas or scenario.sagas or len(scenario.fates)
        again = cycle(fate for fate in scenario.fates if fate.outage is None)
        self._fates = list(islice(chain(scenario.fates, again), many))
        self._once = once
        self._postgres = postgres or scenario.postgres_only
        self._data = data

    async def play(self) -> bool:
        """Start everything, play the sagas, count, stop everything."""
        configure_logging("error")
        app = compose.load_app(self._scenario.app)
        with stage(app, self._data, postgres=self._postgres) as ready:
            log = compose.queries(ready.settings)
            before = count(self._scenario, ready)
            settled = log.counts().keys() <= CLOSED
            dashboard = None if self._once else _free_port()
            environment = {**ready.environment, **self._scenario.environment}
            async with Processes(self._commands(ready, dashboard), environment) as processes:
                if dashboard is not None:
                    await _reachable(dashboard)
                    say(f"[bold green]dashboard http://127.0.0.1:{dashboard}[/]")
                async with compose.transport(ready.settings, ready.nats, "demo") as pipe:
                    client = Client(pipe, app.name)
                    play = Play(self._scenario, self._fates, ready, processes, client)
                    await play.run(log)
                verdict = _ended(play)
                if settled:
                    verdict &= await self._counted(ready, before)
                else:
                    say("Not counted: sagas of an earlier run were still under way.")
                _conclude(play, processes.deaths, verdict)
                if dashboard is not None:
                    _invite(ready, dashboard)
                    await _interrupted()
            return verdict

    def _commands(self, ready: Stage, dashboard: int | None) -> dict[str, list[str]]:
        """The processes, by name."""
        app, alone = self._scenario.app, self._scenario.alone
        board = self._scenario.projection
        others = [name for name in ready.app.participants if name not in alone]
        commands = {
            CONDUCTOR: ["run", app, *(["--projection", board] if board else []), "-q"],
            **{name: ["participant", app, name, "-q"] for name in alone},
        }
        if others:
            commands["the other services"] = ["participant", app, *others, "-q"]
        if dashboard is not None:
            commands["dashboard"] = ["ui", app, "--port", str(dashboard), "-q"]
        return commands

    async def _counted(self, ready: Stage, before: Totals) -> bool:
        """Tell what every service holds, and whether it is what it should be."""
        good = True
        for service, found in (await self._count(ready, before)).items():
            right = all(entry.right for entry in found)
            good &= right
            say(f"{_mark(right)} {service}: {', '.join(map(_told, found))}")
        return good

    async def _count(self, ready: Stage, before: Totals) -> dict[str, list[Entry]]:
        """Every effect exactly once, every undone one not at all; who is slow gets some time."""
        end = time.monotonic() + SETTLE_SECONDS
        while True:
            found = entries(before, count(self._scenario, ready), self._fates)
            right = all(entry.right for service in found.values() for entry in service)
            if right or time.monotonic() > end:
                return found
            await asyncio.sleep(LOOK_SECONDS)


def _ended(play: Play) -> bool:
    """Tell how every saga ended, and whether it should have."""
    good = True
    say("")
    ends = {saga_id: play.ended.get(saga_id, "not closed") for saga_id in play.fates}
    width = max(map(len, ends.values()))
    for saga_id, fate in play.fates.items():
        status = ends[saga_id]
        right = status == fate.ends
        good &= right
        room = " " * (width - len(status))
        say(f"{_mark(right)} {saga_id}  {styled_status(status)}{room}  [dim]{fate.story}[/]")
    say("")
    return good


def _conclude(play: Play, deaths: int, good: bool) -> None:
    ends = [play.ended[saga_id] for saga_id in play.fates if saga_id in play.ended]
    words = f"{len(ends)} of {len(play.fates)} sagas closed, {ends.count(COMPLETED)} completed; "
    words += f"{deaths} process{'' if deaths == 1 else 'es'} died on the way"
    say("")
    say(f"[bold {'green' if good else 'red'}]{words}: {'all well' if good else 'WRONG'}[/]")


def _told(entry: Entry) -> str:
    told = f"{entry.what} {entry.change:+,}"
    return told if entry.right else f"[bold red]{told}, not {entry.expected:+,}[/]"


def _mark(right: bool) -> str:
    return "[green]✓[/]" if right else "[bold red]✗[/]"


def _invite(ready: Stage, dashboard: int) -> None:
    say("")
    say(f"Everything is still running. Look at http://127.0.0.1:{dashboard}, or type")
    say(f"  es-saga list --data {ready.settings.data}")
    say("Ctrl-C stops it.")


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
