"""A saga type in the languages of diagrams: Mermaid or DOT.

Steps are shaped by their kind; a dotted edge leads from a step to its undo. The pivot is the thick
one: before it the saga can be undone, after it it only goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from es_saga.core.compiled import StepKind
from es_saga.diagrams.plan import Box, Plan, Source, plan_of

_MERMAID_SHAPES: Final = {
    StepKind.CHECK: ("{{", "}}"),
    StepKind.COMPENSATABLE: ("[", "]"),
    StepKind.PIVOT: ("{", "}"),
    StepKind.RETRIABLE: ("([", "])"),
    StepKind.WAIT: ("[/", "/]"),
}
_DOT_SHAPES: Final = {
    StepKind.CHECK: "shape=hexagon",
    StepKind.COMPENSATABLE: "shape=box",
    StepKind.PIVOT: "shape=diamond, penwidth=3",
    StepKind.RETRIABLE: 'shape=box, style="rounded"',
    StepKind.WAIT: "shape=parallelogram",
}
_START, _END = "(start)", "(end)"
"""Parentheses cannot be in a step's name."""


def mermaid(source: Source) -> str:
    """A Mermaid flowchart.

    Nodes are numbered, because a step may be called what Mermaid reserves, `end` for one.
    """
    plan = plan_of(source)
    ids = {box.name: f"s{number}" for number, box in enumerate(plan.boxes, start=1)}
    ids |= {_START: "start_", _END: "end_"}
    lines = ["flowchart LR", "    start_((start))", "    end_(((end)))"]
    for box in plan.boxes:
        before, after = _MERMAID_SHAPES[box.kind]
        lines.append(f'    {ids[box.name]}{before}"{_label(box, "<br/>")}"{after}')
        lines.append(f"    class {ids[box.name]} {box.kind}")
        if box.undo is not None:
            lines.append(f'    {ids[box.name]}_undo["undo: {box.undo}"]')
            lines.append(f"    {ids[box.name]} -.-> {ids[box.name]}_undo")
    lines += [f"    {ids[source]} --> {ids[target]}" for source, target in _edges(plan)]
    lines.append("    classDef pivot stroke-width:4px")
    return "\n".join(lines) + "\n"


def dot(source: Source) -> str:
    """A Graphviz digraph, named after the saga."""
    plan = plan_of(source)
    lines = [f'digraph "{plan.name}" {{', "    rankdir=LR;"]
    lines += [f'    "{_START}" [label="start", shape=circle];']
    lines += [f'    "{_END}" [label="end", shape=doublecircle];']
    for box in plan.boxes:
        label = _label(box, "\\n")
        lines.append(f'    "{box.name}" [label="{label}", {_DOT_SHAPES[box.kind]}];')
        if box.undo is not None:
            undo = f"undo: {box.undo}"
            lines.append(f'    "{box.name}/undo" [label="{undo}", shape=box, style="dotted"];')
            lines.append(f'    "{box.name}" -> "{box.name}/undo" [style="dotted"];')
    lines += [f'    "{source}" -> "{target}";' for source, target in _edges(plan)]
    return "\n".join([*lines, "}"]) + "\n"


def _label(box: Box, newline: str) -> str:
    asks = box.asks.replace("→", "to").replace("←", "by")
    return newline.join(filter(None, [box.name, box.gist, asks]))


def _edges(plan: Plan) -> Iterator[tuple[str, str]]:
    """Every edge, from the start and to the end too."""
    for box in plan.boxes:
        for other in box.after or (_START,):
            yield other, box.name
    for name in plan.last:
        yield name, _END
