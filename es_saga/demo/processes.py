"""The processes of the demo: each is started again when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from es_saga.adapters import launch
from es_saga.cli.console import say
from es_saga.core.errors import Unavailable

MAX_DEATHS = 200
"""How often one process may die."""

AGAIN_SECONDS = 0.1
"""Between a process's death and its next start."""

STOP_SECONDS = 10.0
"""How long a process may take to finish what is in the works."""


@dataclass(slots=True)
class _Child:
    """A process of ours."""

    name: str
    arguments: Sequence[str]
    process: asyncio.subprocess.Process | None = None
    deaths: int = 0
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared while it is to stay down."""

    def __post_init__(self) -> None:
        self.wanted.set()


class Processes:
    """Commands of `es-saga`, running until the end of an `async with`.

    Args:
        commands: by the name of the process, the words after `es-saga`.
    """

    def __init__(
        self, commands: Mapping[str, Sequence[str]], environment: Mapping[str, str]
    ) -> None:
        self._environment = dict(environment)
        self._children = {name: _Child(name, words) for name, words in commands.items()}
        self._watchers: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def deaths(self) -> int:
        """How often one died."""
        return sum(child.deaths for child in self._children.values())

    async def kill(self, name: str) -> None:
        """Kill a process without a warning, and see it dead."""
        process = self._children[name].process
        if process is not None:
            with suppress(ProcessLookupError):  # it has just died of itself
                process.kill()
            await process.wait()

    @asynccontextmanager
    async def without(self, name: str) -> AsyncGenerator[None, None]:
        """Kill a process, and start it again at the end."""
        wanted = self._children[name].wanted
        wanted.clear()
        try:
            await self.kill(name)
            yield
        finally:
            wanted.set()

    def check(self) -> None:
        """Raise what keeps a process from running.

        Raises:
            Unavailable: it dies again and again.
        """
        for watcher in self._watchers:
            if watcher.done():
                watcher.result()

    async def __aenter__(self) -> Self:
        self._watchers += [
            asyncio.create_task(self._keep(child)) for child in self._children.values()
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        running = [
            child.process
            for child in self._children.values()
            if child.process is not None and child.process.returncode is None
        ]
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _keep(self, child: _Child) -> None:
        """Start a process, and again whenever it dies."""
        launcher = [sys.executable, str(Path(launch.__file__)), str(os.getpid()), "-1"]
        while True:
            child.process = await asyncio.create_subprocess_exec(
                *launcher,
                *(sys.executable, "-m", "es_saga", *child.arguments),
                env=self._environment,
                start_new_session=True,
            )
            if not child.wanted.is_set():  # meanwhile, and `without` saw none that it could kill
                child.process.kill()
            code = await child.process.wait()
            child.deaths += 1
            if child.deaths == MAX_DEATHS:
                raise Unavailable(f"The {child.name} keeps dying (exit {code}).")
            down = not child.wanted.is_set()
            what = ", and stays down" if down else "; started again"
            say(f"[bold red]✗[/] {child.name} died (exit {code}){what}")
            await asyncio.sleep(AGAIN_SECONDS)
            await child.wanted.wait()
            if down:
                say(f"[green]✓[/] {child.name} is started again")
