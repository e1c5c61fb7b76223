"""Tests of sagas: laws that judge what happened, and ways to make it happen.

Part of the product, and imported only by tests and by `es-saga check`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from es_saga.testing.laws import LAWS, SYSTEM_LAWS, judge, judge_system
    from es_saga.testing.scenes import Asked, Scene, given
    from es_saga.testing.story import Effect, Judgement, Story, System, Violation

__all__ = [
    "LAWS",
    "SYSTEM_LAWS",
    "Asked",
    "Effect",
    "Judgement",
    "Scene",
    "Story",
    "System",
    "Violation",
    "given",
    "judge",
    "judge_system",
]

_HOMES = {
    "es_saga.testing.scenes": ("Asked", "Scene", "given"),
    "es_saga.testing.laws": ("LAWS", "SYSTEM_LAWS", "judge", "judge_system"),
    "es_saga.testing.story": ("Effect", "Judgement", "Story", "System", "Violation"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import on first use, as `es_saga` does: a scene needs neither Hypothesis nor an engine."""
    if name not in _HOME:
        raise AttributeError(f"module 'es_saga.testing' has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
