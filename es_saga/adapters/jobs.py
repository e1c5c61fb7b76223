"""What the writer's thread is asked for, and how those who wait for it are told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, NamedTuple

from es_saga.adapters.statements import Mark
from es_saga.engine.ports import Append


class Item(NamedTuple):
    """What is added to one saga, and how its events are stored."""

    append: Append
    stored: list[tuple[str, bytes]]


@dataclass(slots=True)
class AppendJob:
    """Batches of one `append` call."""

    future: asyncio.Future[list[int | None]]
    part: int
    items: list[Item]
    size: int
    """Events in all items."""


@dataclass(slots=True)
class AdvanceJob:
    """A reader's new positions."""

    future: asyncio.Future[None]
    marks: list[Mark]


@dataclass(slots=True)
class ClaimJob:
    """A new owner of a part wants to know its head."""

    future: asyncio.Future[int]
    part: int


Job = AppendJob | AdvanceJob | ClaimJob


def size_of(job: Job) -> int:
    """Events in it; a job of another kind counts as one."""
    return job.size if isinstance(job, AppendJob) else 1


Settled = list[tuple[asyncio.Future[Any], object]]


def settle(settled: Settled) -> None:
    """Resolve futures, all of one loop, from the writer's thread."""
    loop = settled[0][0].get_loop()
    try:
        loop.call_soon_threadsafe(_resolve, settled)
    except RuntimeError:
        # The loop is closed: nobody waits any more.
        assert loop.is_closed()


def _resolve(settled: Settled) -> None:
    for future, outcome in settled:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
