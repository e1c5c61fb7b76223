"""What a scenario is: an app, the sagas that are played with their fates, how it is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

COMPLETED, COMPENSATED = "completed", "compensated"

CONDUCTOR = "conductor"
"""The process that a cue can kill beside those of the services."""

Totals = Mapping[str, Mapping[str, int]]
"""What services hold: by service, by the name of what is counted."""


class Kill(NamedTuple):
    """A process is killed, once in a run."""

    process: str
    """The conductor, or a service that is alone in its process."""


class Tell(NamedTuple):
    """Somebody tells the saga what it waits for."""

    message: str
    data: Mapping[str, Any]


class Skip(NamedTuple):
    """An operator waives the step, once the saga is stuck at it."""

    reason: str


class Outage(NamedTuple):
    """A service is down from before the saga starts until what another one holds has expired.

    It expires as soon as it is held, however long it is to be kept: nobody waits for the clock.
    """

    process: str
    """Of a service that is alone in it."""
    hold: str
    """The step."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What a saga has in store, how it must end, and what it must leave behind."""

    story: str
    ends: str
    leaves: Totals
    """By how much it changes each total; those that are not named must be as they were."""
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """To the scenario's input."""
    cues: Mapping[str, Kill | Tell | Skip] = field(default_factory=dict[str, Kill | Tell | Skip])
    """What happens when a step begins, or the saga is stuck at it."""
    outage: Outage | None = None
    """Begins when the sagas before this one are closed, so that it disturbs none of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is played. References are `module:attribute`, for the library imports no business."""

    about: str
    """A line for `--help`."""
    app: str
    saga: str
    data: Mapping[str, Any]
    """An input, but for its key."""
    key: str
    """The field of the input that is told apart by a number of its own."""
    fates: tuple[Fate, ...]
    """One after the other, and from the beginning again; those with an outage once."""
    totals: str
    """A mapping: by service, the function that counts what is in its database."""
    alone: tuple[str, ...] = ()
    """Services with a process of their own; the others share one."""
    sagas: int | None = None
    """How many are played unless it is said; default: every fate once."""
    projection: str = ""
    begins: str = ""
    """Of a choreography: what the service does that publishes the first event, in its database."""
    postgres_only: bool = False
    apart: bool = False
    """A fate that comes once more waits until all before it are closed: it needs their rows."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """What its processes are to know."""
