"""Histories that earlier releases recorded, read by the code of today (laws L38, L52)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from es_saga import CorruptHistory
from es_saga.adapters import codec
from es_saga.core.aggregate import fold
from es_saga.core.events import EVENTS, SagaEvent
from es_saga.core.state import CLOSED, SagaState, SagaStatus
from es_saga.testing.history import History, differences, plain, read_history, write_history
from es_saga.testing.laws import judge
from tests.histories.fates import RECORDINGS, play
from tests.histories.record import FOLDER, file_of, record

FILES = sorted(FOLDER.glob("*/*.jsonl"))
SAMPLE = file_of("order/timed_out")


def folded(history: History) -> SagaState:
    state = fold(history.saga_id, history.events)
    assert state is not None
    return state


# ── what was recorded ────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("D12", "D13")
@pytest.mark.law("L38")
@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_recorded_history_still_leads_to_its_state(file: Path) -> None:
    history = read_history(file)
    state = folded(history)
    assert differences(history.state, state) == []
    assert state.version == len(history.events)
    assert state.status in CLOSED


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_fate_is_recorded_can_still_be_played_and_breaks_no_law(name: str) -> None:
    assert file_of(name) in FILES
    assert not judge(play(name).story).violations


def test_the_recordings_hold_every_event_and_every_ending() -> None:
    histories = [read_history(file) for file in FILES]
    events = {type(event).__name__ for history in histories for event in history.events}
    assert events == EVENTS.keys()
    assert {history.state["status"] for history in histories} == CLOSED


def test_only_what_is_missing_is_recorded(tmp_path: Path) -> None:
    there = file_of("order/completed", tmp_path)
    there.parent.mkdir()
    there.write_text("as it was")
    written = record(tmp_path)
    assert set(written) == RECORDINGS.keys() - {"order/completed"}
    assert there.read_text() == "as it was"
    assert record(tmp_path) == []


# ── files that are not as they were written ──────────────────────────────────────────────────────

Sabotage = Callable[[list[str], int], None]
"""Takes the lines of a file, and the number of an event: line 0 is the head."""


def drop(lines: list[str], number: int) -> None:
    del lines[number]


def swap(lines: list[str], number: int) -> None:
    lines[number], lines[number + 1] = lines[number + 1], lines[number]


def repeat(lines: list[str], number: int) -> None:
    lines.insert(number, lines[number - 1])


def edit_time(lines: list[str], number: int) -> None:
    lines[number] = lines[number].replace('"at": 432', '"at": 431')


def rename(lines: list[str], number: int) -> None:
    lines[number] = lines[number].replace('"topic": "', '"topic": "No')


def renumber(lines: list[str], number: int) -> None:
    del lines[number]
    for place in range(number, len(lines)):
        line = json.loads(lines[place])
        lines[place] = json.dumps({**line, "version": place})


def garble(lines: list[str], number: int) -> None:
    lines[number] = lines[number][:-9]


def no_object(lines: list[str], number: int) -> None:
    lines[number] = "[]"


def end(lines: list[str], number: int) -> None:
    del lines[number:]


LAST = len(read_history(SAMPLE).events)


@pytest.mark.law("L52")
@pytest.mark.parametrize("number", range(1, LAST + 1))
@pytest.mark.parametrize(
    ("sabotage", "said"),
    [
        (drop, "event {} is missing"),
        (swap, "event {} is missing"),
        (repeat, "event {} is missing"),
        (edit_time, "event {} is not as it was written"),
        (rename, "event {} is not as it was written"),
        (renumber, "event {} is not as it was written"),
        (garble, "event {} is not JSON"),
        (no_object, "event {} is not an object"),
        (end, "event {}, or the end, is missing"),
    ],
)
def test_the_first_event_that_is_not_as_it_was_is_named(
    sabotage: Sabotage, said: str, number: int, tmp_path: Path
) -> None:
    lines = SAMPLE.read_text().splitlines()
    sabotage(lines, number)
    broken = tmp_path / "broken.jsonl"
    broken.write_text("\n".join(lines))
    with pytest.raises(CorruptHistory, match=f"broken.jsonl: {said.format(number)}"):
        read_history(broken)


TEXT = SAMPLE.read_text()


@pytest.mark.law("L52")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the head is not JSON"),
        ("7\n", "the head is not an object"),
        (TEXT.replace("history/1", "history/9"), "the head names no es_saga.history/1"),
        (TEXT.replace('"saga_id": "order-1"', '"saga_id": "order-2"'), "event 1 is not as it was"),
        (TEXT.replace('"status": "compen', '"status": "Compen'), f"event {LAST + 1} is not as"),
        (TEXT + "{}\n", "it goes on after its end"),
    ],
)
def test_head_and_end_are_guarded_too(text: str, said: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text(text)
    with pytest.raises(CorruptHistory, match=said):
        read_history(broken)


@pytest.mark.law("L52")
def test_an_event_that_nobody_knows_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(codec)["_READERS"], "StepTimedOut")  # as in a release without it
    with pytest.raises(CorruptHistory, match=r"timed_out\.jsonl, event 9: there is no event"):
        read_history(SAMPLE)


# ── writing and comparing ────────────────────────────────────────────────────────────────────────


def test_what_is_written_is_read_and_never_written_again(tmp_path: Path) -> None:
    recorded = read_history(SAMPLE)
    copy = tmp_path / "copy.jsonl"
    write_history(copy, recorded.saga_id, recorded.events)
    assert read_history(copy).events == recorded.events
    before = copy.read_text()
    with pytest.raises(FileExistsError):
        write_history(copy, recorded.saga_id, recorded.events)
    assert copy.read_text() == before


@pytest.mark.parametrize("events", [[], read_history(SAMPLE).events[1:]])
def test_what_is_no_history_is_not_written(events: list[SagaEvent], tmp_path: Path) -> None:
    file = tmp_path / "none.jsonl"
    with pytest.raises(CorruptHistory):
        write_history(file, "order-1", events)
    assert not file.exists()


def test_a_state_that_came_out_otherwise_is_explained() -> None:
    history = read_history(SAMPLE)
    state = folded(history)
    other = state._replace(
        status=SagaStatus.COMPLETED,
        origin=state.origin._replace(data={"sku": "lamp"}),
        steps={name: step for name, step in state.steps.items() if name != "ship"},
    )
    said = differences(history.state, other)
    assert "state.status was 'compensated', and is 'completed'" in said
    assert "state.steps.ship is gone" in said
    assert "state.origin.data.sku was 'teapot', and is 'lamp'" in said
    assert "state.origin.data.town is gone" in said
    assert differences({"a": 1}, {"a": 1, "b": 2}) == ["state.b is new"]


def test_a_field_that_states_have_got_since_is_no_difference() -> None:
    history = read_history(SAMPLE)
    earlier = {name: value for name, value in history.state.items() if name != "verbs"}
    assert differences(earlier, folded(history)) == []
    assert differences({**earlier, "colour": "red"}, folded(history)) == ["state.colour is gone"]


def test_a_state_is_written_as_json_has_it() -> None:
    state = folded(read_history(file_of("order/stuck_and_skipped")))
    assert json.loads(json.dumps(plain(state))) == plain(state)
    assert plain(state)["exceptions"] == [{"step": "reserve", "error": "Rejected"}]
