"""Tests of sagas: laws that judge what happened, and ways to make it happen.

Part of the product, and imported only by tests and by `es-saga check`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from es_saga.testing.begin import Begin
    from es_saga.testing.check import Checked, LawBroken, check_saga
    from es_saga.testing.exploring import Bounds, Exploration, explore
    from es_saga.testing.faults import Fault, FaultPlan, Kind
    from es_saga.testing.history import History, read_history, write_history
    from es_saga.testing.invariants import Books, Sagas
    from es_saga.testing.laws import LAWS, SYSTEM_LAWS, judge, judge_system
    from es_saga.testing.machine import SagaMachine
    from es_saga.testing.scenes import Asked, Scene, given
    from es_saga.testing.story import Effect, Judgement, Story, System, Violation
    from es_saga.testing.strategies import definitions, fault_plans, messages
    from es_saga.testing.world import World

__all__ = [
    "LAWS",
    "SYSTEM_LAWS",
    "Asked",
    "Begin",
    "Books",
    "Bounds",
    "Checked",
    "Effect",
    "Exploration",
    "Fault",
    "FaultPlan",
    "History",
    "Judgement",
    "Kind",
    "LawBroken",
    "SagaMachine",
    "Sagas",
    "Scene",
    "Story",
    "System",
    "Violation",
    "World",
    "check_saga",
    "definitions",
    "explore",
    "fault_plans",
    "given",
    "judge",
    "judge_system",
    "messages",
    "read_history",
    "write_history",
]

_HOMES = {
    "es_saga.testing.begin": ("Begin",),
    "es_saga.testing.check": ("Checked", "LawBroken", "check_saga"),
    "es_saga.testing.exploring": ("Bounds", "Exploration", "explore"),
    "es_saga.testing.faults": ("Fault", "FaultPlan", "Kind"),
    "es_saga.testing.history": ("History", "read_history", "write_history"),
    "es_saga.testing.machine": ("SagaMachine",),
    "es_saga.testing.scenes": ("Asked", "Scene", "given"),
    "es_saga.testing.invariants": ("Books", "Sagas"),
    "es_saga.testing.laws": ("LAWS", "SYSTEM_LAWS", "judge", "judge_system"),
    "es_saga.testing.story": ("Effect", "Judgement", "Story", "System", "Violation"),
    "es_saga.testing.strategies": ("definitions", "fault_plans", "messages"),
    "es_saga.testing.world": ("World",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import on first use, as `es_saga` does: a scene needs neither Hypothesis nor an engine."""
    if name not in _HOME:
        raise AttributeError(f"module 'es_saga.testing' has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
