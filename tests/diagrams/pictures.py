"""The pictures that are looked at: every saga type, every recorded history, and odd ones."""

from __future__ import annotations

import re
from typing import Final
from xml.etree import ElementTree

from es_saga.core.compiled import Definition
from es_saga.diagrams import definition_svg, sequence_svg, timeline_svg
from es_saga.replay import Replay
from tests.histories.fates import RECORDINGS
from tests.replay.recorded import EVERY_SAGA, recorded, worlds

SVG: Final = "{http://www.w3.org/2000/svg}"
_ALLOWED: Final = {"svg", "title", "desc", "text", "rect", "path", "circle"}
_NUMBER: Final = re.compile(r"-?\d+\.?\d*")


def of_definitions() -> dict[str, str]:
    """Every saga of the reference business, half of them with sagas at their steps."""
    return {
        saga.name: definition_svg(
            saga.definition, {next(iter(saga.definition.steps)): {"running": 1_200, "stuck": 2}}
        )
        for saga in EVERY_SAGA
    }


def of_runs() -> dict[str, str]:
    """Recorded histories, and some of unreliable worlds."""
    replays: dict[str, tuple[Replay, Definition]] = {
        name: (recorded(name), saga.definition) for name, (saga, _, _) in RECORDINGS.items()
    }
    for saga in EVERY_SAGA:
        for number, replay in enumerate(worlds(saga, range(4))):
            replays[f"{saga.name}/world-{number}"] = (replay, saga.definition)
    found: dict[str, str] = {}
    for name, (replay, definition) in replays.items():
        found[f"{name}/gantt"] = timeline_svg(replay.saga_id, replay.events, definition)
        found[f"{name}/sequence"] = sequence_svg(replay.saga_id, replay.events)
    return found


def check(picture: str) -> ElementTree.Element:
    """It is well-formed, says what it shows, and has nothing that a strict policy would refuse.

    And everything lies within it.
    """
    root = ElementTree.fromstring(picture)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    first, second = root[0], root[1]
    assert (first.tag, second.tag) == (f"{SVG}title", f"{SVG}desc")
    assert first.text
    assert second.text
    _, _, width, height = map(float, (root.get("viewBox") or "").split())
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in _ALLOWED
        assert "style" not in element.attrib
        assert not any(name.startswith("on") or "href" in name for name in element.attrib)
        _within(element, width, height)
    return root


def _within(element: ElementTree.Element, width: float, height: float) -> None:
    sides = {"x": width, "cx": width, "y": height, "cy": height}
    for name, most in sides.items():
        assert 0 <= float(element.get(name, "0")) <= most, ElementTree.tostring(element)
    if element.tag == f"{SVG}rect":
        assert float(element.get("width", "0")) > 0
        assert float(element.get("x", "0")) + float(element.get("width", "0")) <= width
        assert float(element.get("y", "0")) + float(element.get("height", "0")) <= height
    way = element.get("d", "")
    if way and "l" not in way:  # absolute
        numbers = [float(number) for number in _NUMBER.findall(way)]
        assert all(-0.01 <= x <= width for x in numbers[::2]), way
        assert all(-0.01 <= y <= height for y in numbers[1::2]), way


def words(picture: str) -> list[str]:
    """The texts that are to be read, in order."""
    return [text.text or "" for text in check(picture).iter(f"{SVG}text")]
