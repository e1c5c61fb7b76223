"""The words that random sagas are written in: messages, and what a definition needs beside them."""

from __future__ import annotations

import datetime
from datetime import timedelta
from typing import Final

from es_saga import (
    START,
    ChildSaga,
    Command,
    Message,
    OnFailedUndo,
    Retry,
    Saga,
    Sensitive,
    Tcc,
    Way,
    gather,
    of,
    quorum,
)

SECRET: Final = "4929-0000-1111-2222"
"""Stands in a sensitive field of every input and command: nobody is to be shown it."""


class Go(Message):
    n: int = 1
    """Items of every list."""
    card: Sensitive[str] = SECRET


class Done(Message):
    by: str


class Heard(Done):
    """What somebody waits for."""

    card: Sensitive[str] = SECRET


class Do(Command[Done]):
    to = "north"
    step: str
    seen: tuple[str, ...]
    card: Sensitive[str]


class Fetch(Command[Done]):
    to = "south"
    step: str
    seen: tuple[str, ...]
    card: Sensitive[str]


class Undo(Command[None]):
    to = "north"
    step: str
    knew: bool


class Return(Command[None]):
    to = "south"
    step: str
    knew: bool


Known = Message | list[Done] | None
"""What a function may be given of another step."""


def told(*replies: Known) -> tuple[str, ...]:
    """What the replies say, absent ones and lists included."""
    flat = (one for reply in replies for one in (reply if isinstance(reply, list) else [reply]))
    return tuple(one.by if isinstance(one, Done) else str(one) for one in flat)


__all__ = [
    "START",
    "ChildSaga",
    "Do",
    "Done",
    "Fetch",
    "Go",
    "Heard",
    "OnFailedUndo",
    "Retry",
    "Return",
    "Saga",
    "Tcc",
    "Undo",
    "Way",
    "datetime",
    "gather",
    "of",
    "quorum",
    "timedelta",
    "told",
]
