"""A process of the system under attack: `python -m tests.chaos.app manager|participants SETTINGS`.

Put together like `es-saga run` and `es-saga participant`, over a pipe that cannot be relied upon.
`without` in the settings takes one of the two safeguards out, to see that they are missed.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

import uvloop
from pydantic import BaseModel

from es_saga.adapters.telemetry import configure_logging
from es_saga.cli import compose
from es_saga.config import Settings
from es_saga.core.errors import Unavailable
from es_saga.core.messages import Envelope
from es_saga.engine import timers
from es_saga.participant import runner
from es_saga.participant.fence import Rule, Verdict
from tests.chaos.unreliable import Unreliable

AGAIN_SECONDS = 0.1
"""A process that finds nothing it needs looks again so soon, as a supervisor would start it."""

Safeguard = Literal["timer", "fence"]


class Scene(BaseModel):
    """Where everything is; passed as JSON."""

    folder: Path
    nats: str
    database: str | None = None
    participants: str | None = None
    seed: str
    app: str = "tests.chaos.shop:app"
    """The business under attack."""
    without: Safeguard | None = None
    """The safeguard that is taken out."""

    def settings(self) -> Settings:
        """As the command line would have them."""
        found = {
            "data": self.folder,
            "nats": self.nats,
            "database": self.database,
            "participant_database": self.participants,
        }
        return Settings.model_validate({k: v for k, v in found.items() if v is not None})


def _take_out(safeguard: Safeguard | None) -> None:
    if safeguard == "timer":
        patch(timers.Timers, "take_due", _never)
    elif safeguard == "fence":
        patch(runner, "judge", _always)
        patch(runner, "remember", _nothing)


def patch(owner: object, name: str, instead: object) -> None:
    """Replace what is there, for as long as this process lives."""
    assert hasattr(owner, name), f"{owner} has no {name}: nothing would be taken out"
    setattr(owner, name, instead)


def _never(_timers: object, _now: float, _limit: int) -> Iterator[str]:
    return iter(())


def _always(_envelope: Envelope, _known: object) -> Verdict:
    return Verdict(Rule.RUN)


def _nothing(_connection: object, _records: object) -> None:
    return None


@asynccontextmanager
async def running(role: str, scene: Scene) -> AsyncGenerator[None]:
    """The manager, or the participants, on an unreliable pipe."""
    settings, app = scene.settings(), compose.load_app(scene.app)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        real = await enter(compose.transport(settings, scene.nats, role))
        notes = scene.folder / "mischief"
        pipe = Unreliable(real, scene.seed, notes)
        system: AbstractAsyncContextManager[object]
        if role == "manager":
            system = compose.conducting(settings, app, pipe, migrate=False)
        else:
            system = compose.serving(settings, app, pipe, ())
        await enter(system)
        yield


async def main(role: str, scene: Scene) -> None:
    """Serve until told to stop; wait for what is out of reach."""
    configure_logging("error", plain=False)
    _take_out(scene.without)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    while not stop.is_set():
        try:
            async with running(role, scene):
                await stop.wait()
        except Unavailable:
            await asyncio.sleep(AGAIN_SECONDS)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Scene.model_validate_json(sys.argv[2])))
