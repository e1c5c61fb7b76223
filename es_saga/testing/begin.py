"""A saga that is to be started in a simulated world."""

from __future__ import annotations

from typing import NamedTuple

from es_saga.core.events import Json


class Begin(NamedTuple):
    """A saga that is to be started: `Begin("order-1", "order", {"sku": "teapot"})`."""

    saga_id: str
    saga_type: str
    data: Json
    after: float = 0.0
    """Seconds since the beginning of the world."""
