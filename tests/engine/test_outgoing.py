"""Which commands a history still asks for, and in which order."""

from __future__ import annotations

import pytest

from es_saga import Saga
from es_saga.core.messages import Subjects
from es_saga.engine.outgoing import Sender
from es_saga.testing import given
from tests.core.buying import DEAR, Book, Booked, buy
from tests.core.sagas import TWICE, Do, Trip, add

SENDER = Sender("desk", Subjects())


@pytest.mark.law("L45")
def test_what_is_in_flight_is_sent_in_the_order_of_its_events_and_once() -> None:
    """The first attempt of `flight` failed; its second one came after `room`'s first."""
    saga = Saga("trip", Trip)
    add(saga, "flight", after=(), retry=TWICE)
    add(saga, "room", after=())
    flight = Do(step="flight", who="ann")
    scene = given(saga, Trip()).expect(Do, Do).on(flight).fail("Busy").wait(seconds=5)
    asked = SENDER.commands(saga.definition, scene.state, scene.story.history)
    sent = [each.envelope.id for each in asked]
    assert sent == ["trip-1/room/do/1", "trip-1/flight/do/2"]


def test_a_step_that_waits_for_the_world_outside_asks_nobody_after_a_restart_either() -> None:
    asked = given(buy, DEAR).expect(Book)
    waiting = asked.reply(Booked()).waiting()
    again = [list(SENDER.in_flight(buy.definition, one.state)) for one in (asked, waiting)]
    assert [[each.envelope.id for each in each_time] for each_time in again] == [
        ["buying-1/book/do/1"],
        [],
    ]
    assert not [
        each.envelope.id for each in SENDER.commands(buy.definition, waiting.state, waiting.history)
    ]
