"""The HTTP side over a small system that really runs: errands, on SQLite, in this process."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from es_saga import Message, Saga
from es_saga.adapters.clock import SystemClock
from es_saga.adapters.definitions import register
from es_saga.adapters.memory import MemoryTransport
from es_saga.adapters.store import connect
from es_saga.cli.views import FOLLOWING, caught_up
from es_saga.core.compiled import Definition
from es_saga.core.errors import Unavailable
from es_saga.database import make_engine
from es_saga.engine.client import Client
from es_saga.engine.ports import Questions
from es_saga.projections.audit import AuditView
from es_saga.projections.status import StatusView
from es_saga.web import server
from es_saga.web.access import Access
from es_saga.web.app import create_app
from es_saga.web.desk import Desk
from tests.engine.errand import (
    Errand,
    Fetch,
    Fetched,
    GiveBack,
    Paid,
    Pay,
    PutBack,
    Script,
    World,
    errand,
    glance,
    willing,
    world,
)

LOCAL = "http://localhost:8080"

vigil = Saga("vigil", Errand)
"""An errand that can wait: no time passes while a test looks at it."""


@vigil.step(timeout=timedelta(hours=1))
def fetch(e: Errand) -> Fetch:
    return Fetch(thing=e.thing)


@fetch.compensation(timeout=timedelta(hours=1))
def put_back(e: Errand, fetched: Fetched | None) -> PutBack:
    return PutBack(thing=e.thing)


@vigil.step(timeout=timedelta(hours=1))
def pay(e: Errand) -> Pay:
    return Pay(pence=e.pence)


@pay.compensation(timeout=timedelta(hours=1))
def give_back(e: Errand, paid: Paid | None) -> GiveBack:
    return GiveBack(pence=e.pence)


class Approval(Message):
    by: str


patient = Saga("patient", Errand)
"""An errand that waits to be approved."""
patient.wait(Approval, timeout=timedelta(hours=1))


@patient.pivot
def fetch_at_last(e: Errand, approval: Approval) -> Fetch:
    return Fetch(thing=f"{e.thing} for {approval.by}")


KNOWN = (errand.definition, glance.definition, vigil.definition, patient.definition)


class Direct:
    """The way to a process manager in this process; it can be cut."""

    tenant = "main"

    def __init__(self, client: Client, pipe: MemoryTransport) -> None:
        self._client = client
        self._pipe = pipe
        self.cut = False
        self.away: frozenset[str] = frozenset()
        """Services that nobody serves."""

    async def client(self) -> Client:
        if self.cut:
            raise Unavailable("The line was cut.", retry_after=2.5)
        return self._client

    async def questions(self) -> Questions:
        await self.client()
        return self._pipe

    async def unserved(self, services: Collection[str]) -> Collection[str]:
        await self.client()
        return self.away & set(services)


@dataclass
class Office:
    """A desk, whoever works behind it, and a client in front of it."""

    world: World
    desk: Desk
    line: Direct
    http: httpx.AsyncClient
    engine: sa.Engine

    def behave(self, script: Script) -> None:
        """How the participants answer from now on."""
        self.world.town.script = script

    async def start(self, thing: str = "lamp", key: str | None = None, of: str = "errand") -> str:
        """A saga that was started over HTTP; its id."""
        body = {"type": of, "data": {"thing": thing}, "key": key}
        answer = await self.http.post("/api/v1/sagas", json=body)
        assert answer.status_code == 201, answer.text
        saga_id: str = answer.json()["saga_id"]
        return saga_id

    async def follow(self) -> None:
        """Have the library's read models that follow behind take in everything there is."""
        await caught_up(self.engine, FOLLOWING, SystemClock())

    async def ended(self, thing: str = "lamp", key: str | None = None) -> str:
        """A saga that is over, or stuck."""
        saga_id = await self.start(thing, key)
        answer = await self.http.get(f"/api/v1/sagas/{saga_id}/outcome", params={"timeout": 20})
        assert answer.status_code != 202, answer.text
        return saga_id


@asynccontextmanager
async def open_office(
    folder: Path,
    *,
    access: Access | None = None,
    definitions: Sequence[Definition] = KNOWN,
    run: Sequence[Definition] = KNOWN,
    url: str | None = None,
) -> AsyncGenerator[Office, None]:
    """Everything running, in a folder of its own; the desk has the code of `definitions`."""
    url = url or f"sqlite:///{folder / 'log.db'}"
    store = connect(url, views=[StatusView(), AuditView()], migrate=True)
    transport = MemoryTransport()
    engine = make_engine(url)
    register(engine, run)
    async with world(store, transport, script=willing, definitions=run) as running:
        line = Direct(Client(transport, "errands"), transport)
        desk = Desk(
            engine,
            line=line,
            definitions=definitions,
            access=access,
            log=store,
            views={"status": True, "audit": True, "elsewhere": False},
        )
        pipe = httpx.ASGITransport(create_app(desk))
        async with httpx.AsyncClient(transport=pipe, base_url=LOCAL, timeout=30) as http:
            yield Office(running, desk, line, http, engine)
        await desk.close()
    await transport.close()
    await store.close()
    engine.dispose()


def fault(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, which has the one shape."""
    body = answer.json()
    assert set(body) == {"error"}, body
    error = body["error"]
    assert {"code", "message", "hint"} <= set(error), error
    assert error["message"], error
    return answer.status_code, error["code"]


@asynccontextmanager
async def served(desk: Desk) -> AsyncGenerator[str, None]:
    """A real server on a free port of this machine; its address."""
    listener = server.listen("127.0.0.1", 0, guarded=False)
    stop = asyncio.Event()
    serving = asyncio.create_task(server.serve(desk, listener, stop.wait))
    try:
        yield server.address(listener)
    finally:
        stop.set()
        await serving


def _place(address: str) -> tuple[str, int]:
    host, port = address.removeprefix("http://").split(":")
    return host, int(port)


def _request(query: str, last_id: str | None = None) -> bytes:
    resumed = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
    return f"GET /api/v1/events{query} HTTP/1.0\r\nHost: localhost\r\n{resumed}\r\n".encode()


def deaf(address: str, query: str) -> socket.socket:
    """A client that asks for a stream, and never reads."""
    pipe = socket.socket()
    pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    pipe.connect(_place(address))
    pipe.sendall(_request(query))
    return pipe


@dataclass(frozen=True)
class Told:
    """One message of a stream."""

    name: str
    id: str
    data: Any


class Stream:
    """A client of server-sent events over a plain socket, as slow as a test wants it to be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.last_id = ""
        self.remarks = 0

    @classmethod
    async def open(cls, address: str, query: str = "", *, last_id: str | None = None) -> Stream:
        reader, writer = await asyncio.open_connection(*_place(address))
        writer.write(_request(query, last_id))
        return cls(reader, writer)

    async def head(self) -> str:
        """Status and headers."""
        return (await self._reader.readuntil(b"\r\n\r\n")).decode()

    async def next(self) -> Told | None:
        """The next message with data; None: the stream has ended."""
        fields: dict[str, str] = {}
        while True:
            line = (await self._reader.readline()).decode()
            if not line:
                return None
            if line.startswith(":"):
                self.remarks += 1
            elif line == "\n":
                self.last_id = fields.get("id", self.last_id)
                if "data" in fields:
                    return Told(fields["event"], self.last_id, json.loads(fields["data"]))
                fields = {}
            else:
                name, _, value = line.rstrip("\n").partition(": ")
                fields[name] = value

    async def until(self, enough: Callable[[list[Told]], bool]) -> list[Told]:
        """Messages until there are enough of them."""
        found: list[Told] = []
        async with asyncio.timeout(20):
            while not enough(found):
                told = await self.next()
                assert told is not None, f"it ended after {len(found)} messages"
                found.append(told)
        return found

    async def close(self) -> None:
        self._writer.transport.abort()
