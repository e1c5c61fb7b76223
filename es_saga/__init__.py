"""es_saga: an event-sourced saga process manager.

A saga is a value, the engine interprets it, the log is the truth, everything else is a view of the
log. Public names are those of `__all__`; the rest may move.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    from es_saga.core.sensitive import Sensitive
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
    "Sensitive",
    "Step",
    "SyncTx",
    "Terminal",
    "Tx",
    "Unavailable",
    "of",
]

_HOMES = {
    "es_saga.app": ("App",),
    "es_saga.core.definition": ("START", "Saga", "Step", "of"),
    "es_saga.core.messages": ("Command", "Message", "Refusal"),
    "es_saga.core.policy": ("OnFailedUndo", "Retry"),
    "es_saga.core.sensitive": ("Sensitive",),
    "es_saga.participant": ("Participant", "SyncTx", "Tx"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import on first use: the command line answers `--help` before SQLAlchemy would be loaded."""
    if name not in __all__:
        raise AttributeError(f"module 'es_saga' has no attribute {name!r}")
    value: object = getattr(import_module(_HOME.get(name, "es_saga.core.errors")), name)
    globals()[name] = value
    return value
