"""es_saga: an event-sourced saga process manager.

A saga is a value, the engine interprets it, the log is the truth, everything else is a view of the
log. Public names are those of `__all__`; the rest may move.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from es_saga.app import App
    from es_saga.core.after import START, gather, quorum
    from es_saga.core.choreography import Choreography
    from es_saga.core.compiled import Way
    from es_saga.core.definition import Saga
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
    from es_saga.core.messages import Command, Message, Query, Refusal
    from es_saga.core.nested import ChildSaga
    from es_saga.core.policy import OnFailedUndo, Retry
    from es_saga.core.sensitive import Sensitive
    from es_saga.core.state import SagaState, SagaStatus
    from es_saga.core.step import Step, of
    from es_saga.core.tcc import Tcc
    from es_saga.engine.ports import Recorded
    from es_saga.in_process import InProcess
    from es_saga.participant import Participant, SyncTx, Tx
    from es_saga.projections.changes import Add, Change, Delete, Put
    from es_saga.projections.projection import projection
    from es_saga.projections.view import View

__all__ = [
    "START",
    "Add",
    "App",
    "Change",
    "ChildSaga",
    "Choreography",
    "Command",
    "ConflictError",
    "CorruptHistory",
    "DefinitionError",
    "Delete",
    "IllegalOperation",
    "InProcess",
    "InvalidInput",
    "Message",
    "NotFound",
    "OnFailedUndo",
    "Participant",
    "Put",
    "Query",
    "Recorded",
    "Refusal",
    "Retry",
    "Saga",
    "SagaError",
    "SagaState",
    "SagaStatus",
    "Sensitive",
    "Step",
    "SyncTx",
    "Tcc",
    "Terminal",
    "Tx",
    "Unavailable",
    "View",
    "Way",
    "gather",
    "of",
    "projection",
    "quorum",
]

_HOMES = {
    "es_saga.app": ("App",),
    "es_saga.core.choreography": ("Choreography",),
    "es_saga.core.after": ("START", "gather", "quorum"),
    "es_saga.core.compiled": ("Way",),
    "es_saga.core.definition": ("Saga",),
    "es_saga.core.messages": ("Command", "Message", "Query", "Refusal"),
    "es_saga.core.nested": ("ChildSaga",),
    "es_saga.core.policy": ("OnFailedUndo", "Retry"),
    "es_saga.core.sensitive": ("Sensitive",),
    "es_saga.core.step": ("Step", "of"),
    "es_saga.core.state": ("SagaState", "SagaStatus"),
    "es_saga.core.tcc": ("Tcc",),
    "es_saga.engine.ports": ("Recorded",),
    "es_saga.in_process": ("InProcess",),
    "es_saga.participant": ("Participant", "SyncTx", "Tx"),
    "es_saga.projections.changes": ("Add", "Change", "Delete", "Put"),
    "es_saga.projections.projection": ("projection",),
    "es_saga.projections.view": ("View",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import on first use: the command line answers `--help` before SQLAlchemy would be loaded."""
    if name not in __all__:
        raise AttributeError(f"module 'es_saga' has no attribute {name!r}")
    value: object = getattr(import_module(_HOME.get(name, "es_saga.core.errors")), name)
    globals()[name] = value
    return value
