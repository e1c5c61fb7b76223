"""es_saga: an event-sourced saga process manager.

A saga is a value, the engine interprets it, the log is the truth, everything else is a view of the
log. Public names are those of `__all__`; the rest may move.
"""

from es_saga.app import App
from es_saga.core.definition import START, Saga, Step, of
from es_saga.core.errors import (
    ConflictError,
    CorruptHistory,
    DefinitionError,
    IllegalOperation,
    InvalidInput,
    NotFound,
    SagaError,
    Terminal,
    Unavailable,
)
from es_saga.core.messages import Command, Message, Refusal
from es_saga.core.policy import OnFailedUndo, Retry
from es_saga.participant import Participant, SyncTx, Tx

__all__ = [
    "START",
    "App",
    "Command",
    "ConflictError",
    "CorruptHistory",
    "DefinitionError",
    "IllegalOperation",
    "InvalidInput",
    "Message",
    "NotFound",
    "OnFailedUndo",
    "Participant",
    "Refusal",
    "Retry",
    "Saga",
    "SagaError",
    "Step",
    "SyncTx",
    "Terminal",
    "Tx",
    "Unavailable",
    "of",
]
