"""Endpoints as a NATS micro service: any NATS client can find them, ask them and see how they do.

It has a connection of its own, so that those who ask much do not hold up the sagas. An error is a
micro error: our code and words in the headers `Nats-Service-Error-Code` and `Nats-Service-Error`,
and as JSON in the body.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Final, cast

import structlog
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.errors import Error, NoRespondersError
from nats.micro.request import Request
from nats.micro.service import EndpointStats, Service, ServiceConfig
from pydantic import ValidationError

from es_saga.adapters.nats_link import CONNECT_SECONDS, RECONNECT_SECONDS, Link, Login
from es_saga.core.errors import SagaError, Unavailable
from es_saga.engine.ports import Endpoint
from es_saga.engine.requests import Answer

MAX_AT_ONCE: Final = 64
"""Requests that are being answered; beyond, whoever asks is told to come back."""

STOP_SECONDS: Final = 5.0
"""How long what is being answered may take once we stop."""

BUSY_SECONDS: Final = 1.0

_ERROR_CODE: Final = "Nats-Service-Error-Code"
_SEMANTIC = re.compile(r"\d+\.\d+\.\d+")
_log = structlog.get_logger("es_saga.nats")


class MicroService:
    """Answers at some endpoints, from `open` until `stop`.

    Args:
        servers: of NATS.
        name, description, metadata: how it introduces itself.
        endpoints: several may share a name; then they are counted together.
    """

    def __init__(
        self,
        servers: Sequence[str],
        login: Login,
        *,
        name: str,
        description: str,
        metadata: Mapping[str, str],
        endpoints: Sequence[Endpoint],
    ) -> None:
        self._servers = list(servers)
        self._login = login
        self._name = name
        self._description = description
        self._metadata = dict(metadata)
        self._endpoints = tuple(endpoints)
        self._nats: NatsClient | None = None
        self._service: Service | None = None
        self._closing = False
        self._answering: set[asyncio.Task[None]] = set()
        self._reopening: asyncio.Task[None] | None = None
        self._failed = {endpoint.name: 0 for endpoint in endpoints}

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
            raise Unavailable(f"{self._name} cannot reach NATS: {error}.") from error

    async def stop(self) -> None:
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
            _log.info("micro_service_cut_off", service=self._name, error=str(error))

    async def _connect(self) -> None:
        nats = self._nats = NatsClient()
        await nats.connect(
            self._servers,
            name=self._name,
            error_cb=self._on_error,
            closed_cb=self._on_closed,
            max_reconnect_attempts=-1,
            reconnect_time_wait=cast(int, RECONNECT_SECONDS),  # it is handed to `asyncio.sleep`
            **self._login.options(),
        )
        release = _SEMANTIC.match(version("es-saga"))
        config = ServiceConfig(
            name=self._name,
            version=release[0] if release else "0.0.0",
            description=self._description,
            metadata=self._metadata,
            stats_handler=self._statistics,
        )
        service = Service(nats, config)
        await service.start()
        for endpoint in self._endpoints:
            await service.add_endpoint(
                name=endpoint.name,
                subject=endpoint.subject,
                handler=self._begin(endpoint.name, endpoint.answer),
                metadata={},
            )
        # Twice: nats-py sends the ping of the first ahead of the subscriptions.
        await nats.flush()
        await nats.flush()
        self._service = service

    async def _on_error(self, error: Exception) -> None:
        """Each attempt to come back fails likewise: the link has told of the outage."""
        if not self._closing and self._nats is not None and self._nats.is_connected:
            _log.warning(
                "micro_service_error", service=self._name, error=str(error) or type(error).__name__
            )

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
                _log.warning(
                    "micro_service_away",
                    service=self._name,
                    error=str(error) or type(error).__name__,
                )
            else:
                return

    # ── answering ────────────────────────────────────────────────────────────────────────────────

    def _statistics(self, endpoint: EndpointStats) -> dict[str, int]:
        """Beside what NATS micro counts: it does not see how an answer ended."""
        return {"failed": self._failed[endpoint.name], "in_progress": len(self._answering)}

    def _begin(
        self, name: str, answer: Callable[[bytes], Awaitable[bytes]]
    ) -> Callable[[Request], Awaitable[None]]:
        """A handler that lets the next request in while this one is answered."""

        async def begin(request: Request) -> None:
            if len(self._answering) >= MAX_AT_ONCE:
                busy = Unavailable("Too many ask at once.", retry_after=BUSY_SECONDS)
                await self._refuse(name, request, busy)
                return
            task = asyncio.create_task(self._answer(name, request, answer))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

        return begin

    async def _answer(
        self, name: str, request: Request, answer: Callable[[bytes], Awaitable[bytes]]
    ) -> None:
        try:
            try:
                told = await answer(request.data)
            except SagaError as error:
                await self._refuse(name, request, error)
            except Exception:
                _log.exception("micro_service_failed", service=self._name, endpoint=name)
                await self._refuse(name, request, SagaError("Something went wrong in here."))
            else:
                await request.respond(told)
        except (Error, OSError, ValueError) as error:  # no reply address, or the connection is gone
            _log.info("micro_service_not_told", service=self._name, endpoint=name, error=str(error))

    async def _refuse(self, name: str, request: Request, error: SagaError) -> None:
        self._failed[name] += 1
        body = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
        words = " ".join(error.message.split())[:500].encode("ascii", "replace").decode()
        await request.respond_error(error.code, words, json.dumps(body).encode())


class Asker:
    """Asks over a connection that is somebody else's; see `Questions.ask`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def ask(self, subject: str, question: bytes, *, timeout: float) -> bytes:
        """See `Questions.ask`."""
        return await ask(self._link, subject, question, timeout)


async def ask(link: Link, subject: str, question: bytes, timeout: float) -> bytes:
    """The answer of a micro service; see `Questions.ask`."""
    try:
        answer = await link.request(subject, question, within=timeout)
    except Unavailable as error:
        if isinstance(error.__cause__, NoRespondersError):
            raise Unavailable(f"Nobody answers at {subject}.", hint="Does it run?") from error
        if isinstance(error.__cause__, TimeoutError | Error):
            raise Unavailable(f"No answer within {timeout:g} s.") from error
        raise
    code = (answer.headers or {}).get(_ERROR_CODE)
    if code is not None:
        _told(answer, code).result()
    return answer.data


def _told(answer: Msg, code: str) -> Answer:
    """A micro error, ours or that of a service that knows nothing of us."""
    try:
        found = json.loads(answer.data)["error"]
        return Answer(code=code, message=found["message"], hint=found.get("hint", ""))
    except (ValueError, KeyError, TypeError, ValidationError):
        return Answer(code=code, message=(answer.headers or {}).get("Nats-Service-Error", ""))
