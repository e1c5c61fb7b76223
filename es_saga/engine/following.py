"""What the projector needs of a database: views that take in the log, a bounded step at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


class Named(Protocol):
    """Of a view, the projector needs no more than the name."""

    @property
    def name(self) -> str: ...


class Advance(NamedTuple):
    """What one step came to."""

    taken: int
    """Events that were taken in; their writes and the checkpoint are committed."""
    left: int
    """Events that were there besides."""
    elsewhere: bool = False
    """Another process is just moving the view on: nothing was done here."""


class Undigested(Exception):
    """A view raised, or an event could not be read: nothing of the step was written.

    What was raised is the cause. With one event in the step, that is the one at fault.
    """

    def __init__(self, events: int, part: int, position: int) -> None:
        super().__init__(f"events from {position} of part {part} on could not be taken in")
        self.events = events
        """In the step."""
        self.part = part
        self.position = position
        """Of the first of them."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Why a view stands still."""

    error: str
    failures: int
    """In a row."""
    part: int | None = None
    position: int | None = None
    """Of the very event that it cannot take in, once that is known."""


class Following(Protocol):
    """How views are moved on: `es_saga.adapters.catch_up`."""

    async def prepare(self, view: Any) -> None:
        """Create the view's tables where they are missing; it stands at the beginning, if new.

        Raises:
            Unavailable: the database is out of reach.
        """
        ...

    async def advance(self, view: Any, limit: int) -> Advance:
        """Take in up to `limit` events, of any parts, in one transaction.

        Raises:
            Undigested: see there.
            Unavailable: the database is out of reach.
        """
        ...

    async def reached(self, name: str, saga_id: str, version: int) -> bool:
        """Whether a view has taken in this event.

        Raises:
            NotFound: there is no such event.
            Unavailable: the database is out of reach.
        """
        ...

    async def report(self, name: str, halt: Halt | None) -> None:
        """Let other processes know why a view stands still, or that it does not any more.

        Raises:
            Unavailable: the database is out of reach.
        """
        ...
