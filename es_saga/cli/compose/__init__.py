"""Puts a running system together from settings: the one place that knows every part.

Heavy imports; commands import this package when they run, not when the command line is read.
"""

from es_saga.cli.compose.apps import load, load_app
from es_saga.cli.compose.broker import asking, broker, login, questions, streams, transport
from es_saga.cli.compose.logs import (
    encryption_key,
    existing_log,
    history,
    log_engine,
    queries,
    views,
)
from es_saga.cli.compose.systems import conducting, desk, serving, status_checker

__all__ = [
    "asking",
    "broker",
    "conducting",
    "desk",
    "encryption_key",
    "existing_log",
    "history",
    "load",
    "load_app",
    "log_engine",
    "login",
    "queries",
    "questions",
    "serving",
    "status_checker",
    "streams",
    "transport",
    "views",
]
