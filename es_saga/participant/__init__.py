"""The participant kit: what a service installs to take part in sagas."""

from es_saga.participant.fence import Undone, purge
from es_saga.participant.kit import Participant
from es_saga.participant.serve import NotPrepared, Server, create_tables, serve
from es_saga.participant.tx import Received, SyncTx, Tx

__all__ = [
    "NotPrepared",
    "Participant",
    "Received",
    "Server",
    "SyncTx",
    "Tx",
    "Undone",
    "create_tables",
    "purge",
    "serve",
]
