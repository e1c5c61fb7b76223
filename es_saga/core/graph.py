"""A definition as a diagram in text: Mermaid or DOT.

Steps are shaped by their kind; a dotted edge leads from a step to its undo. The pivot is the thick
one: before it the saga can be undone, after it it only goes on.
"""

from __future__ import annotations

from collections.abc import Iterator

from es_saga.core.compiled import Definition, StepDefinition, StepKind

_MERMAID_SHAPES = {
    StepKind.CHECK: ("{{", "}}"),
    StepKind.COMPENSATABLE: ("[", "]"),
    StepKind.PIVOT: ("{", "}"),
    StepKind.RETRIABLE: ("([", "])"),
}
_DOT_SHAPES = {
    StepKind.CHECK: "shape=hexagon",
    StepKind.COMPENSATABLE: "shape=box",
    StepKind.PIVOT: "shape=diamond, penwidth=3",
    StepKind.RETRIABLE: 'shape=box, style="rounded"',
}
_START, _END = "(start)", "(end)"
"""Parentheses cannot be in a step's name."""


def mermaid(definition: Definition) -> str:
    """A Mermaid flowchart.

    Nodes are numbered, because a step may be called what Mermaid reserves, `end` for one.
    """
    ids = {name: f"s{number}" for number, name in enumerate(definition.steps, start=1)}
    ids |= {_START: "start_", _END: "end_"}
    lines = ["flowchart LR", "    start_((start))", "    end_(((end)))"]
    for step in definition.steps.values():
        before, after = _MERMAID_SHAPES[step.kind]
        lines.append(f'    {ids[step.name]}{before}"{_label(step, "<br/>")}"{after}')
        lines.append(f"    class {ids[step.name]} {step.kind}")
        if step.undo is not None:
            lines.append(f'    {ids[step.name]}_undo["undo: {step.undo.command.__name__}"]')
            lines.append(f"    {ids[step.name]} -.-> {ids[step.name]}_undo")
    lines += [f"    {ids[source]} --> {ids[target]}" for source, target in _edges(definition)]
    lines.append("    classDef pivot stroke-width:4px")
    return "\n".join(lines) + "\n"


def dot(definition: Definition) -> str:
    """A Graphviz digraph, named after the saga."""
    lines = [f'digraph "{definition.name}" {{', "    rankdir=LR;"]
    lines += [f'    "{_START}" [label="start", shape=circle];']
    lines += [f'    "{_END}" [label="end", shape=doublecircle];']
    for step in definition.steps.values():
        label = _label(step, "\\n")
        lines.append(f'    "{step.name}" [label="{label}", {_DOT_SHAPES[step.kind]}];')
        if step.undo is not None:
            undo = f"undo: {step.undo.command.__name__}"
            lines.append(f'    "{step.name}/undo" [label="{undo}", shape=box, style="dotted"];')
            lines.append(f'    "{step.name}" -> "{step.name}/undo" [style="dotted"];')
    lines += [f'    "{source}" -> "{target}";' for source, target in _edges(definition)]
    return "\n".join([*lines, "}"]) + "\n"


def _label(step: StepDefinition, newline: str) -> str:
    return newline.join([step.name, step.kind, f"{step.command.__name__} to {step.command.to}"])


def _edges(definition: Definition) -> Iterator[tuple[str, str]]:
    """Every edge, from the start and to the end too."""
    for step in definition.steps.values():
        for other in step.after or (_START,):
            yield other, step.name
    for name in definition.steps:
        if not definition.next_steps(name):
            yield name, _END
