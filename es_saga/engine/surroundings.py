"""What every part of a process manager shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from es_saga.engine.outgoing import Sender
from es_saga.engine.ports import Append, Clock, Store, Transport
from es_saga.engine.registry import Registry


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The ports and the settings of one process manager."""

    registry: Registry
    store: Store
    transport: Transport
    clock: Clock
    sender: Sender
    cached: int
    """States remembered per part."""
    refuse_starts: bool
    """During an outage of the log: refuse new starts instead of holding them."""
    committed: Callable[[Sequence[Append]], None]
    """Told of every committed batch, in the part's order."""
    volatile: bool = False
    """What the transport holds is lost with this process."""
