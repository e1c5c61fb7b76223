"""Listens to what services tell, for the sagas that an event begins, or that wait for one.

    event ─► the saga types that listen for it ─► inbox of the saga it names ─► acknowledge

From the inbox on it is an input like any other. One durable consumer an app, `evt-<app>--watched`,
which several processes share: one stream has all events in the order in which they were caused.

Log events of a watcher: `event_not_watched` (it was put among the dead letters).
"""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from es_saga.core.compiled import Told
from es_saga.core.correlation import Correlation, Named
from es_saga.core.errors import SagaError
from es_saga.core.messages import Subjects
from es_saga.engine.ports import Consumer, Delivery, Subscription, Transport
from es_saga.engine.registry import Registry
from es_saga.engine.requests import heard_as

MAX_IN_FLIGHT = 256
"""Events that were delivered and are not in the inboxes of their sagas yet."""

_log = structlog.get_logger("es_saga.watcher")


class Watcher:
    """Passes events on to the sagas that they belong to; `start` and `stop` it."""

    def __init__(
        self, app: str, registry: Registry, transport: Transport, subjects: Subjects
    ) -> None:
        self._app = app
        self._transport = transport
        self._subjects = subjects
        self._listening: dict[Told, dict[str, Correlation]] = {}
        """Which saga an event belongs to, of each type that listens for it."""
        for definition in sorted(registry, key=lambda definition: definition.version):
            for told, correlation in definition.correlations.items():
                self._listening.setdefault(told, {})[definition.name] = correlation
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Listen, if there is anything to listen for."""
        if not self._listening:
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
        told = event.source.removeprefix("svc/"), event.type
        sagas: dict[str, Named] = {}
        try:
            for saga_type, correlation in self._listening.get(told, {}).items():
                if (saga := correlation.saga_of(event, saga_type)) is not None:
                    sagas[saga_type] = saga
        except SagaError as error:
            _reject(delivery, "no-correlation", error)
            return
        if not sagas:
            delivery.ack()
            return
        passed = [
            self._transport.publish(
                self._subjects.inbox(self._app, saga.saga_id),
                heard_as(event, saga_type, saga, self._app),
            )
            for saga_type, saga in sagas.items()
        ]
        asyncio.gather(*passed, return_exceptions=True).add_done_callback(partial(_done, delivery))


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
