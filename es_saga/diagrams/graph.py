"""A saga type as a picture: its steps, what undoes them, and the point of no return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from es_saga.core.compiled import StepKind
from es_saga.diagrams.drawing import MARGIN, SMALL, TEXT, Drawing, shortened, width_of
from es_saga.diagrams.layers import Edge, Extent, Layers
from es_saga.diagrams.plan import Box, Plan, Source, plan_of

Counts = Mapping[str, Mapping[str, int]]
"""By step: how many sagas are there in which state, as in `{"charge": {"stuck": 2}}`."""

GAP: Final = 56.0
"""Between two layers, in pixels: room for an arrow."""
ROWS: Final = 22.0
"""Between two steps of one layer."""
PASSING: Final = Extent(8.0, 12.0)
"""Room for an edge that passes a layer, and for the way back below it."""

_PAD: Final = 14.0
_LINE: Final = 17.0
_UNDO_GAP: Final = 16.0
_UNDO_HEIGHT: Final = 28.0
_END_RADIUS: Final = 9.0
_CAPTION: Final = 26.0
_MOST_CHARS: Final = 40

_START, _END = "(start)", "(end)"
"""Parentheses cannot be in a step's name."""

_KINDS: Final = {
    StepKind.CHECK: ("reads only", "quiet"),
    StepKind.COMPENSATABLE: ("", "run"),
    StepKind.PIVOT: ("pivot", "pivot"),
    StepKind.RETRIABLE: ("retried until done", "good"),
    StepKind.WAIT: ("waits", "quiet"),
}
"""What is said under a step, and its tone."""


class _Node(NamedTuple):
    """A step with the words in it, and how large that makes it."""

    box: Box
    words: tuple[str, ...]
    width: float
    body: float
    """Height of the step itself."""
    height: float
    """With its undo."""


def svg(source: Source, counts: Counts | None = None) -> str:
    """A picture of a saga type.

    Args:
        source: its definition, or the shape of it that the log remembers.
        counts: how many sagas are at which step just now.
    """
    plan = plan_of(source)
    return _Graph(plan, counts or {}).svg()


class _Graph:
    def __init__(self, plan: Plan, counts: Counts) -> None:
        self._plan = plan
        self._drawing = Drawing()
        nodes = [_node(box, counts.get(box.name, {})) for box in plan.boxes]
        self._body = max(node.body for node in nodes)
        self._nodes = {node.box.name: _as_tall(node, self._body) for node in nodes}
        self._edges = list(_edges(plan))
        self._back = list(_edges_back(plan))
        every = dict.fromkeys([*self._edges, *self._back])
        self._layers = Layers([_START, *self._nodes, _END], list(every))
        self._x = self._columns()
        extents = {
            name: Extent(node.body / 2, node.height - node.body / 2)
            for name, node in self._nodes.items()
        }
        extents |= dict.fromkeys((_START, _END), Extent(_END_RADIUS, _END_RADIUS))
        top = MARGIN + (_CAPTION if plan.pivot else 0.0)
        lines = self._layers.heights(extents, ROWS, PASSING)
        self._line = {name: line + top for name, line in lines.items()}
        """The height at which arrows come and go."""

    def _columns(self) -> list[float]:
        """The left side of each layer."""
        x, found = MARGIN, list[float]()
        for column in self._layers.columns:
            found.append(x)
            x += max(self._width(name) for name in column) + GAP
        return found

    def _width(self, name: str) -> float:
        node = self._nodes.get(name)
        return node.width if node else 2 * _END_RADIUS if name in (_START, _END) else 0.0

    def _left(self, name: str) -> float:
        """Nodes stand in the middle of their layer."""
        column = self._layers.columns[self._layers.layer[name]]
        widest = max(self._width(other) for other in column)
        return self._x[self._layers.layer[name]] + (widest - self._width(name)) / 2

    def _edges_of(self, name: str) -> tuple[float, float]:
        """Where a node's layer begins and ends."""
        layer = self._layers.layer[name]
        widest = max(self._width(other) for other in self._layers.columns[layer])
        return self._x[layer], self._x[layer] + widest

    # ── drawing ──────────────────────────────────────────────────────────────────────────────────

    def svg(self) -> str:
        """All of it."""
        if self._plan.pivot:
            self._no_return(self._plan.pivot)
        for edge in self._edges:
            self._arrow(edge)
        for edge in self._back:
            self._arrow_back(edge)
        for name, node in self._nodes.items():
            self._step(self._left(name), self._line[name] - node.body / 2, node)
        start, end = self._left(_START) + _END_RADIUS, self._left(_END) + _END_RADIUS
        self._drawing.dot(start, self._line[_START], _END_RADIUS, kind="start")
        self._drawing.dot(end, self._line[_END], _END_RADIUS, kind="end", full=False)
        self._drawing.dot(end, self._line[_END], _END_RADIUS - 4, kind="end")
        return self._drawing.svg("definition", f"Saga {self._plan.name}", _described(self._plan))

    def _step(self, x: float, y: float, node: _Node) -> None:
        draw, box = self._drawing, node.box
        words, tone = _KINDS[box.kind]
        pivot = box.kind is StepKind.PIVOT
        round = node.body / 2 if box.kind is StepKind.RETRIABLE else 8.0
        draw.box(
            x,
            y,
            node.width,
            node.body,
            kind=f"step {box.kind}",
            round=round,
            tone=tone,
            fill=0.08,
            line=3.0 if pivot else 1.5,
            dashed=box.kind is StepKind.CHECK,
            title=f"{box.name}: {box.kind}{words and f', {words}'}",
        )
        words_height = TEXT + _LINE * (len(node.words) - 1)
        middle, line = x + node.width / 2, y + (node.body - words_height) / 2 + TEXT * 0.8
        draw.text(middle, line, node.words[0], anchor="middle", bold=True, kind="name")
        for word in node.words[1:]:
            line += _LINE
            draw.text(middle, line, word, size=SMALL, anchor="middle", kind="command")
        if box.undo is not None:
            self._undo(middle, y + node.body, node)

    def _undo(self, middle: float, y: float, node: _Node) -> None:
        draw = self._drawing
        draw.line([(middle, y), (middle, y + _UNDO_GAP)], kind="undo", tone="wait", dashed=True)
        text = _undo_text(node.box)
        width = width_of(text, SMALL) + 2 * _PAD
        top = y + _UNDO_GAP
        draw.box(
            middle - width / 2,
            top,
            width,
            _UNDO_HEIGHT,
            kind="undo",
            round=6.0,
            tone="wait",
            fill=0.06,
            dashed=True,
            title=f"{node.box.undo} undoes {node.box.name}",
        )
        draw.text(middle, top + 18.0, text, size=SMALL, anchor="middle", kind="command")

    def _arrow(self, edge: Edge) -> None:
        """From a step to the one that waits for it."""
        places = [(self._left(edge[0]) + self._width(edge[0]), self._line[edge[0]])]
        places += self._between(edge, 0.0)
        places.append((self._left(edge[1]), self._line[edge[1]]))
        self._drawing.path(_curved(places), kind="edge", faint=0.75, through=places)
        self._drawing.head(*places[-1], kind="edge")

    def _arrow_back(self, edge: Edge) -> None:
        """From an undo to the one that follows it: the steps' own order, backwards."""
        earlier, later = edge
        places = [self._undo_port(earlier, right=True)]
        places += self._between(edge, PASSING.below - 2.0, self._undo_port(later, right=False)[1])
        places.append(self._undo_port(later, right=False))
        way = _curved(places)
        self._drawing.path(way, kind="undo-edge", tone="wait", dashed=True, through=places)
        self._drawing.head(*places[0], left=True, kind="undo-edge", tone="wait")

    def _between(
        self, edge: Edge, lower: float, last: float | None = None
    ) -> list[tuple[float, float]]:
        """Where a way crosses the borders of layers: it bends between them, never inside one."""
        way = self._layers.ways[edge]
        first = self._line[edge[0]] if last is None else self._undo_port(edge[0], right=True)[1]
        places = [(self._edges_of(edge[0])[1], first)]
        for name in way[1:-1]:
            left, right = self._edges_of(name)
            places += [(left, self._line[name] + lower), (right, self._line[name] + lower)]
        end = self._line[edge[1]] if last is None else last
        return [*places, (self._edges_of(edge[1])[0], end)]

    def _undo_port(self, name: str, *, right: bool) -> tuple[float, float]:
        node = self._nodes[name]
        half = width_of(_undo_text(node.box), SMALL) / 2 + _PAD
        middle = self._left(name) + node.width / 2
        y = self._line[name] + node.body / 2 + _UNDO_GAP + _UNDO_HEIGHT / 2
        return (middle + half if right else middle - half), y

    def _no_return(self, pivot: str) -> None:
        """A line after the pivot's layer: before it the saga can be undone."""
        layer = self._layers.layer[pivot]
        x = self._x[layer + 1] - GAP / 2
        names = [*self._nodes, _START, _END]
        bottom = max(self._bottom(name) for name in names)
        caption = "point of no return"
        self._drawing.line(
            [(x, MARGIN + 18), (x, bottom + 4)], kind="pivot", tone="pivot", thick=1.5, dashed=True
        )
        left = max(x, MARGIN + width_of(caption, SMALL) / 2)
        self._drawing.text(left, MARGIN + 10, caption, size=SMALL, anchor="middle", kind="pivot")

    def _bottom(self, name: str) -> float:
        node = self._nodes.get(name)
        below = node.height - node.body / 2 if node else _END_RADIUS
        return self._line[name] + below


def _curved(places: list[tuple[float, float]]) -> str:
    """Straight inside the layers, bent between them: every second piece is a curve."""
    x, y = places[0]
    way = f"M{x:.2f} {y:.2f}"
    for number, (to_x, to_y) in enumerate(places[1:]):
        if number % 2 == 0:
            way += f"L{to_x:.2f} {to_y:.2f}"
        else:
            bend = (to_x - x) / 2
            way += f"C{x + bend:.2f} {y:.2f} {to_x - bend:.2f} {to_y:.2f} {to_x:.2f} {to_y:.2f}"
        x, y = to_x, to_y
    return way


def _node(box: Box, counts: Mapping[str, int]) -> _Node:
    words = [shortened(box.name, _MOST_CHARS)]
    words += [shortened(box.asks, _MOST_CHARS)] if box.asks else []
    words += filter(None, [box.special or _KINDS[box.kind][0], *box.remarks])
    told = ", ".join(f"{number:,} {state}" for state, number in counts.items() if number)
    if told:
        words.append(shortened(told, _MOST_CHARS))
    widest = max(width_of(words[0], bold=True), *(width_of(word, SMALL) for word in words[1:]))
    body = 2 * _PAD + TEXT + _LINE * (len(words) - 1) - 2
    if box.undo is None:
        return _Node(box, tuple(words), widest + 2 * _PAD, body, body)
    width = max(widest, width_of(_undo_text(box), SMALL)) + 2 * _PAD
    return _Node(box, tuple(words), width, body, body + _UNDO_GAP + _UNDO_HEIGHT)


def _as_tall(node: _Node, body: float) -> _Node:
    """All steps are as tall as the tallest, so that their undos stand in line."""
    return node._replace(body=body, height=node.height + body - node.body)


def _undo_text(box: Box) -> str:
    return f"undo: {shortened(box.undo or '', _MOST_CHARS)}"


def _edges(plan: Plan) -> Iterator[Edge]:
    for box in plan.boxes:
        for other in box.after or (_START,):
            yield other, box.name
    for name in plan.last:
        yield name, _END


def _edges_back(plan: Plan) -> Iterator[Edge]:
    """The same between what has an undo; what has none is passed over."""
    boxes = {box.name: box for box in plan.boxes}
    for box in plan.boxes:
        waiting, found = list(box.after), set[str]()
        while box.undo is not None and waiting:
            name = waiting.pop()
            if boxes[name].undo is None:
                waiting += boxes[name].after
            elif name not in found:
                found.add(name)
                yield name, box.name


def _described(plan: Plan) -> str:
    """The picture in words, step by step."""
    said = [f"{len(plan.boxes)} steps."]
    for box in plan.boxes:
        after = f" after {', '.join(box.after)}" if box.after else " at the start"
        undo = f", undone by {box.undo}" if box.undo else ""
        said.append(f"{box.name} ({box.gist}){after}: {box.command}{undo}.")
    return " ".join(said)
