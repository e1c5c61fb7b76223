"""The saga types that the log knows: each as a graph, with what its sagas are at just now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from es_saga.core.errors import NotFound
from es_saga.diagrams import definition_dot, definition_mermaid, definition_svg
from es_saga.diagrams.plan import plan_of
from es_saga.projections.definitions import DefinitionRow
from es_saga.projections.pending import StepLoad
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit
from es_saga.web.dashboard.pictures import share

Counts = Mapping[str, Mapping[str, int]]


def screens(pages: Pages) -> Sequence[Screen]:
    """The list, and one definition."""

    async def every(_visit: Visit) -> Context:
        desk = pages.desk
        counts = await pages.observatory.sagas()
        known = await pages.definitions.answer()
        latest = {row.type: row for row in reversed(known)}
        return {
            "definitions": [
                {
                    "row": latest[name],
                    "versions": sum(row.type == name for row in known),
                    "here": (name, latest[name].version) in desk.code,
                    "total": sum(counts.get(name, {}).values()),
                    "share": share(sorted(counts.get(name, {}).items())),
                }
                for name in sorted(latest)
            ]
        }

    async def one(visit: Visit) -> Context:
        return await _one(pages, visit)

    return [
        Screen("/definitions", "definitions.html", "definitions", every),
        Screen("/definitions/{type}/{version}", "definition.html", "definitions", one),
    ]


async def _one(pages: Pages, visit: Visit) -> Context:
    desk, asked = pages.desk, visit.request.path_params
    version = str(asked["version"])
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise NotFound(f"{version[:40]!r} is no version.")
    known = [row for row in await pages.definitions.answer() if row.type == asked["type"]]
    row = next((row for row in known if row.version == int(version)), None)
    if row is None:
        raise NotFound("The log knows no such definition.", hint="See the list of definitions.")
    load, whole = await desk.ask(desk.queries.load)
    code = desk.code.get((row.type, row.version))
    source = code or row.shape
    counts = await pages.observatory.sagas()
    return {
        "row": row,
        "versions": known,
        "picture": definition_svg(source, _at_steps(row, load)),
        "whole": whole,
        "watched": any(step.get("expected") for step in row.shape["steps"]),
        "counts": counts.get(row.type, {}),
        "steps": plan_of(row.shape).boxes,
        "sensitive": list(_sensitive(row.sensitive)),
        "deadline": code.deadline if code else None,
        "policy": code.on_failed_undo.value if code else None,
        "code": code,
        "mermaid": definition_mermaid(source),
        "dot": definition_dot(source),
    }


def _sensitive(found: Mapping[str, Any]) -> Iterator[str]:
    """The fields that are hidden, as a reader finds them.

    >>> [*_sensitive({"input": [["card"]], "steps": {"pay": {"command": [["card", "number"]]}}})]
    ['input: card', 'pay command: card.number']
    """
    for path in found.get("input", ()):
        yield f"input: {'.'.join(map(str, path))}"
    for step, sides in found.get("steps", {}).items():
        for side, paths in sides.items():
            for path in paths:
                yield f"{step} {side}: {'.'.join(map(str, path))}"


def _at_steps(row: DefinitionRow, load: Sequence[StepLoad]) -> Counts:
    """How many sagas of the type are at each step, by the way they go."""
    counts: dict[str, dict[str, int]] = {}
    for one in load:
        if one.type == row.type:
            way = "undoing" if one.backward else "running"
            counts.setdefault(one.step, {})[way] = one.sagas
    return counts
