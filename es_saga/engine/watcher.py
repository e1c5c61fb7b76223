"""Listens to what services tell, for the sagas that an event begins, or that wait for one.

    event ─► the saga types that listen for it ─► inbox of the saga it names ─► acknowledge

From the inbox on it is an input like any other. Where the saga's part is ours, and the event is for
one saga only, it is handled at once, and takes the way over the inbox only if it comes too early.
So what waits for its saga holds up no other event.

One durable consumer an app, `evt-<app>--watched`, which several processes share: one stream has all
events in the order in which they were caused.

Log events of a watcher: `event_not_watched` (it was put among the dead letters).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from es_saga.core.compiled import Told
from es_saga.core.correlation import Correlation, Named
from es_saga.core.errors import SagaError
from es_saga.core.messages import Envelope, Subjects
from es_saga.engine.ports import Consumer, Delivery, Subscription, Transport
from es_saga.engine.registry import Registry
from es_saga.engine.requests import heard_as

MAX_IN_FLIGHT = 1_000
"""Events that were delivered and are neither handled nor in the inboxes of their sagas."""

_log = structlog.get_logger("es_saga.watcher")


class Watcher:
    """Passes events on to the sagas that they belong to; `start` and `stop` it."""

    def __init__(
        self,
        app: str,
        registry: Registry,
        transport: Transport,
        subjects: Subjects,
        handle: Callable[[str, Delivery], bool],
    ) -> None:
        self._app = app
        self._handle = handle
        """Have a delivery for a saga handled in this process; False: its part is not ours."""
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
        heard = [heard_as(event, saga_type, saga, self._app) for saga_type, saga in sagas.items()]
        passed = _Passed(delivery, self._pass_on, heard)
        if len(heard) > 1 or not self._handle(passed.envelope.sagaid or "", passed):
            passed.nak()

    def _pass_on(self, heard: Envelope) -> asyncio.Future[None]:
        inbox = self._subjects.inbox(self._app, heard.sagaid or "")
        return self._transport.publish(inbox, heard)


class _Passed:
    """An event on its way to sagas: a delivery of the first one's, which only we can settle."""

    def __init__(
        self,
        delivery: Delivery,
        pass_on: Callable[[Envelope], asyncio.Future[None]],
        heard: Sequence[Envelope],
    ) -> None:
        self.envelope = heard[0]
        self.delivered = delivery.delivered
        self._delivery = delivery
        self._pass_on = pass_on
        self._heard = heard

    def ack(self) -> None:
        self._delivery.ack()

    def nak(self, delay: float = 0.0) -> None:
        """It cannot be handled here, or not yet: the inboxes have it, and deliver it again."""
        passed = map(self._pass_on, self._heard)
        asyncio.gather(*passed, return_exceptions=True).add_done_callback(self._done)

    def reject(self, reason: str, detail: str = "") -> None:
        self._delivery.reject(reason, detail)

    def _done(self, passed: asyncio.Future[list[BaseException | None]]) -> None:
        errors = [] if passed.cancelled() else passed.result()
        error = next((one for one in errors if one is not None), None)
        if passed.cancelled() or (error is not None and not isinstance(error, SagaError)):
            self._delivery.nak()
        elif error is not None:
            _reject(self._delivery, error.code, error)
        else:
            self._delivery.ack()


def _reject(delivery: Delivery, reason: str, error: SagaError) -> None:
    event = delivery.envelope
    _log.warning("event_not_watched", event_type=event.type, id=event.id, error=error.message)
    delivery.reject(reason, error.message)
