"""Time travel: a history moment by moment, decided again, forked, compared, and told as a test."""

from es_saga.replay.changes import Change
from es_saga.replay.inputs import Kind
from es_saga.replay.reactions import Reaction
from es_saga.replay.replaying import Moment, Replay

__all__ = ["Change", "Kind", "Moment", "Reaction", "Replay"]
