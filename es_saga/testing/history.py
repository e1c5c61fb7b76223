"""Histories as files: one saga, one JSON object a line, and any change to it is found.

    {"format": "es_saga.history/1", "release": "0.1.0", "saga_id": "order-1"}
    {"version": 1, "topic": "SagaStarted", "event": {…}, "chain": "5f0c…"}
    {"version": 2, "topic": "StepStarted", "event": {…}, "chain": "a917…"}
    {"version": 3, "state": {…}, "chain": "03be…"}

An event is written as the log stores it, so what an earlier release wrote is lifted by the same
upcasters. The chain is a hash of the line and of the chain before it: an event that was edited,
left out or moved is named (law L52). It is no signature: who means to deceive can hash again.
The last line has the state that the events led to. What was found in a history, and the effects
that participants had, may stand in the head.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic import BaseModel

from es_saga.adapters.codec import decode, encode
from es_saga.core.aggregate import fold
from es_saga.core.errors import CorruptHistory
from es_saga.core.events import Json, SagaEvent
from es_saga.core.messages import Direction
from es_saga.testing.story import Effect

FORMAT = "es_saga.history/1"

CHAIN_CHARS = 16
"""Hexadecimal digits of SHA-256 that a line's chain has."""


class History(NamedTuple):
    """One saga, as it was recorded."""

    saga_id: str
    release: str
    """Of es_saga, that recorded it."""
    events: Sequence[SagaEvent]
    state: Json
    """The saga after its last event, as that release folded it; see `differences`."""
    found: str = ""
    """What is wrong with it, where that is why it was recorded."""
    effects: Sequence[Effect] | None = None
    """None: not recorded."""


def write_history(
    path: Path,
    saga_id: str,
    events: Sequence[SagaEvent],
    *,
    found: str = "",
    effects: Sequence[Effect] | None = None,
) -> None:
    """Record a history, and the state it leads to; for the rest see `History`.

    Raises:
        FileExistsError: there is one: what was recorded is never recorded again.
        CorruptHistory: these events do not fold.
    """
    lines = history_lines(saga_id, events, found=found, effects=effects)
    with path.open("x", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def history_lines(
    saga_id: str,
    events: Sequence[SagaEvent],
    *,
    found: str = "",
    effects: Sequence[Effect] | None = None,
) -> list[str]:
    """What `write_history` writes, line by line.

    Raises:
        CorruptHistory: these events do not fold.
    """
    state = fold(saga_id, events)
    if state is None:
        raise CorruptHistory(f"saga {saga_id!r} has no events.")
    head: Json = {"format": FORMAT, "release": version("es-saga"), "saga_id": saga_id}
    if found:
        head["found"] = found
    if effects is not None:
        head["effects"] = [list(effect) for effect in effects]
    lines: list[Json] = [head]
    for event in events:
        topic, payload = encode(event)
        lines.append({"version": len(lines), "topic": topic, "event": json.loads(payload)})
    lines.append({"version": len(lines), "state": plain(state)})
    chain = _chain("", head)
    for line in lines[1:]:
        line["chain"] = chain = _chain(chain, line)
    return [json.dumps(line, ensure_ascii=False) for line in lines]


def read_history(path: Path) -> History:
    """What was recorded, every event lifted to today's form.

    Raises:
        CorruptHistory: it is not as it was written; the first bad event is named.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    head = _object(path, lines[0] if lines else "", "the head")
    if head.get("format") != FORMAT:
        raise CorruptHistory(f"{path.name}: the head names no {FORMAT}.")
    chain = _chain("", head)
    events: list[SagaEvent] = []
    for place, text in enumerate(lines[1:], 1):
        number = len(events) + 1
        line = _object(path, text, f"event {number}")
        if line.get("version") != number:
            said = line.get("version")
            raise CorruptHistory(f"{path.name}: event {number} is missing, {said} comes next.")
        written = line.pop("chain", None)
        chain = _chain(chain, line)
        if written != chain:
            raise CorruptHistory(f"{path.name}: event {number} is not as it was written.")
        if "state" in line:
            if place < len(lines) - 1:
                raise CorruptHistory(f"{path.name}: it goes on after its end.")
            return _history(head, events, line["state"])
        try:
            events.append(decode(line["topic"], json.dumps(line["event"]).encode()))
        except CorruptHistory as error:
            raise CorruptHistory(f"{path.name}, event {number}: {error.message}") from error
    raise CorruptHistory(f"{path.name}: event {len(events) + 1}, or the end, is missing.")


def _history(head: Json, events: Sequence[SagaEvent], state: Json) -> History:
    told = head.get("effects")
    effects = None if told is None else [_effect(*one) for one in told]
    found = head.get("found", "")
    return History(head["saga_id"], head["release"], events, state, found, effects)


def _effect(saga_id: str, step: str, direction: str, command_id: str, at: float) -> Effect:
    return Effect(saga_id, step, Direction(direction), command_id, at)


def differences(recorded: Any, today: Any, where: str = "state") -> list[str]:
    """Where the state that was recorded is not the state of today, in words.

    A field that today's states have and the recorded one has not is no difference: events are for
    ever, states are not.
    """
    fields = _fields(today)
    if fields is None or not isinstance(recorded, dict):
        found = plain(today)
        return [] if found == recorded else [f"{where} was {recorded!r}, and is {found!r}"]
    before = cast(Json, recorded)
    found = [f"{where}.{name} is gone" for name in before if name not in fields]
    if isinstance(today, Mapping):
        found += [f"{where}.{name} is new" for name in fields if name not in before]
    for name in before.keys() & fields.keys():
        found += differences(before[name], fields[name], f"{where}.{name}")
    return sorted(found)


def plain(value: Any) -> Any:
    """A state, or a part of one, as JSON has it."""
    fields = _fields(value)
    if fields is not None:
        return {name: plain(field) for name, field in fields.items()}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in cast(Sequence[Any], value)]
    return value


def _fields(value: Any) -> Json | None:
    """By name, where a value has names: a named tuple, or a mapping."""
    if isinstance(value, Mapping):
        return dict(cast(Mapping[str, Any], value))
    as_dict = getattr(value, "_asdict", None)
    return None if as_dict is None else as_dict()


def _chain(before: str, line: Json) -> str:
    text = before + json.dumps(line, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:CHAIN_CHARS]


def _object(path: Path, text: str, what: str) -> Json:
    try:
        line = json.loads(text)
    except ValueError as error:
        raise CorruptHistory(f"{path.name}: {what} is not JSON: {error}") from error
    if not isinstance(line, dict):
        raise CorruptHistory(f"{path.name}: {what} is not an object.")
    return cast(Json, line)
