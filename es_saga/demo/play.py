"""The play: sagas are started, watched until they are closed, and met by their fates."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import sqlalchemy as sa

from es_saga.cli import compose
from es_saga.cli.console import clock, escape, say
from es_saga.cli.looks import look_of
from es_saga.cli.running import running_apps
from es_saga.core.errors import NotFound, Unavailable
from es_saga.core.messages import Direction, Event, command_id, parse_command_id
from es_saga.core.nested import SAGA, child_id
from es_saga.database import make_engine
from es_saga.demo.processes import Processes
from es_saga.demo.scenario import Fate, Kill, Scenario, Skip, Tell
from es_saga.demo.stage import Stage
from es_saga.engine.client import Client
from es_saga.engine.requests import VerbRequest, id_for
from es_saga.participant.holds import es_holds
from es_saga.projections.queries import AuditRow, Queries

READY_SECONDS = 30.0
"""How long the conductor may take until it answers."""

ANSWER_SECONDS = 2.0
"""How long one answer is waited for; then it is asked again."""

PLAY_SECONDS = 120.0
"""How long the sagas may take, all of them together."""

LOOK_SECONDS = 0.05
"""How often the log is read."""

_BEGUN = "StepStarted"
_STUCK = "SagaStuck"
_CLOSED = ("SagaCompleted", "SagaCompensated")


class Play:
    """Sagas of one scenario.

    Args:
        fates: one for each saga.
    """

    def __init__(
        self,
        scenario: Scenario,
        fates: list[Fate],
        stage: Stage,
        processes: Processes,
        client: Client,
    ) -> None:
        self._scenario = scenario
        self._stage = stage
        self._processes = processes
        self._client = client
        run = f"{int(time.time()) % 0x100000:05x}"
        self._run = id_for(scenario.saga, f"{run}-")
        """What the ids of all its sagas begin with."""
        self._keys = [f"{run}-{number:02}" for number in range(1, len(fates) + 1)]
        saga_ids = [id_for(scenario.saga, key) for key in self._keys]
        self.fates = dict(zip(saga_ids, fates, strict=True))
        """By saga."""
        self.ended: dict[str, str] = {}
        """By saga, its status in the end; those that others run are among them."""
        self._killed: set[str] = set()
        steps = [step for saga in stage.app.sagas for step in saga.definition.steps.values()]
        unfolds = any(step.each or step.ways for step in steps)
        self._chars = max(len(step.name) for step in steps) + len("-1") * unfolds
        """Room for the name of a step."""

    async def run(self, log: Queries) -> None:
        """Start every saga, and look on until all are closed."""
        say("")
        for saga_id, fate in self.fates.items():
            say(f"  [bold]{saga_id}[/]  {fate.story}")
        say("")
        starting = asyncio.create_task(self._start())
        try:
            await self._watch(log, starting)
        finally:
            starting.cancel()

    async def _start(self) -> None:
        if self._scenario.begins:
            await self._watched()
        before, met = set[str](), list[Fate]()
        for key, (saga_id, fate) in zip(self._keys, self.fates.items(), strict=True):
            if self._scenario.apart and fate in met:
                await _until(lambda: self.ended.keys() >= before)
                met.clear()
            met.append(fate)
            data = {**self._scenario.data, **fate.changes, self._scenario.key: key}
            if self._scenario.begins:
                await asyncio.to_thread(self._publish, data)
            elif fate.outage is None:
                await self._ask(key, data)
            else:
                await _until(lambda: self.ended.keys() >= before)
                async with self._processes.without(fate.outage.process):
                    await self._ask(key, data)
                    await _until(partial(self._expire, saga_id, fate.outage.hold))
            before.add(saga_id)

    def _expire(self, saga_id: str, step: str) -> bool:
        """Bring forward when a hold expires; False: it is not there yet."""
        saga = next(one for one in self._stage.app.sagas if one.name == self._scenario.saga)
        holder = saga.definition.steps[step].command.to
        engine = make_engine(self._stage.settings.participant_url(holder))
        hold = es_holds.c.hold == command_id(saga_id, step, Direction.DO)
        with engine.begin() as connection:
            now = sa.update(es_holds).where(hold).values(expires_at=time.time())
            found = connection.execute(now).rowcount
        engine.dispose()
        return found == 1

    async def _ask(self, key: str, data: dict[str, Any]) -> None:
        """Have the conductor start one; the first one waits until it is there."""
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                answer = await self._client.start(
                    self._scenario.saga, data, key=key, timeout=ANSWER_SECONDS
                )
            except Unavailable:
                self._processes.check()
                if time.monotonic() > end:
                    raise
            else:
                answer.result()
                return

    async def _watched(self) -> None:
        """Wait for the conductor, who may come late to what nobody conducts, but shows it then.

        Raises:
            Unavailable: it is not there in time.
        """
        end = time.monotonic() + READY_SECONDS
        while not running_apps(self._stage.settings):
            self._processes.check()
            if time.monotonic() > end:
                raise Unavailable("The conductor did not start.")
            await asyncio.sleep(LOOK_SECONDS)

    def _publish(self, data: dict[str, Any]) -> None:
        """Have a service begin one by an event of its own, as its web page would."""
        begin: Callable[[sa.Connection, Any], None] = compose.load(self._scenario.begins)
        saga = next(one for one in self._stage.app.sagas if one.name == self._scenario.saga)
        assert issubclass(saga.data, Event), "a choreography begins with one"
        engine = make_engine(self._stage.settings.participant_url(saga.data.by))
        with engine.begin() as connection:
            begin(connection, saga.data.model_validate(data))
        engine.dispose()

    async def _watch(self, log: Queries, starting: asyncio.Task[None]) -> None:
        """Print what happens as it happens, until every saga is closed."""
        seen = dict.fromkeys(self.fates, 0)
        end = time.monotonic() + PLAY_SECONDS
        while not self.ended.keys() >= self.fates.keys() and time.monotonic() < end:
            await asyncio.sleep(LOOK_SECONDS)
            self._processes.check()
            if starting.done():
                starting.result()
            news: list[AuditRow] = []
            for saga_id in seen.keys() - self.ended.keys():
                with contextlib.suppress(NotFound):
                    news += await asyncio.to_thread(log.history, saga_id, after=seen[saga_id])
            for row in sorted(news, key=lambda row: (row.at, row.saga_id, row.version)):
                self._tell(row)
                seen[row.saga_id] = row.version
                if row.kind == _BEGUN:
                    if row.payload["to"].startswith(SAGA):
                        seen[child_id(parse_command_id(row.payload["command_id"]))] = 0
                    await self._meet(row)
                elif row.kind == _STUCK:
                    await self._meet(row)
                elif row.kind in _CLOSED:
                    self.ended[row.saga_id] = log.status(row.saga_id).status

    def _tell(self, row: AuditRow) -> None:
        """An event on a line; of the saga's id what tells it from the others of this run."""
        look, step, what = look_of(row.kind), row.step or "", escape(_what(row))
        kind = f"{look.mark} {row.kind:<22}" if step or what else f"{look.mark} {row.kind}"
        line = f"[dim]{clock(row.at)}[/]  {row.saga_id.removeprefix(self._run)}  {look.of(kind)}"
        if step or what:
            line += f" {step:<{self._chars}}  [dim]{what}[/]" if what else f" {step}"
        say(line)

    async def _meet(self, row: AuditRow) -> None:
        """A step has begun, or is what the saga is stuck at: what happens now, if anything does."""
        fate, stuck = self.fates.get(row.saga_id), row.kind == _STUCK  # a child has no fate
        match fate and fate.cues.get(row.step or ""):
            case Kill(process) if not stuck and process not in self._killed:
                self._killed.add(process)
                await self._processes.kill(process)
            case Tell(message, data) if not stuck:
                answer = await self._client.signal(row.saga_id, message, dict(data))
                answer.result()
            case Skip(reason) if stuck:
                skip = VerbRequest(verb="skip", actor="demo", reason=reason, step=row.step)
                answer = await self._client.operate(row.saga_id, skip)
                answer.result()
            case _:
                pass


async def _until(done: Callable[[], bool]) -> None:
    """Wait until it is so; how long at most is said by who looks on."""
    while True:
        if await asyncio.to_thread(done):
            return
        await asyncio.sleep(LOOK_SECONDS)


def _what(row: AuditRow) -> str:
    """What an event says beyond its name and step, shorter than `gist`: no data."""
    payload = row.payload
    if row.kind == "StepFannedOut":
        return f"{payload['count']} items"
    if row.kind == _STUCK:
        return str(payload["why"]).rpartition(": ")[2]
    if row.kind == "SagaResumed":
        return f"way {payload['way']} from {payload['save_point']}"
    for name in ("command_type", "refusal_type", "error", "why", "name", "reason"):
        if payload.get(name):
            attempt = payload.get("attempt", 1)
            return f"{payload[name]}{f', attempt {attempt}' if attempt > 1 else ''}"
    return f"attempt {payload['attempt']}" if payload.get("attempt", 1) > 1 else ""
