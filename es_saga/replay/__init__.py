"""Time travel: a history moment by moment, decided again, forked, compared, and told as a test."""

from es_saga.replay.again import Again, Divergence, decide_again, diverges
from es_saga.replay.answers import refusals_of
from es_saga.replay.changes import Change
from es_saga.replay.comparing import Comparison, compare
from es_saga.replay.forking import Fork, what_if
from es_saga.replay.inputs import Kind
from es_saga.replay.reactions import Reaction
from es_saga.replay.replaying import Moment, Replay
from es_saga.replay.spans import Span, spans
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
