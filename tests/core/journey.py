"""A saga with a save-point: hold seats, then one hotel or, if that fails, another; then pay."""

from __future__ import annotations

from es_saga import Command, Message, Saga
from es_saga.core.compiled import Way
from es_saga.core.compiled_step import UndoOrder


class Trip(Message):
    who: str = "ann"


class Held(Message):
    seats: str = "s-1"


class HoldSeats(Command[Held]):
    to = "airline"


class DropSeats(Command[None]):
    to = "airline"


class BookHotel(Command[None]):
    to = "hotels"
    name: str


class CancelHotel(Command[None]):
    to = "hotels"


class HireCar(Command[None]):
    to = "cars"
    way: int
    because: str | None


class ReturnCar(Command[None]):
    to = "cars"


class Pay(Command[None]):
    to = "bank"


def journey(*, ways: int = 2, undo_order: UndoOrder = "reverse") -> Saga[Trip]:
    """Seats; from there on a car and a hotel, on each way another one; then pay."""
    saga = Saga("journey", Trip, undo_order=undo_order)

    @saga.step
    def seats(t: Trip) -> HoldSeats:
        return HoldSeats()

    @seats.compensation
    def drop(t: Trip) -> DropSeats:
        return DropSeats()

    held = saga.save_point("held", ways=ways)

    @saga.step
    def car(t: Trip, way: Way) -> HireCar:
        return HireCar(way=way.number, because=way.failed)

    @car.compensation
    def back(t: Trip) -> ReturnCar:
        return ReturnCar()

    @saga.step(when=held.way(1))
    def ritz(t: Trip) -> BookHotel:
        return BookHotel(name="ritz")

    @ritz.compensation
    def cancel_ritz(t: Trip) -> CancelHotel:
        return CancelHotel()

    @saga.step(when=held.way(2))
    def inn(t: Trip) -> BookHotel:
        return BookHotel(name="inn")

    @inn.compensation
    def cancel_inn(t: Trip) -> CancelHotel:
        return CancelHotel()

    @saga.pivot
    def pay(t: Trip, seats: Held) -> Pay:
        return Pay()

    return saga


trip = journey()
