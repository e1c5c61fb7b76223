"""Suites for adapters of your own: subclass one, give it a fixture, and pytest runs it.

    StoreContract        a saga log                      fixture `connect`
    TransportContract    a redelivering pipe             fixture `pipe`
    ClockContract        time                            fixture `clock`
    FenceContract        a participant's memory          fixture `desk`

The docstring of each module shows the lines to write. They need pytest and anyio. Every adapter of
ours passes them, the memory adapters among them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from es_saga.testing.contracts.clock import ClockContract
    from es_saga.testing.contracts.fence import Desk, FenceContract, How
    from es_saga.testing.contracts.pipes import Pipe
    from es_saga.testing.contracts.store import Connect, StoreContract
    from es_saga.testing.contracts.transport import TransportContract

__all__ = [
    "ClockContract",
    "Connect",
    "Desk",
    "FenceContract",
    "How",
    "Pipe",
    "StoreContract",
    "TransportContract",
]

_HOMES = {
    "es_saga.testing.contracts.clock": ("ClockContract",),
    "es_saga.testing.contracts.fence": ("Desk", "FenceContract", "How"),
    "es_saga.testing.contracts.pipes": ("Pipe",),
    "es_saga.testing.contracts.store": ("Connect", "StoreContract"),
    "es_saga.testing.contracts.transport": ("TransportContract",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

pytest.register_assert_rewrite(*_HOMES)  # so that a failing assertion shows its values


def __getattr__(name: str) -> object:
    """Import on first use, after pytest knows what to rewrite."""
    if name not in _HOME:
        raise AttributeError(f"module 'es_saga.testing.contracts' has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
