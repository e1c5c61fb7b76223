"""Time travel: a history moment by moment, decided again, forked, compared, and told as a test."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from es_saga.replay.again import Again, Divergence, decide_again, diverges
    from es_saga.replay.answers import refusals_of
    from es_saga.replay.attempts import Span, spans
    from es_saga.replay.changes import Change
    from es_saga.replay.comparing import Comparison, compare
    from es_saga.replay.forking import Fork, what_if
    from es_saga.replay.inputs import Kind
    from es_saga.replay.reactions import Reaction
    from es_saga.replay.replaying import Moment, Replay
    from es_saga.replay.telling import scene

__all__ = [
    "Again",
    "Change",
    "Comparison",
    "Divergence",
    "Fork",
    "Kind",
    "Moment",
    "Reaction",
    "Replay",
    "Span",
    "compare",
    "decide_again",
    "diverges",
    "refusals_of",
    "scene",
    "spans",
    "what_if",
]

_HOMES = {
    "es_saga.replay.again": ("Again", "Divergence", "decide_again", "diverges"),
    "es_saga.replay.answers": ("refusals_of",),
    "es_saga.replay.changes": ("Change",),
    "es_saga.replay.comparing": ("Comparison", "compare"),
    "es_saga.replay.forking": ("Fork", "what_if"),
    "es_saga.replay.inputs": ("Kind",),
    "es_saga.replay.reactions": ("Reaction",),
    "es_saga.replay.replaying": ("Moment", "Replay"),
    "es_saga.replay.attempts": ("Span", "spans"),
    "es_saga.replay.telling": ("scene",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import on first use: to look at a history takes no saga, and no scene."""
    if name not in _HOME:
        raise AttributeError(f"module 'es_saga.replay' has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
