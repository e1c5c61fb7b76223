"""Whom a running system tells of alerts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import sqlalchemy as sa

from es_saga.adapters.alert_hooks import BrokerHook, Webhook
from es_saga.adapters.alert_log import SqlAlertLog
from es_saga.config import Settings
from es_saga.engine.alerting import Alerting, Hook, LogHook
from es_saga.engine.manager import ProcessManager
from es_saga.engine.ports import Clock, Questions, Transport
from es_saga.engine.rounds import Rounds


def hooks(settings: Settings, app: str, pipe: Transport) -> list[Hook]:
    """Everybody who wants to hear of alerts, as the settings have it.

    Raises:
        InvalidInput: the webhook's address is none.
    """
    found: list[Hook] = [LogHook()] if settings.alert_logged else []
    if settings.alert_webhook is not None:
        found.append(Webhook(settings.alert_webhook.get_secret_value(), app))
    if settings.alert_nats:
        found.append(BrokerHook(pipe, app, tenant=settings.tenant))
    return found


@asynccontextmanager
async def alerting(
    settings: Settings,
    manager: ProcessManager,
    pipe: Transport,
    engine: sa.Engine,
    clock: Clock,
    *,
    participants: Sequence[str] = (),
    questions: Questions | None = None,
) -> AsyncGenerator[None, None]:
    """Alerts being told, for the parts that the manager owns.

    Args:
        participants: who is asked how it is, if there is a way to ask.

    Raises:
        InvalidInput: the webhook's address is none.
        Unavailable: the database is out of reach.
    """
    log = SqlAlertLog(engine)
    telling = Alerting(
        hooks(settings, manager.app, pipe),
        log,
        clock,
        lambda: manager.owned,
        patience=settings.alert_after,
    )
    await telling.start()
    try:
        if questions is None:
            yield
            return
        async with Rounds(
            participants,
            questions,
            log,
            clock,
            lambda: manager.owned,
            tenant=settings.tenant,
        ):
            yield
    finally:
        await telling.stop()
