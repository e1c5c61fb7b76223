"""The way to a process manager that may come, go and come back somewhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from contextlib import AsyncExitStack
from typing import Final

from es_saga.adapters.nats import NatsTransport
from es_saga.cli import compose
from es_saga.cli.running import located
from es_saga.config import Settings
from es_saga.core.errors import SagaError, Unavailable
from es_saga.engine.client import Client
from es_saga.engine.ports import Questions

AGAIN_SECONDS: Final = 1.0
"""A way that was found blocked is not tried again for so long."""


class OnDemand:
    """Connected when it is first needed; looked for anew when the connection is gone."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tenant = settings.tenant
        self._stack = AsyncExitStack()
        self._dialling = asyncio.Lock()
        self._pipe: NatsTransport | None = None
        self._client: Client | None = None
        self._blocked: tuple[float, Unavailable] | None = None

    async def client(self) -> Client:
        """A client of the app.

        Raises:
            Unavailable: the broker is out of reach, or no app runs.
        """
        return (await self._connected())[0]

    async def questions(self) -> Questions:
        """The way to the participants. Raises as `client` does."""
        return (await self._connected())[1]

    async def unserved(self, services: Collection[str]) -> Collection[str]:
        """See `Streams.unserved`. Raises as `client` does."""
        return await (await self._connected())[1].unserved(services)

    @property
    def tenant(self) -> str:
        """Whose broker it is."""
        return self._tenant

    async def _connected(self) -> tuple[Client, NatsTransport]:
        async with self._dialling:
            if self._client is not None and self._pipe is not None and self._pipe.connected:
                return self._client, self._pipe
            if self._blocked is not None and time.monotonic() < self._blocked[0]:
                raise self._blocked[1]
            try:
                return await self._dial()
            except SagaError as error:
                why = Unavailable(error.message, retry_after=AGAIN_SECONDS, hint=error.hint)
                self._blocked = (time.monotonic() + AGAIN_SECONDS, why)
                raise why from error

    async def _dial(self) -> tuple[Client, NatsTransport]:
        await self._stack.aclose()
        self._pipe = self._client = None
        here = located(self._settings)
        assert here.nats is not None, "located"
        assert here.app is not None, "located"
        self._pipe = await self._stack.enter_async_context(
            compose.transport(here, here.nats, "es-saga-ui")
        )
        self._tenant = here.tenant
        self._client = Client(self._pipe, here.app, tenant=here.tenant)
        return self._client, self._pipe

    async def close(self) -> None:
        """Disconnect."""
        async with self._dialling:
            await self._stack.aclose()
            self._pipe = self._client = None
