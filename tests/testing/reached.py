"""Every trace of effects on the way to an end, read off the graph of an exploration."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from es_saga.core.state import SagaStatus
from es_saga.testing.exploration.explorer import Explorer
from tests.testing.oracle import Trace, Traces

Edges = dict[int, list[tuple[str, int]]]


def reached(explorer: Explorer) -> Traces:
    """The traces that end with the saga completed, and with it compensated."""
    edges: Edges = defaultdict(list)
    for source, target, effect in explorer.transitions():
        if source != target:
            edges[source].append((effect, target))
    closed = explorer.closed()
    found = Traces(set(), set())
    _follow(frozenset({0}), (), edges, closed, found)
    return found


def _follow(
    here: frozenset[int], trace: Trace, edges: Edges, closed: dict[int, SagaStatus], found: Traces
) -> None:
    """Depth first over what has been seen; `here`: all situations in which that may be all."""
    here = _silently(here, edges)
    for index in here:
        if closed.get(index) is SagaStatus.COMPLETED:
            found.completed.add(trace)
        elif closed.get(index) is SagaStatus.COMPENSATED:
            found.compensated.add(trace)
    for effect in {effect for index in here for effect, _ in edges[index] if effect}:
        there = frozenset(to for index in here for seen, to in edges[index] if seen == effect)
        _follow(there, (*trace, effect), edges, closed, found)


def _silently(here: Iterable[int], edges: Edges) -> frozenset[int]:
    """All that can be reached without an effect."""
    found = set(here)
    waiting = list(found)
    while waiting:
        for effect, target in edges[waiting.pop()]:
            if not effect and target not in found:
                found.add(target)
                waiting.append(target)
    return frozenset(found)
