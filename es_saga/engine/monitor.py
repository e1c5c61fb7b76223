"""Tells alerts as soon as what leads to them is committed, as long as this process lasts.

It keeps what is open in memory. For alerts that outlive their process, and reach somebody for
certain, see `es_saga.engine.alerting`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from es_saga.core.state import SagaState
from es_saga.engine.alerts import Alert, Cause, causes, log_alert
from es_saga.engine.ports import Append

_log = structlog.get_logger("es_saga.alerts")

Hook = Callable[[Alert], None]
"""Takes an alert and returns at once."""


class Monitor:
    """Turns committed batches into alerts: one for each cause of a saga (law L33).

    Use it as a listener of a `ProcessManager`: `manager.listen(Monitor())`.
    """

    def __init__(self, hooks: Sequence[Hook] = (log_alert,)) -> None:
        self._hooks = tuple(hooks)
        self.open: dict[str, dict[Cause, Alert]] = {}
        """Alerts by saga and cause, as far as this process saw."""

    def __call__(self, written: Sequence[Append]) -> None:
        """Look at what was committed."""
        for item in written:
            self._look(item.state)

    def _look(self, state: SagaState) -> None:
        found, known = causes(state), self.open.get(state.saga_id, {})
        if not found and not known:
            return
        left: dict[Cause, Alert] = {}
        for cause, alert in known.items():
            if found.get(cause) == alert.why:
                left[cause] = alert
            else:
                self._tell(_alert(state, cause, alert.why, alert.since, opened=False))
        for cause, why in found.items():
            if cause not in left:
                left[cause] = _alert(state, cause, why, state.version, opened=True)
                self._tell(left[cause])
        if left:
            self.open[state.saga_id] = left
        else:
            del self.open[state.saga_id]

    def _tell(self, alert: Alert) -> None:
        for hook in self._hooks:
            try:
                hook(alert)
            except Exception:  # an alert that cannot be delivered must not stop the sagas
                _log.exception("alert_not_delivered", saga=alert.saga_id)


def _alert(state: SagaState, cause: Cause, why: str, since: int, *, opened: bool) -> Alert:
    return Alert(
        saga_id=state.saga_id,
        saga_type=state.origin.saga_type,
        kind=cause.kind,
        opened=opened,
        why=why,
        step=cause.step,
        at=state.updated,
        since=since,
    )
