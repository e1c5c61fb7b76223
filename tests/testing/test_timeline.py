"""A history as a person reads it."""

from __future__ import annotations

import doctest

from es_saga.core.events import SagaEvent, SagaStarted, StepStarted
from es_saga.testing import timeline
from tests.core.sagas import ONCE, chain, with_pivot
from tests.core.scene import play


def test_the_examples_are_true() -> None:
    found = doctest.testmod(timeline)
    assert found.attempted
    assert not found.failed


def test_what_every_event_said_is_said() -> None:
    scene = play(with_pivot(retry=ONCE))
    scene.succeed("hold")
    scene.succeed("pay")
    scene.refuse("ticket")
    scene.cancel()
    scene.resolve("ticket", reply={"by": "hand"})
    scene.fail("mail")
    scene.silence()
    failing = play(chain("a", "b", undo_retry=ONCE))
    failing.succeed("a")
    failing.refuse("b")
    failing.undo_refused("a")
    failing.skip("a")
    failing.succeed("a")
    said = timeline.timeline([*scene.log, *failing.log])
    for words in (
        'StepStarted          hold    Do {"step": "hold", "who": "ann"}',
        'StepRefused          ticket  No {"why": "full"}',
        "SagaStuck            ticket  ticket after the pivot: No",
        "ann: changed her mind; not done, the pivot pay has succeeded: the saga …",
        "ann: do succeeded, looked it up",
        "StepFailed           mail    Busy, again in 1.1 s",
        "StepRetried          mail    attempt 2",
        'CompensationIssued   a       Undo {"step": "a", "by": "a-desk"}',
        "ann: never mind",
        "SagaCompensated              a not undone: No",
    ):
        assert words in said, said


def test_an_event_can_be_pointed_at() -> None:
    log = play(chain("a")).log
    assert [line[0] for line in timeline.timeline(log, mark=2).splitlines()] == [" ", " ", "→"]


def test_an_impossible_history_can_be_looked_at_too() -> None:
    assert timeline.timeline([]) == "   #  +s  event  step  what"
    backwards: list[SagaEvent] = list(reversed(play(chain("a")).log))
    assert [type(event) for event in backwards] == [StepStarted, SagaStarted]
    assert "SagaStarted" in timeline.timeline(backwards).splitlines()[2]
