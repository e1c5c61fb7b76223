"""Where the steps of a saga stand in a picture: layers from left to right, few crossings.

A step's layer is the longest way to it. An edge that passes over layers gets a place in each of
them, so that no edge runs through a step. Within a layer the order is by barycentre (Sugiyama,
Tagawa and Toda 1981), and so is the height, as far as neighbours leave room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

SWEEPS: Final = 8
"""Times that order and heights are bettered, forward and back."""

Edge = tuple[str, str]


class Extent(NamedTuple):
    """How far something reaches from the line on which its arrows come and go."""

    above: float
    below: float


class Layers:
    """Nodes in layers, with edges between neighbouring layers only."""

    def __init__(self, nodes: Sequence[str], edges: Sequence[Edge]) -> None:
        self.layer = _longest_ways(nodes, edges)
        self.ways: dict[Edge, list[str]] = {}
        """For each edge the nodes it passes, its ends included."""
        self._before: dict[str, list[str]] = {}
        self._after: dict[str, list[str]] = {}
        count = max(self.layer.values(), default=-1) + 1
        self.columns: list[list[str]] = [[] for _ in range(count)]
        for node in nodes:
            self.columns[self.layer[node]].append(node)
        for edge in edges:
            self.ways[edge] = self._way(*edge)
        self._order()

    def _way(self, source: str, target: str) -> list[str]:
        way = [source]
        for layer in range(self.layer[source] + 1, self.layer[target]):
            passing = f"{source}>{target}@{layer}"
            self.columns[layer].append(passing)
            self.layer[passing] = layer
            way.append(passing)
        way.append(target)
        for one, next in pairwise(way):
            self._after.setdefault(one, []).append(next)
            self._before.setdefault(next, []).append(one)
        return way

    def _order(self) -> None:
        for sweep in range(SWEEPS):
            forward = sweep % 2 == 0
            neighbours = self._before if forward else self._after
            columns = self.columns if forward else self.columns[::-1]
            for fixed, moving in pairwise(columns):
                place = {node: float(index) for index, node in enumerate(fixed)}
                own = {node: float(index) for index, node in enumerate(moving)}
                moving.sort(key=_barycentre(neighbours, place, own))

    def heights(
        self, extents: Mapping[str, Extent], gap: float, passing: Extent
    ) -> dict[str, float]:
        """The line of every node, counted downwards from the top of the highest.

        Args:
            extents: of each node.
            gap: between two of a layer, at least.
            passing: room for an edge that passes.
        """
        room = {name: extents.get(name, passing) for column in self.columns for name in column}
        lines: dict[str, float] = {}
        for column in self.columns:
            lines.update(_spread(column, 0.0, room, gap))
        for sweep in range(SWEEPS):
            neighbours = self._before if sweep % 2 == 0 else self._after
            for column in self.columns if sweep % 2 == 0 else self.columns[::-1]:
                _settle(column, neighbours, lines, room, gap)
        top = min((line - room[name].above for name, line in lines.items()), default=0.0)
        return {name: line - top for name, line in lines.items()}


def _longest_ways(nodes: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """The layer of each node; there are no circles, `verify` has seen to it."""
    before: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in edges:
        before[target].append(source)
    layer: dict[str, int] = {}
    while len(layer) < len(nodes):
        ready = [n for n in nodes if n not in layer and all(one in layer for one in before[n])]
        assert ready, "the steps of a saga go in no circle"
        for node in ready:
            layer[node] = max((layer[one] + 1 for one in before[node]), default=0)
    return layer


def _barycentre(
    neighbours: Mapping[str, Sequence[str]],
    place: Mapping[str, float],
    own: Mapping[str, float],
) -> Callable[[str], float]:
    def of(node: str) -> float:
        found = [place[other] for other in neighbours.get(node, ()) if other in place]
        return sum(found) / len(found) if found else own[node]

    return of


def _settle(
    column: Sequence[str],
    neighbours: Mapping[str, Sequence[str]],
    lines: dict[str, float],
    room: Mapping[str, Extent],
    gap: float,
) -> None:
    """Move every node to the mean of its neighbours, then apart where they would touch."""
    wanted: dict[str, float] = {}
    for node in column:
        found = [lines[other] for other in neighbours.get(node, ())]
        wanted[node] = sum(found) / len(found) if found else lines[node]
    blocks: list[dict[str, float]] = []
    for node in column:
        blocks.append({node: wanted[node]})
        while len(blocks) > 1 and _touch(blocks[-2], blocks[-1], room, gap):
            below, above = blocks.pop(), blocks.pop()
            blocks.append(_together([*above, *below], wanted, room, gap))
    for block in blocks:
        lines.update(block)


def _touch(
    above: Mapping[str, float],
    below: Mapping[str, float],
    room: Mapping[str, Extent],
    gap: float,
) -> bool:
    last, first = [*above][-1], next(iter(below))
    return above[last] + room[last].below + gap > below[first] - room[first].above


def _together(
    nodes: Sequence[str], wanted: Mapping[str, float], room: Mapping[str, Extent], gap: float
) -> dict[str, float]:
    """As close as may be, and on average where they want to be."""
    spread = _spread(nodes, 0.0, room, gap)
    off = sum(wanted[node] - line for node, line in spread.items()) / len(nodes)
    return {node: line + off for node, line in spread.items()}


def _spread(
    nodes: Sequence[str], centre: float, room: Mapping[str, Extent], gap: float
) -> dict[str, float]:
    """One below the other, around a centre."""
    y = 0.0
    lines: dict[str, float] = {}
    for node in nodes:
        lines[node] = y + room[node].above
        y = lines[node] + room[node].below + gap
    middle = (y - gap) / 2
    return {node: centre + line - middle for node, line in lines.items()}
