"""How often, how long, and what then: retry and compensation policies."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

DEFAULT_TIMEOUT = timedelta(seconds=30)
"""How long one attempt of a step may stay unanswered (requirement R049)."""

NESTED_TIMEOUT = timedelta(minutes=5)
"""How long a saga that another one runs may take before it is asked for again."""

MAX_ATTEMPTS = 10_000
"""A bound on what a policy may ask for; `attempts=None` means for ever."""

MAX_COEFFICIENT = 100
_MAX_EXPONENT = 64
"""Where the waits stop growing at the latest: 100.0 ** 64 is still a float."""


@dataclass(frozen=True, slots=True)
class Retry:
    """When work that failed or stayed unanswered is sent again, under the same command id.

    The wait before attempt n+1 is `first * coefficient ** (n-1)`, at most `maximum`, stretched by
    up to `jitter` (a share). The stretch is a hash of the command id, so it is the same on every
    replay and the waits of one command never decrease (law L31).

    >>> Retry(first=timedelta(seconds=1), jitter=0).wait("order-1/ship/do", attempt=3)
    4.0
    """

    first: timedelta = timedelta(seconds=1)
    coefficient: float = 2.0
    maximum: timedelta = timedelta(minutes=1)
    attempts: int | None = 3
    jitter: float = 0.1
    never: tuple[str, ...] = ()
    """Names of errors that are not worth another attempt."""

    def faults(self) -> list[str]:
        """What is wrong with the numbers, in words; empty when nothing is."""
        found: list[str] = []
        if self.first < timedelta(0) or self.maximum < self.first:
            found.append("retry: 0 <= first <= maximum does not hold")
        if not 1 <= self.coefficient <= MAX_COEFFICIENT:
            found.append(f"retry: coefficient must be 1 to {MAX_COEFFICIENT}")
        if self.attempts is None and not self.first:
            found.append("retry: for ever without a wait would never rest: set first")
        if self.attempts is not None and not 1 <= self.attempts <= MAX_ATTEMPTS:
            found.append(f"retry: attempts must be 1 to {MAX_ATTEMPTS}, or None for ever")
        if not 0 <= self.jitter <= 1:
            found.append("retry: jitter must be a share from 0 to 1")
        return found

    def wait(self, command_id: str, attempt: int) -> float:
        """Seconds between the end of `attempt` (1, 2, …) and the next sending."""
        first, maximum = self.first.total_seconds(), self.maximum.total_seconds()
        exponential = first * self.coefficient ** min(attempt - 1, _MAX_EXPONENT)
        stretch = 1 + self.jitter * (zlib.crc32(command_id.encode()) / 0xFFFFFFFF)
        return min(exponential, maximum) * stretch

    def another(self, attempt: int, error: str | None = None) -> bool:
        """Whether `attempt` may be followed by one more."""
        spent = self.attempts is not None and attempt >= self.attempts
        return not spent and (error is None or error not in self.never)


FOR_EVER = Retry(attempts=None)
"""The default after the pivot and for every undo: until it is done."""

ONCE = Retry(attempts=1)
"""Where nobody is asked, nobody is asked again."""


class OnFailedUndo(StrEnum):
    """What becomes of the other undos when one has failed for good (R037-R039)."""

    ESCALATE = "escalate"
    """Policy A, the default: note it, undo the rest, then ask a human."""
    HALT = "halt"
    """Policy B: stop at the first failure and ask a human."""
    REPORT = "report"
    """Policy C: go on, and close with the first cause and every failed undo together."""
