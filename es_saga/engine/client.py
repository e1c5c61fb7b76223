"""Talking to a process manager from elsewhere: by messages, never through the database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from es_saga.core.errors import InvalidInput, SagaError
from es_saga.core.messages import Envelope, Message, Subjects, check_id
from es_saga.engine.ports import Transport
from es_saga.engine.requests import (
    SIGNAL_TYPE,
    START_TYPE,
    VERB_TYPE,
    Answer,
    Operated,
    SignalRequest,
    StartRequest,
    VerbRequest,
    failed,
    id_for,
    new_id,
)

ANSWER_SECONDS: Final = 10.0
"""How long to wait for the process manager's answer, by default."""

MAX_BULK: Final = 1_000
"""Most sagas that one request may concern."""

BULK_IN_FLIGHT: Final = 64
"""Of these, so many are asked for at a time."""


class Client:
    """Starts and operates the sagas of one app."""

    def __init__(self, transport: Transport, app: str, *, tenant: str = "main") -> None:
        self._transport = transport
        self._app = app
        self._subjects = Subjects(tenant)

    async def start(
        self,
        saga_type: str,
        data: Message | dict[str, Any],
        *,
        key: str | None = None,
        saga_id: str | None = None,
        notify: str | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> Answer:
        """Start a saga; the answer carries its id, and whether it began now.

        Raises:
            Unavailable: no answer in time. The request is in the stream and may still be handled;
                with a key it can be sent again without harm.
        """
        plain = data.model_dump(mode="json") if isinstance(data, Message) else data
        request = StartRequest(saga_type=saga_type, data=plain, key=key, notify=notify)
        chosen = check_id(saga_id) if saga_id else id_for(saga_type, key)
        # The id differs each time: inside the broker's duplicate window a repeated start must
        # still be answered. It is the saga's id that makes it one saga.
        return await self._ask(chosen, START_TYPE, request, f"{chosen}/start/{new_id()}", timeout)

    async def operate(
        self, saga_id: str, request: VerbRequest, *, timeout: float = ANSWER_SECONDS
    ) -> Answer:
        """Have a verb carried out; the answer carries a summary of the saga, or why not.

        Of a dry run the answer carries what would be appended and sent, too; nothing is.

        Raises:
            Unavailable: no answer in time; the verb may still be carried out, once.
        """
        message_id = f"{check_id(saga_id)}/{request.verb}/{new_id()}"
        return await self._ask(saga_id, VERB_TYPE, request, message_id, timeout)

    async def signal(
        self,
        saga_id: str,
        type: str,
        data: Message | dict[str, Any],
        *,
        timeout: float = ANSWER_SECONDS,
    ) -> Answer:
        """Tell a saga what it waits for, or will wait for; the same type twice counts once.

        Args:
            type: the name of the message's type.

        Raises:
            Unavailable: no answer in time; it may still be heard, once.
        """
        plain = data.model_dump(mode="json") if isinstance(data, Message) else data
        request = SignalRequest(type=type, data=plain)
        message_id = f"{check_id(saga_id)}/signal/{new_id()}"
        return await self._ask(saga_id, SIGNAL_TYPE, request, message_id, timeout)

    async def operate_all(
        self,
        saga_ids: Iterable[str],
        request: VerbRequest,
        *,
        versions: Mapping[str, int] | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> list[Operated]:
        """Have a verb carried out on each of many sagas: what became of each, in their order.

        It goes on whatever becomes of one. Where the request names its `operation` it may be
        repeated: what was carried out is not carried out again. Else it gets a name of its own,
        so that what was asked for together is told from the rest in the audit trail.

        Args:
            saga_ids: at most MAX_BULK; one that is there twice is asked for once.
            versions: by saga, the version at which it was looked at.
            timeout: seconds to wait for each answer.

        Raises:
            InvalidInput: there are too many.
        """
        wanted = list(dict.fromkeys(saga_ids))
        if len(wanted) > MAX_BULK:
            raise InvalidInput(
                f"{len(wanted)} sagas are too many: {MAX_BULK} at a time.",
                hint="Choose fewer, and repeat it.",
            )
        seen, operation = versions or {}, request.operation or new_id()
        room = asyncio.Semaphore(BULK_IN_FLIGHT)

        async def one(saga_id: str) -> Operated:
            expected = seen.get(saga_id, request.expected_version)
            asked = request.model_copy(
                update={"expected_version": expected, "operation": operation}
            )
            async with room:
                try:
                    answer = await self.operate(saga_id, asked, timeout=timeout)
                except SagaError as error:
                    answer = failed(error)
            return Operated(saga_id=saga_id, **dict(answer))

        return list(await asyncio.gather(*map(one, wanted)))

    async def _ask(
        self,
        saga_id: str,
        type: str,
        request: StartRequest | VerbRequest | SignalRequest,
        message_id: str,
        timeout: float,
    ) -> Answer:
        envelope = Envelope(
            id=message_id,
            source="client",
            type=type,
            sagaid=saga_id,
            # Without defaults: a process manager of an earlier release has not heard of all fields.
            data=request.model_dump(mode="json", exclude_defaults=True),
        )
        subject = self._subjects.inbox(self._app, saga_id)
        answer = await self._transport.request(subject, envelope, timeout=timeout)
        return Answer.model_validate(answer.data)
