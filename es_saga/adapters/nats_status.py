"""The status checker: start, status and cancel by NATS request and reply, as a NATS micro service.

    nats request saga.v1.main.svc.status '{"saga_id": "order-7"}'

Any NATS client finds it with `$SRV.INFO`, and sees with `$SRV.STATS` how it is doing. Every process
manager of an app answers; a request goes to one of them. Where several apps share a tenant, the
app's name says which is meant: `saga.v1.main.svc.<app>.status`. Errors: see `nats_service`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from es_saga.adapters.nats_link import Login
from es_saga.adapters.nats_service import MicroService
from es_saga.core.errors import InvalidInput
from es_saga.core.messages import Subjects
from es_saga.engine.client import Client
from es_saga.engine.ports import Endpoint
from es_saga.engine.requests import VerbRequest
from es_saga.projections.ending import Outcome, outcome
from es_saga.projections.queries import Queries

_OUTCOME: Final = TypeAdapter(Outcome)


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
        self._queries = queries
        self._client = client
        root = f"{Subjects(tenant).root}.svc"
        answers = (
            ("status", self._of(_Status, self._status)),
            ("start", self._of(_Start, self._start)),
            ("cancel", self._of(_Cancel, self._cancel)),
        )
        self._service = MicroService(
            servers,
            login,
            name=f"es_saga-{app}",
            description=f"Start, status and cancel of the sagas of {app}.",
            metadata={"app": app},
            endpoints=[
                Endpoint(name, subject, answer)
                for name, answer in answers
                for subject in (f"{root}.{name}", f"{root}.{app}.{name}")
            ],
        )

    async def open(self) -> None:
        """Connect, and begin to answer.

        Raises:
            Unavailable: NATS is out of reach.
        """
        await self._service.open()

    async def close(self) -> None:
        """Answer what was asked, then no more. Never raises."""
        await self._service.stop()

    @staticmethod
    def _of(
        kind: type[B], answer: Callable[[B], Awaitable[bytes]]
    ) -> Callable[[bytes], Awaitable[bytes]]:
        async def read_and_answer(asked: bytes) -> bytes:
            try:
                body = kind.model_validate_json(asked)
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
