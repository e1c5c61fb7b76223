"""Whom a saga runs: those that were begun, on whichever way it is on."""

from __future__ import annotations

from pathlib import Path

import pytest

from es_saga import App, Command, InProcess, Message, Participant, Refusal, Saga, Tx, Way


class Journey(Message):
    bags: int


class Full(Refusal):
    pass


class Book(Command[None]):
    to = "agency"
    way: int


class Free(Command[None]):
    to = "agency"


errand = Saga("errand", Journey)
journey = Saga("journey", Journey)
held = journey.save_point("held", ways=2)
agency = Participant("agency")


@errand.step
def book(_: Journey) -> Book:
    return Book(way=2)


@book.compensation
def free(_: Journey) -> Free:
    return Free()


@journey.saga(errand, after=held)
def fetch(j: Journey) -> Journey:
    return j


@journey.saga(errand, when=lambda j: j.bags > 0)
def carry(j: Journey) -> Journey:
    return j


@journey.pivot
def pay(_: Journey, way: Way) -> Book:
    return Book(way=way.number)


@agency.handles(Book)
async def on_book(cmd: Book, tx: Tx) -> Full | None:
    return Full() if cmd.way == 1 else None


@agency.handles(Free)
async def on_free(cmd: Free, tx: Tx) -> None:
    pass


@pytest.mark.anyio
async def test_children_are_those_that_were_begun_on_another_way_too(tmp_path: Path) -> None:
    app = App("agency", sagas=[errand, journey], participants=[agency])
    async with InProcess(app, database=f"sqlite:///{tmp_path / 'log.db'}") as sagas:
        gone = await sagas.wait((await sagas.start(journey, Journey(bags=0), key="1")).saga_id)
        stands = sagas.queries.standing(gone.saga_id)
        assert stands.children == {"fetch.2": "journey-1--fetch--2"}
        assert sagas.queries.standing("journey-1--fetch--2").parent == gone.saga_id
