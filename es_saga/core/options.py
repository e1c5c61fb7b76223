"""Options of a definition as somebody may write them who has no type checker.

`timeout=30` is a fault like any other: told with all others, instead of an exception before them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, get_args

from es_saga.core.policy import Retry

Fault = Callable[[str], None]

UNKNOWN: Final = float("nan")
"""Stands for what is no time: neither too long nor too short for anything."""


def seconds(option: str, span: object, fault: Fault) -> float:
    """How long an option says, in seconds."""
    if not isinstance(span, timedelta):
        fault(f"{option} is {span!r}, no timedelta: write timedelta(seconds=…)")
        return UNKNOWN
    return span.total_seconds()


def some_seconds(option: str, span: object, fault: Fault) -> float:
    """As `seconds`; longer than nothing."""
    found = seconds(option, span, fault)
    if found <= 0:
        fault(f"{option} must be longer than nothing")
    return found


def policy(label: str, retry: object, fault: Fault) -> Retry:
    """When an option says that something is tried again."""
    if not isinstance(retry, Retry):
        fault(f"{label}: retry is {retry!r}: write Retry(attempts=…)")
        return Retry()
    if not (_is_span(retry.first) and _is_span(retry.maximum)):
        fault(f"{label}: retry: first and maximum are each a timedelta")
        return Retry()
    for found in retry.faults():
        fault(f"{label}: {found}")
    return retry


def one_of(option: str, given: object, words: Any, fault: Fault) -> None:
    """An option that is a word is one of those there are."""
    possible = get_args(words)
    if given not in possible:
        fault(f"{option} is {given!r}: it can be {' or '.join(map(repr, possible))}")


def _is_span(candidate: object) -> bool:
    return isinstance(candidate, timedelta)
