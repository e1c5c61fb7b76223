"""What a participant may declare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from es_saga.core.errors import DefinitionError
from es_saga.core.messages import Command, Event, Message, Query
from es_saga.participant import Participant, SyncTx, Tx


class Parked(Message):
    bay: int


class Park(Command[Parked]):
    to = "garage"
    plate: str


class Elsewhere(Command[None]):
    to = "hotel"


class Silent(Command):  # type: ignore[type-arg] # the fault under test
    to = "garage"


def _faults(register: Callable[[], object]) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as caught:
        register()
    assert "participant 'garage'" in str(caught.value)
    return caught.value.faults


def test_a_handler_is_found_by_the_name_of_its_command() -> None:
    garage = Participant("garage")

    @garage.handles(Park)
    async def park(cmd: Park, tx: Tx) -> Parked:
        return Parked(bay=1)

    assert list(garage.commands) == ["Park"]
    assert garage.commands["Park"].fn is park
    assert garage.commands["Park"].is_async


def test_a_command_to_another_service_is_refused() -> None:
    def elsewhere(cmd: Elsewhere, tx: SyncTx) -> None: ...

    faults = _faults(lambda: Participant("garage").handles(Elsewhere)(elsewhere))
    assert faults == ("Elsewhere is addressed to 'hotel', not to 'garage'",)


def test_a_second_handler_of_one_command_is_refused() -> None:
    garage = Participant("garage")

    def park(cmd: Park, tx: SyncTx) -> Parked:
        return Parked(bay=1)

    garage.handles(Park)(park)
    (fault,) = _faults(lambda: garage.handles(Park)(park))
    assert fault.startswith("Park has a handler already")


def test_every_fault_of_a_handler_is_told_at_once() -> None:
    class Silent(Elsewhere):
        pass

    faults = _faults(lambda: Participant("garage").register(Silent, lambda: None))
    assert len(faults) == 2


def test_a_command_that_does_not_say_what_it_answers_is_refused() -> None:
    def silent(cmd: object, tx: SyncTx) -> None: ...

    (fault,) = _faults(lambda: Participant("garage").register(Silent, silent))
    assert "does not say what it answers" in fault


def test_what_is_of_another_kind_is_refused() -> None:
    class Told(Event):
        by = "garage"

    class Free(Query[Parked]):
        to = "garage"

    def serve(message: object, tx: SyncTx) -> None: ...

    garage: Any = Participant("garage")
    assert _faults(lambda: garage.handles(Told)(serve)) == ("Told is no Command",)
    assert _faults(lambda: garage.handles(Free)(serve)) == ("Free is no Command",)
    assert _faults(lambda: garage.answers(Park)(serve)) == ("Park is no Query",)
    assert _faults(lambda: garage.on(Park)(serve)) == ("Park is no Event",)


def test_what_is_prepared_is_settled_by_the_kit_alone() -> None:
    def park(cmd: Park, tx: SyncTx) -> Parked:
        return Parked(bay=1)

    def settle(cmd: Park, parked: Parked, tx: SyncTx) -> None: ...

    garage = Participant("garage")
    garage.prepares(Park)(park)
    assert _faults(lambda: garage.confirms(Park)(settle)) == (
        "ConfirmPark needs no handler: the hold is a prepared transaction",
    )


def test_a_name_that_cannot_stand_in_a_subject_is_refused() -> None:
    with pytest.raises(DefinitionError):
        Participant("the garage")
