"""Save-points: back to one, and on from it another way (law L16)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from es_saga import START, Command, DefinitionError, Message, OnFailedUndo, Refusal, Saga
from es_saga.core.compiled import Way
from es_saga.core.events import CompensationStarted, SagaResumed, StepFannedOut
from es_saga.core.state import SagaStatus
from es_saga.core.unfolding import MAX_WAYS_IN_ALL, as_it_went
from es_saga.replay import Replay, what_if
from es_saga.replay.telling import scene
from es_saga.testing import Bounds, World, explore, given, judge
from es_saga.testing.laws import LAWS
from es_saga.testing.scenes import Asked
from es_saga.testing.story import Story
from tests.core.journey import (
    BookHotel,
    CancelHotel,
    DropSeats,
    Held,
    HireCar,
    HoldSeats,
    Pay,
    ReturnCar,
    Trip,
    journey,
    trip,
)

pytestmark = pytest.mark.law("L16")

RITZ, INN = BookHotel(name="ritz"), BookHotel(name="inn")


class Full(Refusal):
    pass


def on_the_first_way() -> Asked[None]:
    held = given(trip, Trip()).expect(HoldSeats).reply(Held())
    return held.expect(HireCar(way=1, because=None)).reply().expect(RITZ)


def on_the_second_way() -> Asked[None]:
    back = on_the_first_way().refuse(Full()).expect(ReturnCar).reply()
    return back.expect(HireCar(way=2, because="ritz")).reply().expect(INN)


def test_a_refusal_leads_back_to_the_save_point_and_on_another_way() -> None:
    back = on_the_first_way().refuse(Full()).expect(ReturnCar)
    assert back.state.status is SagaStatus.COMPENSATING
    assert "seats" in back.state.steps, "what came before it stays"
    done = on_the_second_way().reply().expect(Pay).reply().completed()
    assert done.state.failure is None
    assert list(done.state.past) == ["car", "ritz"]
    assert list(done.state.steps) == ["seats", "held", "car.2", "ritz.2", "inn.2", "pay.2"]
    resumed = [event for event in done.history if isinstance(event, SagaResumed)]
    assert [(event.save_point, event.way) for event in resumed] == [("held", 2)]
    assert resumed[0].reply == {"number": 2, "failed": "ritz", "why": "Full"}
    assert not judge(done.story).violations


def test_after_the_last_way_all_is_undone() -> None:
    back = on_the_second_way().refuse(Full()).expect(ReturnCar).reply()
    done = back.expect(DropSeats).reply().compensated()
    assert done.state.failure is not None
    assert done.state.failure.step == "inn.2"
    assert not judge(done.story).violations


def test_the_pivot_may_refuse_on_each_way() -> None:
    paying = on_the_first_way().reply().expect(Pay)
    back = paying.refuse(Full()).expect(CancelHotel).reply().expect(ReturnCar).reply()
    again = back.expect(HireCar(way=2, because="pay")).reply().expect(INN).reply().expect(Pay)
    assert not judge(again.reply().completed().story).violations


def test_what_may_have_been_done_is_undone_before_it_goes_on() -> None:
    waiting = on_the_first_way()
    for _ in range(2):
        waiting = waiting.wait(31).expect(RITZ)
    back = waiting.wait(31).expect(CancelHotel).reply().expect(ReturnCar).reply()
    back = back.expect(HireCar(way=2, because="ritz"))
    assert not judge(back.story).violations


def test_a_cancel_on_the_way_back_to_it_undoes_everything() -> None:
    back = on_the_first_way().refuse(Full()).expect(ReturnCar).cancel()
    done = back.on(ReturnCar).reply().expect(DropSeats).reply().compensated()
    turns = [event.back_to for event in done.history if isinstance(event, CompensationStarted)]
    assert turns == ["held", None]
    assert not judge(done.story).violations


def test_an_undo_that_cannot_be_done_is_no_ground_to_go_on_from() -> None:
    saga = journey()
    saga.on_failed_undo = OnFailedUndo.REPORT
    held = given(saga, Trip()).expect(HoldSeats).reply(Held())
    back = held.expect(HireCar).reply().expect(RITZ).refuse(Full()).expect(ReturnCar)
    done = back.refuse(Full()).expect(DropSeats).reply().compensated(owing=[ReturnCar])
    assert not judge(done.story).violations


@pytest.mark.law("L57")
def test_undos_side_by_side_stop_at_the_save_point_until_a_cancel_asks_for_all() -> None:
    at_once = journey(undo_order="parallel")
    held = given(at_once, Trip()).expect(HoldSeats).reply(Held())
    paying = held.expect(HireCar).reply().expect(RITZ).reply().expect(Pay)
    back = paying.refuse(Full()).expect(ReturnCar, CancelHotel)
    assert back.state.current == ("car", "ritz"), "the seats are kept"
    assert not judge(back.story).violations
    all_back = back.cancel().expect(DropSeats)
    assert all_back.state.current == ("seats", "car", "ritz")
    assert not judge(all_back.story).violations


def test_a_late_answer_of_a_way_that_was_given_up_changes_nothing() -> None:
    second = on_the_second_way()
    again = second.on(HireCar(way=1, because=None)).late()
    assert again.history == second.history


class Move(Message):
    pass


class Offered(Message):
    by: str
    rooms: list[str]
    insured: bool


class AskMover(Command[Offered]):
    to = "movers"
    way: int


class Carried(Message):
    pass


class Carry(Command[Carried]):
    to = "movers"
    room: str
    by: str


class CarryBack(Command[None]):
    to = "movers"
    room: str
    by: str


class Insure(Command[None]):
    to = "insurer"
    by: str


def moving() -> Saga[Move]:
    """From the save-point on, all depends on what the mover has offered on that way."""
    saga = Saga("moving", Move)
    saga.save_point("packed", ways=2)

    @saga.check
    def ask(m: Move, way: Way) -> AskMover:
        return AskMover(way=way.number)

    def rooms(m: Move, offered: Offered) -> list[str]:
        return offered.rooms

    def insured(m: Move, offered: Offered) -> bool:
        return offered.insured

    @saga.step(each=rooms, most=2)
    def carry(m: Move, room: str, offered: Offered) -> Carry:
        return Carry(room=room, by=offered.by)

    @carry.compensation
    def carry_back(m: Move, room: str, _: Carried | None, offered: Offered) -> CarryBack:
        return CarryBack(room=room, by=offered.by)

    @saga.check(when=insured)
    def insure(m: Move, offered: Offered) -> Insure:
        return Insure(by=offered.by)

    @saga.pivot
    def pay(m: Move) -> Pay:
        return Pay()

    return saga


def test_on_another_way_every_function_is_given_the_replies_of_that_way() -> None:
    van = given(moving(), Move()).expect(AskMover(way=1))
    carried = van.reply(Offered(by="van", rooms=["attic"], insured=False))
    paying = carried.expect(Carry(room="attic", by="van")).reply(Carried()).expect(Pay)
    lorry = paying.refuse(Full()).expect(CarryBack(room="attic", by="van")).reply()
    two = Offered(by="lorry", rooms=["hall", "bath"], insured=True)
    hall, bath = (Carry(room=room, by="lorry") for room in two.rooms)
    both = lorry.expect(AskMover(way=2)).reply(two).expect(hall, bath)
    carried = both.on(hall).reply(Carried()).on(bath).reply(Carried())
    back = carried.expect(Insure(by="lorry")).reply().expect(Pay).refuse(Full())
    last = back.expect(*(CarryBack(room=room, by="lorry") for room in two.rooms))
    assert not judge(last.story).violations


@pytest.mark.parametrize("saga", [journey(), journey(ways=3), journey(undo_order="parallel")])
def test_every_schedule_of_it_keeps_the_laws(saga: Saga[Trip]) -> None:
    found = explore(saga, data=Trip(), bounds=Bounds(faults=2))
    assert found.counterexample is None, str(found.counterexample)
    assert found.complete


def test_a_simulated_world_keeps_the_laws() -> None:
    ran = World([trip], seed=5, rate=1.5).run(100)
    assert not ran.findings, str(ran)
    assert any(state.ways for state in ran.states.values())


def test_it_is_replayed_told_as_a_scene_and_asked_what_if() -> None:
    done = on_the_second_way().reply().expect(Pay).reply().completed()
    replay = Replay.of("journey-1", done.history)
    assert scene(trip.definition, replay).count(".expect(HireCar(") == 2
    fork = what_if(trip.definition, replay, {"inn.2": "refused"})
    assert fork.replay.state.status is SagaStatus.COMPENSATED
    fork = what_if(trip.definition, replay, {"ritz": "done"})
    assert fork.replay.state.status is SagaStatus.COMPLETED
    assert not fork.replay.state.ways


def test_the_law_objects_to_what_goes_too_far_back_or_too_early_on() -> None:
    (law,) = (law for law in LAWS if law.number == "L16")
    done = on_the_second_way().reply().expect(Pay).reply().completed().history
    turn = next(at for at, event in enumerate(done) if isinstance(event, CompensationStarted))
    dropped = next(
        event.model_copy(update={"step": "seats"})
        for event in done
        if type(event).__name__ == "CompensationIssued"
    )
    too_far = [*done[: turn + 1], dropped, *done[turn + 1 :]]
    too_early = [*done[: turn + 1], *(e for e in done[turn:] if isinstance(e, SagaResumed))]
    again = done[1].model_copy(update={"attempt": 2})
    for history in (too_far, too_early, [*done[:-1], again]):
        story = Story(trip.definition, "journey-1", history)
        assert judge(story, [law]).violations, history


def test_of_what_a_definition_does_not_have_nothing_is_unfolded() -> None:
    told = [
        SagaResumed(at=0.0, save_point="seats", way=2, reply={}),
        SagaResumed(at=0.0, save_point="nowhere", way=2, reply={}),
        StepFannedOut(at=0.0, step="car", count=3),
        StepFannedOut(at=0.0, step="nobody", count=3),
    ]
    assert as_it_went(trip.definition, told).steps == trip.definition.steps


class Go(Message):
    pass


def test_what_a_save_point_cannot_be_is_told_with_all_its_faults() -> None:
    saga = Saga("wrong", Go)
    hour = timedelta(hours=1)
    saga.save_point("once", ways=1)
    saga.sleep("beside", hour, after=START)

    other = saga.save_point("other", ways=2, after=("once", "beside"))
    saga.sleep("rest", hour, when=other.way(3))

    @saga.pivot
    def pay(go: Go, way: Way) -> Pay:
        return Pay()

    saga.save_point("late", ways=2)
    with pytest.raises(DefinitionError) as caught:
        _ = saga.definition
    told = " ".join(str(caught.value).split())
    for fault in (
        "ways= of once is 1: 2 to 10 are possible",
        "other has no way 3: its ways= is 2",
        "late is a save-point after the pivot pay",
        "late is a save-point with nothing after it",
        "beside runs beside the save-point once",
    ):
        assert fault in told, told


def _points(*ways: int) -> Saga[Trip]:
    """Save-points one after the other, and what may be refused on each way from them all."""
    saga = Saga("trip", Trip)
    for number, count in enumerate(ways):
        saga.save_point(f"point_{number}", ways=count)

    @saga.check
    def look(t: Trip) -> Pay:
        return Pay()

    return saga


def test_as_many_ways_as_there_may_be_are_told_to_their_end() -> None:
    scene = given(_points(10, 10), Trip())
    for _ in range(MAX_WAYS_IN_ALL):
        scene = scene.expect(Pay).refuse(Full())
    assert len(scene.state.ways) == MAX_WAYS_IN_ALL - 1
    assert not judge(scene.compensated().story).violations


def test_save_points_that_make_more_ways_together_than_can_be_told_are_refused() -> None:
    with pytest.raises(DefinitionError, match="point_0, point_1 make 110 ways together"):
        _ = _points(11, 10).definition
    with pytest.raises(DefinitionError, match="make 128 ways together"):
        _ = _points(*[2] * 7).definition
    assert _points(*[2] * 6).definition
