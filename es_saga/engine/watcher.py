"""Watches what services tell each other, for the flows that nobody conducts.

    event ─► the flows that expect it ─► inbox of the saga it tells of ─► acknowledge

From the inbox on it is an input like any other. One durable consumer an app, `evt-<app>--watched`,
which several processes share: one stream has all events in the order in which they were caused.

Log events of a watcher: `event_not_watched` (it was put among the dead letters).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, cast

import structlog

from es_saga.core.definition import Definition
from es_saga.core.errors import InvalidInput, SagaError
from es_saga.core.messages import Envelope, Subjects
from es_saga.engine.ports import Consumer, Delivery, Subscription, Transport
from es_saga.engine.registry import Registry
from es_saga.engine.requests import heard_as, id_for

MAX_IN_FLIGHT = 256
"""Events that were delivered and are not in the inboxes of their sagas yet."""

_log = structlog.get_logger("es_saga.watcher")


class Watcher:
    """Passes the events of choreographies on to the sagas they tell of; `start` and `stop` it."""

    def __init__(
        self, app: str, registry: Registry, transport: Transport, subjects: Subjects
    ) -> None:
        self._app = app
        self._transport = transport
        self._subjects = subjects
        self._flows: dict[tuple[str, str], dict[str, Definition]] = {}
        """By service and event: the flows that it tells of, by name, the latest version."""
        for definition in registry:
            for event in definition.meanings:
                flows = self._flows.setdefault(event, {})
                flows[definition.name] = registry.latest(definition.name)
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Listen, if there is anything to listen for."""
        if not self._flows:
            return
        consumer = Consumer(
            name=f"evt-{self._app}--watched",
            stream="EVT",
            filter=self._subjects.events,
            max_ack_pending=MAX_IN_FLIGHT,
            in_order=True,
        )
        self._subscription = await self._transport.consume(consumer, self._receive)

    async def stop(self) -> None:
        """Hear no more; what is not passed on yet is delivered again."""
        if self._subscription is not None:
            await self._subscription.stop()
            self._subscription = None

    def _receive(self, delivery: Delivery) -> None:
        event = delivery.envelope
        flows = self._flows.get((event.source.removeprefix("svc/"), event.type), {})
        if not flows:
            delivery.ack()
            return
        try:
            sagas = {name: _saga_of(event, definition) for name, definition in flows.items()}
        except SagaError as error:
            _reject(delivery, "no-correlation", error)
            return
        passed = [
            self._transport.publish(
                self._subjects.inbox(self._app, saga_id),
                heard_as(event, name, saga_id, self._app),
            )
            for name, saga_id in sagas.items()
        ]
        asyncio.gather(*passed, return_exceptions=True).add_done_callback(partial(_done, delivery))


def _saga_of(event: Envelope, definition: Definition) -> str:
    """The id of the saga that an event tells of: raises InvalidInput if it names none."""
    data, key = event.data, definition.key or ""
    found = cast("dict[str, Any]", data).get(key) if isinstance(data, dict) else None
    if found in (None, ""):
        raise InvalidInput(f"{event.type} has no {key}, so it tells of no {definition.name}.")
    return id_for(definition.name, str(found))


def _done(delivery: Delivery, passed: asyncio.Future[list[BaseException | None]]) -> None:
    errors = [] if passed.cancelled() else passed.result()
    error = next((one for one in errors if one is not None), None)
    if passed.cancelled() or (error is not None and not isinstance(error, SagaError)):
        delivery.nak()
    elif error is not None:
        _reject(delivery, error.code, error)
    else:
        delivery.ack()


def _reject(delivery: Delivery, reason: str, error: SagaError) -> None:
    event = delivery.envelope
    _log.warning("event_not_watched", event_type=event.type, id=event.id, error=error.message)
    delivery.reject(reason, error.message)
