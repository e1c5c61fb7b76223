"""Mistakes in settling what is prepared."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from es_saga import Participant
from es_saga.participant import prepared
from es_saga.participant.holds import HoldStatus
from es_saga.participant.prepared import InDoubt


def recovers_nothing(patch: pytest.MonkeyPatch) -> None:
    def recover(*_: object) -> list[InDoubt]:
        return []

    patch.setattr(prepared, "recover", recover)


def rolls_back_what_a_death_left(patch: pytest.MonkeyPatch) -> None:
    """Also what it had answered for, as it must not before its saga has decided."""

    def recover(desk: sa.Connection, participant: Participant, *_: object) -> list[InDoubt]:
        with desk.begin():
            every = list(prepared.doubts(desk, participant.name))
        for found in every:
            prepared.carry_out(desk.engine, participant.name, found.hold, HoldStatus.CANCELLED)
        return []

    patch.setattr(prepared, "recover", recover)


def rolls_back_what_is_confirmed(patch: pytest.MonkeyPatch) -> None:
    _settle(patch, lambda _: "ROLLBACK")


def commits_what_is_cancelled(patch: pytest.MonkeyPatch) -> None:
    _settle(patch, lambda _: "COMMIT")


def leaves_what_is_cancelled(patch: pytest.MonkeyPatch) -> None:
    _settle(patch, lambda decided: decided if decided == "COMMIT" else None)


def _settle(patch: pytest.MonkeyPatch, how: Callable[[str], str | None]) -> None:
    real = vars(prepared)["_settle"]

    def settle(engine: sa.Engine, decided: str, gid: str) -> None:
        instead = how(decided)
        if instead is not None:
            real(engine, instead, gid)

    patch.setattr(prepared, "_settle", settle)


def answers_without_preparing(patch: pytest.MonkeyPatch) -> None:
    def prepare(desk: sa.Connection, gid: str) -> None:
        desk.exec_driver_sql("ROLLBACK").close()

    def lock(desk: sa.Connection, gid: str) -> bool:
        return True

    patch.setattr(prepared, "prepare", prepare)
    patch.setattr(prepared, "lock", lock)
