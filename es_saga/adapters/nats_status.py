"""The status checker: start, status and cancel by NATS request and reply, as a NATS micro service.

    nats request saga.v1.main.svc.status '{"saga_id": "order-7"}'

Any NATS client finds it with `$SRV.INFO`, and sees with `$SRV.STATS` how it is doing. Every process
manager of an app answers; a request goes to one of them. Where several apps share a tenant, the
app's name says which is meant: `saga.v1.main.svc.<app>.status`.

An error is a micro error: our code and words in the headers `Nats-Service-Error-Code` and
`Nats-Service-Error`, and as JSON in the body. It has a connection of its own, so that those who ask
much do not hold up the sagas.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import Any, Final, TypeVar, cast

import structlog
from nats.aio.client import Client as NatsClient
from nats.errors import Error
from nats.micro.request import Request
from nats.micro.service import EndpointStats, Service, ServiceConfig
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from es_saga.adapters.nats_link import CONNECT_SECONDS, RECONNECT_SECONDS, Login
from es_saga.core.errors import InvalidInput, SagaError, Unavailable
from es_saga.core.messages import Subjects
from es_saga.engine.client import Client
from es_saga.engine.requests import VerbRequest
from es_saga.projections.ending import Outcome, outcome
from es_saga.projections.queries import Queries

MAX_AT_ONCE: Final = 64
"""Requests that are being answered; beyond, whoever asks is told to come back."""

STOP_SECONDS: Final = 5.0
"""How long what is being answered may take once we stop."""

BUSY_SECONDS: Final = 1.0

_SEMANTIC = re.compile(r"\d+\.\d+\.\d+")
_OUTCOME: Final = TypeAdapter(Outcome)
_log = structlog.get_logger("es_saga.nats")


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Status(_Body):
    saga_id: str


class _Start(_Body):
    type: str = Field(max_length=200)
    data: dict[str, Any]
    key: str | None = Field(default=None, max_length=200)
    notify: str | None = Field(default=None, max_length=300)
    """An address that is told the outcome when the saga is over."""


class _Cancel(_Body):
    saga_id: str
    actor: str = Field(min_length=1, max_length=200)
    reason: str = Field(min_length=1, max_length=1_000)


B = TypeVar("B", bound=_Body)


class StatusChecker:
    """Answers for one app, until it is closed.

    Args:
        servers: of NATS.
        app, tenant: whose sagas.
        queries: the read side of the app's log.
        client: the way to its process manager.
    """

    def __init__(
        self,
        servers: Sequence[str],
        login: Login,
        *,
        app: str,
        tenant: str,
        queries: Queries,
        client: Client,
    ) -> None:
        self._servers = list(servers)
        self._login = login
        self._app = app
        self._root = f"{Subjects(tenant).root}.svc"
        self._queries = queries
        self._client = client
        self._nats: NatsClient | None = None
        self._service: Service | None = None
        self._closing = False
        self._answering: set[asyncio.Task[None]] = set()
        self._reopening: asyncio.Task[None] | None = None
        self._failed = {"status": 0, "start": 0, "cancel": 0}

    # ── coming and going ─────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Connect, and begin to answer.

        Raises:
            Unavailable: NATS is out of reach.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._connect()
        except (Error, OSError, TimeoutError) as error:
            raise Unavailable(f"The status checker cannot reach NATS: {error}.") from error

    async def close(self) -> None:
        """Answer what was asked, then no more. Never raises."""
        self._closing = True
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)
        if self._answering:
            await asyncio.wait(self._answering, timeout=STOP_SECONDS)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                if self._service is not None and self._nats and self._nats.is_connected:
                    await self._service.stop()
                if self._nats is not None:
                    await self._nats.close()
        except (Error, OSError, TimeoutError, RuntimeError) as error:  # it broke as we let go
            _log.info("status_checker_cut_off", error=str(error))

    async def _connect(self) -> None:
        nats = self._nats = NatsClient()
        await nats.connect(
            self._servers,
            name=f"svc-{self._app}",
            error_cb=self._on_error,
            closed_cb=self._on_closed,
            max_reconnect_attempts=-1,
            reconnect_time_wait=cast(int, RECONNECT_SECONDS),  # it is handed to `asyncio.sleep`
            **self._login.options(),
        )
        release = _SEMANTIC.match(version("es-saga"))
        config = ServiceConfig(
            name=f"es_saga-{self._app}",
            version=release[0] if release else "0.0.0",
            description=f"Start, status and cancel of the sagas of {self._app}.",
            metadata={"app": self._app},
            stats_handler=self._statistics,
        )
        service = Service(nats, config)
        await service.start()
        for name, answer in (
            ("status", self._of(_Status, self._status)),
            ("start", self._of(_Start, self._start)),
            ("cancel", self._of(_Cancel, self._cancel)),
        ):
            for subject in (f"{self._root}.{name}", f"{self._root}.{self._app}.{name}"):
                await service.add_endpoint(
                    name=name, subject=subject, handler=self._begin(name, answer), metadata={}
                )
        await nats.flush()
        self._service = service

    async def _on_error(self, error: Exception) -> None:
        if not self._closing:
            _log.warning("status_checker_error", error=str(error) or type(error).__name__)

    async def _on_closed(self) -> None:
        """nats-py has given up for good, as after an expired credential."""
        if not self._closing and self._service is not None:
            self._service = None
            self._reopening = asyncio.create_task(self._reopen())

    async def _reopen(self) -> None:
        while True:
            await asyncio.sleep(RECONNECT_SECONDS)
            try:
                await self._connect()
            except (Error, OSError, TimeoutError) as error:
                _log.warning("status_checker_away", error=str(error) or type(error).__name__)
            else:
                return

    # ── answering ────────────────────────────────────────────────────────────────────────────────

    def _statistics(self, endpoint: EndpointStats) -> dict[str, int]:
        """Beside what NATS micro counts: it does not see how an answer ended."""
        return {"failed": self._failed[endpoint.name], "in_progress": len(self._answering)}

    def _begin(
        self, name: str, answer: Callable[[Request], Awaitable[bytes]]
    ) -> Callable[[Request], Awaitable[None]]:
        """A handler that lets the next request in while this one is answered."""

        async def begin(request: Request) -> None:
            if len(self._answering) >= MAX_AT_ONCE:
                await self._refuse(name, request, _busy())
                return
            task = asyncio.create_task(self._answer(name, request, answer))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

        return begin

    async def _answer(
        self, name: str, request: Request, answer: Callable[[Request], Awaitable[bytes]]
    ) -> None:
        try:
            try:
                told = await answer(request)
            except SagaError as error:
                await self._refuse(name, request, error)
            except Exception:
                _log.exception("status_checker_failed", endpoint=name)
                await self._refuse(name, request, SagaError("Something went wrong in here."))
            else:
                await request.respond(told)
        except (Error, OSError, ValueError) as error:  # no reply address, or the connection is gone
            _log.info("status_checker_not_told", endpoint=name, error=str(error))

    async def _refuse(self, name: str, request: Request, error: SagaError) -> None:
        self._failed[name] += 1
        body = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
        words = " ".join(error.message.split())[:500].encode("ascii", "replace").decode()
        await request.respond_error(error.code, words, json.dumps(body).encode())

    @staticmethod
    def _of(
        kind: type[B], answer: Callable[[B], Awaitable[bytes]]
    ) -> Callable[[Request], Awaitable[bytes]]:
        async def read_and_answer(request: Request) -> bytes:
            try:
                body = kind.model_validate_json(request.data)
            except ValidationError as error:
                faults = "; ".join(
                    f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".removeprefix(": ")
                    for fault in error.errors(include_input=False)[:10]
                )
                raise InvalidInput(f"That cannot be asked: {faults}.") from error
            return await answer(body)

        return read_and_answer

    async def _status(self, asked: _Status) -> bytes:
        row = await asyncio.to_thread(self._queries.status, asked.saga_id)
        return _OUTCOME.dump_json(outcome(row))

    async def _start(self, asked: _Start) -> bytes:
        answer = await self._client.start(
            asked.type, asked.data, key=asked.key, notify=asked.notify
        )
        return json.dumps({**answer.result(), "created": answer.created}).encode()

    async def _cancel(self, asked: _Cancel) -> bytes:
        verb = VerbRequest(verb="cancel", actor=asked.actor, reason=asked.reason)
        return json.dumps((await self._client.operate(asked.saga_id, verb)).result()).encode()


def _busy() -> Unavailable:
    return Unavailable("Too many ask at once.", retry_after=BUSY_SECONDS)
