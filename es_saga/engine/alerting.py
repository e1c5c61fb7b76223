"""Delivers alerts, each opening and each closing, at least once, to everybody who wants them.

Each hook goes through the alerts at its own pace, in the order in which they were opened and closed
in a part; how far it has come is kept with the alerts. One that fails waits and tries again, and
holds up no other. Besides, it has sagas looked for that make no progress (requirement R082).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import structlog

from es_saga.core.errors import Unavailable
from es_saga.engine.alerts import IDLE_PART, Alert, log_alert
from es_saga.engine.condition import Complaint
from es_saga.engine.ports import Clock

POLL_SECONDS: Final = 0.5
"""How often a hook looks for alerts."""

FAILED_SECONDS: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Waits after a hook failed; the last one repeats."""

MAX_NOTICES: Final = 100
"""Openings and closings that are read at once."""

WATCH_SECONDS: Final = 30.0
"""How often idle sagas are looked for, at most; a tenth of the patience if that is more often."""

_log = structlog.get_logger("es_saga.alerts")


class Notice(NamedTuple):
    """An alert was opened or closed, at this place of the log."""

    part: int
    position: int
    alert: Alert


class AlertLog(Protocol):
    """The alerts that last, and how far each hook has come with them."""

    async def prepare(self, hooks: Sequence[str]) -> None:
        """Make what is missing. A hook that is new begins with the alerts that are open now."""
        ...

    async def pending(self, hook: str, parts: Collection[int], limit: int) -> Sequence[Notice]:
        """What this hook has not been told, by part and position."""
        ...

    async def told(self, hook: str, positions: Mapping[int, int]) -> None:
        """This hook has been told everything up to these positions, by part."""
        ...

    async def watch(self, now: float, patience: float) -> int:
        """Open an alert for each saga that has made no progress for so many seconds, close those
        that have; how many alerts that were."""
        ...

    async def reported(self, said: Mapping[str, Sequence[Complaint]], now: float) -> int:
        """Open an alert for each trouble that these participants tell of, and close those that
        they no longer tell; how many alerts that were."""
        ...


class Hook(Protocol):
    """Somebody who wants to hear of alerts."""

    @property
    def name(self) -> str:
        """Under which it is kept how far it has come; for ever."""
        ...

    async def tell(self, alert: Alert) -> None:
        """Returns once it has been told. It may be told the same twice, with the same `Alert.id`.

        Raises:
            Exception: it could not be told; it is tried again.
        """
        ...


class LogHook:
    """Tells this process's own log."""

    name = "log"

    async def tell(self, alert: Alert) -> None:
        """See `Hook.tell`."""
        log_alert(alert)


class Alerting:
    """Tells hooks of alerts until stopped.

    Args:
        parts: those that this process tells of; it has to own them, so that nobody else does.
        patience: seconds without progress after which a saga counts as idle; 0: never.
    """

    def __init__(
        self,
        hooks: Sequence[Hook],
        log: AlertLog,
        clock: Clock,
        parts: Callable[[], Collection[int]],
        *,
        patience: float,
    ) -> None:
        self._hooks = tuple(hooks)
        self._log = log
        self._clock = clock
        self._parts = parts
        self._patience = patience
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to tell. Raises Unavailable: the database is out of reach."""
        await self._log.prepare([hook.name for hook in self._hooks])
        self._tasks = [asyncio.create_task(self._serve(hook)) for hook in self._hooks]
        if self._patience:
            self._tasks.append(asyncio.create_task(self._watch()))

    async def stop(self) -> None:
        """Stop where it is; what is not written down as told will be told again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def deliver(self, hook: Hook) -> int:
        """Tell a hook what is there by now, up to MAX_NOTICES; how many it were.

        Raises:
            Exception: whatever the hook raised; what it was told before is written down.
        """
        notices = await self._log.pending(hook.name, self._own(), MAX_NOTICES)
        if len(notices) == MAX_NOTICES and _place(notices[0]) != _place(notices[-1]):
            # There may be more at the very place where a full page ends.
            notices = [one for one in notices if _place(one) != _place(notices[-1])]
        told: dict[int, int] = {}
        try:
            for (part, position), alike in itertools.groupby(notices, key=_place):
                for notice in alike:
                    await hook.tell(notice.alert)
                told[part] = position
        finally:
            if told:
                await self._log.told(hook.name, told)
        return len(notices)

    def _own(self) -> Collection[int]:
        """Our parts of the log; whoever has the first one looks after the idle sagas as well."""
        parts = set(self._parts())
        return parts | {IDLE_PART} if 0 in parts else parts

    async def _serve(self, hook: Hook) -> None:
        failures = 0
        while True:
            try:
                told = await self.deliver(hook)
            except Exception as error:  # a hook may raise anything: it alone waits
                _log.warning("alert_not_delivered", hook=hook.name, error=_text(error))
                await self._clock.sleep(FAILED_SECONDS[min(failures, len(FAILED_SECONDS) - 1)])
                failures += 1
                continue
            failures = 0
            if not told:
                await self._clock.sleep(POLL_SECONDS)

    async def _watch(self) -> None:
        while True:
            try:
                if 0 in self._parts():
                    await self._log.watch(self._clock.now(), self._patience)
            except Unavailable as error:
                _log.warning("unavailable", doing="watch", error=error.message)
            except Exception:  # a fault of ours must not end what has to go on for ever
                _log.exception("failed", doing="watch")
            await self._clock.sleep(min(WATCH_SECONDS, self._patience / 10))


def _place(notice: Notice) -> tuple[int, int]:
    return notice.part, notice.position


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
