"""The participant kit: what a service installs to take part in sagas, to tell and hear events."""

from es_saga.core.messages import Event
from es_saga.participant.fence import Undone, purge
from es_saga.participant.inbox import Inbox
from es_saga.participant.kit import Participant
from es_saga.participant.outbox import Outbox
from es_saga.participant.own_database import NotPrepared, create_tables
from es_saga.participant.relay import PollingRelay
from es_saga.participant.semantic_lock import GaveWay, Locked, Meeting, SemanticLocks
from es_saga.participant.serve import Server, serve
from es_saga.participant.subscriber import Subscriber
from es_saga.participant.tailing import TailingRelay, create_slot, drop_slot
from es_saga.participant.tx import Received, SyncTx, Tx

__all__ = [
    "Event",
    "GaveWay",
    "Inbox",
    "Locked",
    "Meeting",
    "NotPrepared",
    "Outbox",
    "Participant",
    "PollingRelay",
    "Received",
    "SemanticLocks",
    "Server",
    "Subscriber",
    "SyncTx",
    "TailingRelay",
    "Tx",
    "Undone",
    "create_slot",
    "create_tables",
    "drop_slot",
    "purge",
    "serve",
]
