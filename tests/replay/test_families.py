"""Sagas that run others, and those that are run: replayed, decided again, drawn, told as tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.together import journey, together
from domain.together.contracts import BookJourney
from domain.travel.contracts import BookFlight, BookRoom, CancelRoom, FlightBooked, RoomBooked
from es_saga import InvalidInput
from es_saga.diagrams import definition_svg, sequence_mermaid, sequence_svg, timeline_svg
from es_saga.replay import Kind, Replay, diverges
from es_saga.replay import scene as scene_of
from es_saga.testing import Story, World, given
from tests.diagrams.pictures import check
from tests.replay.recorded import HARSH, of
from tests.replay.test_scene import leads_to

BOOKED = (
    given(journey, BookJourney(trip_id="7", flight="BA117", hotel="Savoy"), child=True)
    .expect(BookFlight)
    .reply(FlightBooked(ticket="t"))
    .expect(BookRoom)
    .reply(RoomBooked(voucher="v"))
)


def families(seeds: range) -> Iterator[Story]:
    """Parents and children among unreliable services."""
    for seed in seeds:
        yield from World([together], seed=seed, rate=HARSH).run(2).stories


@pytest.mark.law("L51")
def test_their_histories_are_decided_again() -> None:
    kinds = Counter[Kind]()
    for story in families(range(40)):
        replay = Replay.of(story.saga_id, story.history)
        assert diverges(story.definition, replay) is None, story.saga_id
        kinds.update(reaction.kind for reaction in replay.reactions)
    assert kinds[Kind.PARENT]


def test_their_histories_become_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """But for a child that was undone before it began: no scene begins so."""
    told = untold = 0
    for story in families(range(6)):
        replay = Replay.of(story.saga_id, story.history)
        try:
            text = scene_of(story.definition, replay)
        except InvalidInput:
            untold += 1
        else:
            told += 1
            leads_to(text, replay, monkeypatch, tmp_path)
    assert told > 10 * untold


def test_a_parents_decision_is_told_in_words() -> None:
    closed = of(BOOKED.held().parent_closes().completed())
    assert closed.reactions[-1].what == "its parent has it closed"
    undone = of(BOOKED.parent_undoes().expect(CancelRoom).nothing_sent())
    assert undone.reactions[-1].what == "its parent has it undone"


def test_they_are_drawn_like_any_other() -> None:
    check(definition_svg(together.definition))
    story = next(families(range(1)))
    for draw in (sequence_svg, timeline_svg):
        check(draw(story.saga_id, story.history))
    assert "saga:journey" in sequence_mermaid(story.saga_id, story.history)
