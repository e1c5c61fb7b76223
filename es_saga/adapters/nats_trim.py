"""Removes what every consumer is done with, so that limits-retention streams stay small.

Only messages that some consumer has settled are removed: what waits for a participant or a manager
that has never run yet is kept. Where every subject has a consumer, the beginning of the stream is
cut off, which is cheap; otherwise each consumer's messages are removed by their filter, which costs
the server a look at every message and is done in slices, for it publishes nothing meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from es_saga.adapters.nats_streams import CONSUMED, BrokerError, ConsumerStatus, Streams
from es_saga.adapters.subjects import covers, overlap
from es_saga.core.messages import PARTS

TRIM_SECONDS: Final = 30.0
"""Pause between two runs."""

SLICE: Final = 20_000
"""Sequence numbers a single purge covers."""

MAX_SLICES: Final = 500
"""Purges of one run; the rest is left to the next."""

MAX_SUBJECTS: Final = 5_000
"""A stream with more subjects is not asked for their names."""


async def trim(streams: Streams) -> int:
    """Remove what is settled; how many messages that were.

    Raises:
        BrokerError, Unavailable: the server refused, or did not answer.
    """
    return sum([await _trim(streams, kind) for kind in CONSUMED])


async def _trim(streams: Streams, kind: str) -> int:
    name = streams.name(kind)
    # The stream first: what arrives later has a higher number than anything removed here.
    state = (await streams.ask(f"STREAM.INFO.{name}"))["state"]
    if not state["messages"]:
        return 0
    subjects: Iterable[str] | None = None
    if state.get("num_subjects", 0) <= MAX_SUBJECTS:
        full = await streams.ask(f"STREAM.INFO.{name}", {"subjects_filter": ">"})
        state = full["state"]
        named: dict[str, int] = state.get("subjects") or {}
        subjects = named.keys()
    consumers = await streams.consumers(kind)
    floors = {c.name: await _floor(streams, name, c, state["last_seq"]) for c in consumers}
    purged = 0
    slices = 0
    for filter, floor in _plan(consumers, floors, subjects):
        done = state["first_seq"] - 1
        while done < floor and slices < MAX_SLICES:
            done, slices = min(floor, done + SLICE), slices + 1
            request = {"seq": done + 1} | ({"filter": filter} if filter else {})
            purged += (await streams.ask(f"STREAM.PURGE.{name}", request))["purged"]
    return purged


async def _floor(streams: Streams, stream: str, consumer: ConsumerStatus, last: int) -> int:
    """Up to which number every message of a consumer is settled."""
    if not (consumer.pending or consumer.unacked):
        return last
    # Its ack floor stays where its last settled message was, long ago perhaps: go on to its next.
    request = {"seq": consumer.floor + 1, "next_by_subj": consumer.filter}
    try:
        answer = await streams.ask(f"STREAM.MSG.GET.{stream}", request)
    except BrokerError:
        return consumer.floor
    return min(last, int(answer["message"]["seq"]) - 1)


def _plan(
    consumers: Sequence[ConsumerStatus], floors: Mapping[str, int], subjects: Iterable[str] | None
) -> list[tuple[str | None, int]]:
    """Filters, and up to which number their messages are settled; None: whatever the subject."""
    if not consumers:
        return []
    filters = [c.filter for c in consumers]
    if subjects is not None and all(any(covers(f, s) for f in filters) for s in subjects):
        return [(None, min(floors.values()))]
    settled = {
        c.filter: min(floors[o.name] for o in consumers if overlap(c.filter, o.filter))
        for c in consumers
    }
    return list(_merge_parts(settled).items())


def _merge_parts(settled: dict[str, int]) -> dict[str, int]:
    """Filters that differ in their part only, all parts being there, become one."""
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for filter in settled:
        tokens = filter.split(".")
        if len(tokens) == 7 and tokens[5].isdigit():
            groups[".".join([*tokens[:5], "*", *tokens[6:]])].add(filter)
    merged = dict(settled)
    for whole, parts in groups.items():
        if len(parts) == PARTS:
            merged[whole] = min(merged.pop(part) for part in parts)
    return merged
