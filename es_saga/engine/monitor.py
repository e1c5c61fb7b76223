"""Alerts: what operations must hear of, once, and when it is over.

The durable record is the log itself: `SagaStuck`, a final `CompensationFailed`, `DeadlineExceeded`.
The monitor listens to what is committed and tells its hooks; it keeps what is open in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from es_saga.core.events import DeadlineExceeded
from es_saga.core.state import SagaState, SagaStatus
from es_saga.engine.ports import Append

_log = structlog.get_logger("es_saga.alerts")

AlertKind = Literal["stuck", "deadline"]


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that needs a human, or no longer does."""

    saga_id: str
    saga_type: str
    kind: AlertKind
    opened: bool
    """False: it is over."""
    why: str
    step: str | None
    at: float
    """Seconds since the epoch."""


Hook = Callable[[Alert], None]
"""Takes an alert and returns at once."""


def log_alert(alert: Alert) -> None:
    """The default hook: an error when an alert opens, a note when it closes."""
    tell = _log.error if alert.opened else _log.info
    tell(
        "alert_opened" if alert.opened else "alert_closed",
        saga=alert.saga_id,
        type=alert.saga_type,
        kind=alert.kind,
        step=alert.step,
        why=alert.why,
    )


class Monitor:
    """Turns committed batches into alerts: one per stuck saga, one per deadline overrun (law L33).

    Use it as a listener of a `ProcessManager`: `manager.listen(Monitor())`.
    """

    def __init__(self, hooks: Sequence[Hook] = (log_alert,)) -> None:
        self._hooks = tuple(hooks)
        self.open: dict[str, Alert] = {}
        """Sagas that are stuck, as far as this process saw."""

    def __call__(self, written: Sequence[Append]) -> None:
        """Look at what was committed."""
        for item in written:
            state = item.state
            if state.status is SagaStatus.STUCK:
                self._stuck(state)
            elif state.saga_id in self.open:
                self._over(state)
            for event in item.events:
                if type(event) is DeadlineExceeded:
                    why = f"deadline exceeded: {event.effect}"
                    self._tell(_alert(state, "deadline", why, None))

    def _stuck(self, state: SagaState) -> None:
        assert state.stuck is not None, "a stuck saga says why"
        alert = _alert(state, "stuck", state.stuck.why, state.stuck.step)
        known = self.open.get(state.saga_id)
        if known is not None and (known.why, known.step) == (alert.why, alert.step):
            return
        if known is not None:
            self._over(state)
        self.open[state.saga_id] = alert
        self._tell(alert)

    def _over(self, state: SagaState) -> None:
        known = self.open.pop(state.saga_id)
        self._tell(
            Alert(
                known.saga_id,
                known.saga_type,
                known.kind,
                opened=False,
                why=known.why,
                step=known.step,
                at=state.updated,
            )
        )

    def _tell(self, alert: Alert) -> None:
        for hook in self._hooks:
            try:
                hook(alert)
            except Exception:  # an alert that cannot be delivered must not stop the sagas
                _log.exception("alert_not_delivered", saga=alert.saga_id)


def _alert(state: SagaState, kind: AlertKind, why: str, step: str | None) -> Alert:
    return Alert(
        state.saga_id,
        state.origin.saga_type,
        kind,
        opened=True,
        why=why,
        step=step,
        at=state.updated,
    )
