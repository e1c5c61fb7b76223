"""Every exception of es_saga, and what to do about each.

A participant's business *no* is not here: it is a `Refusal`, a value.

    SagaError
    ├── DefinitionError      the definition cannot be run: all its faults at once
    ├── InvalidInput         what came in is malformed: nothing was written
    ├── NotFound             no such saga, step or saga type
    ├── IllegalOperation     not in this state of the saga
    ├── ConflictError        somebody else was first
    ├── CorruptHistory       the log of a saga contradicts itself
    ├── NotYet               what comes before it has not arrived: it is delivered again
    ├── Unavailable          an outage: try again
    └── Terminal             never try again
"""

from __future__ import annotations

from collections.abc import Sequence


class SagaError(Exception):
    """Something went wrong in es_saga."""

    code = "error"

    def __init__(self, message: str | None = None, *, hint: str = "") -> None:
        self.message = message or type(self).__doc__ or ""
        self.hint = hint
        super().__init__(f"{self.message} {hint}".strip())


class DefinitionError(SagaError):
    """A definition cannot be run. Mend every fault listed and import it again."""

    code = "bad-definition"

    def __init__(self, name: str, faults: Sequence[str], *, kind: str = "saga") -> None:
        self.faults = tuple(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        listed = (fault.replace("\n", "\n  ") for fault in self.faults)  # a list in this list
        super().__init__("\n  - ".join([f"{kind} {name!r} has {count}:", *listed]))


class InvalidInput(SagaError):
    """What was sent does not fit what is expected. Correct it and send it again."""

    code = "invalid-input"


class NotFound(SagaError):
    """There is no such saga. Check the id with `es-saga list`."""

    code = "not-found"


class IllegalOperation(SagaError):
    """The saga's state does not allow that. Look at it with `es-saga status ID` first."""

    code = "illegal-state"


class ConflictError(SagaError):
    """Somebody else wrote first. Read again and decide again."""

    code = "conflict"


class CorruptHistory(SagaError):
    """A saga's history contradicts itself. Do not repair it by hand: restore it from a backup."""

    code = "corrupt-history"


class NotYet(SagaError):
    """What has to come before it has not arrived. It is delivered again for a while."""

    code = "not-yet"


class Unavailable(SagaError):
    """Something we depend on is out of reach. Try again in `retry_after` seconds."""

    code = "unavailable"

    def __init__(
        self, message: str | None = None, *, retry_after: float | None = None, hint: str = ""
    ) -> None:
        self.retry_after = retry_after
        super().__init__(message, hint=hint)


class Terminal(SagaError):
    """This will never succeed. It is not tried again."""

    code = "terminal"
