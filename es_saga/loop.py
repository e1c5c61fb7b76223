"""The event loop of a process that serves: uvloop where there is one, and a patient collector."""

from __future__ import annotations

import gc
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

CONDUCTING: Final = (50_000, 20, 50)
"""Objects before a collection of each generation. A process full of remembered sagas is walked
whole by every full collection, and nearly all of it is alive: the default 700 cost a quarter more
CPU with 1,000 sagas in flight."""

ANSWERING: Final = (5_000, 50, 200)
"""For a process that asks the read models: SQLAlchemy's statements are cycles, and 50,000 of their
objects at once held an answer up by 20 to 35 ms; so many, by 1 ms. Conducting would cost 3 to 9 %
more CPU."""


def run(body: Coroutine[Any, Any, T], *, thresholds: tuple[int, int, int] = CONDUCTING) -> T:
    """Run a coroutine to its end, and tune the process for it."""
    import asyncio  # not before: this module is read by every command, `--help` too

    gc.collect()
    gc.freeze()  # what was imported stays
    gc.set_threshold(*thresholds)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(body)
    return uvloop.run(body)
