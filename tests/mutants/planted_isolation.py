"""Mistakes with data that several sagas share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
import sqlalchemy as sa

from es_saga.core import by_value, pessimistic_view
from es_saga.core.compiled import Definition
from es_saga.participant import commutative, reread, semantic_lock, version_file
from es_saga.participant.tx import Transaction, work_of

_LET_GO: Final = "_LET_GO"
_MUST_GIVE_WAY: Final = "_must_give_way"


def keeps_its_locks_when_it_ends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(semantic_lock, _LET_GO, ())


def waits_in_a_circle_for_ever(patch: pytest.MonkeyPatch) -> None:
    def never(*_of: object) -> bool:
        return False

    patch.setattr(semantic_lock, _MUST_GIVE_WAY, never)


def goes_past_every_lock(patch: pytest.MonkeyPatch) -> None:
    def take(*_of: object, **_with: object) -> None:
        """Nobody has it."""

    patch.setattr(semantic_lock.SemanticLocks, "take", take)


def sets_what_it_should_add(patch: pytest.MonkeyPatch) -> None:
    def add(tx: Transaction, column: sa.Column[Any], key: Mapping[str, Any], by: int) -> int:
        table = column.table
        assert isinstance(table, sa.Table)
        return work_of(tx).changed(sa.update(table).values({column.name: by}), None)

    patch.setattr(commutative, "add", add)


def warns_of_nothing(patch: pytest.MonkeyPatch) -> None:
    def exposed(_definition: Definition) -> Iterator[str]:
        return iter(())

    patch.setattr(pessimistic_view, "exposed", exposed)


def updates_what_has_moved_on(patch: pytest.MonkeyPatch) -> None:
    def update(
        tx: Transaction, table: sa.Table, key: Mapping[str, Any], *, read: int, values: Any
    ) -> None:
        work_of(tx).changed(sa.update(table).values({**values, "version": read + 1}), None)

    patch.setattr(reread, "update", update)


def applies_the_last_operation_first(patch: pytest.MonkeyPatch) -> None:
    def backwards(positions: Mapping[int, object]) -> list[int]:
        return sorted(positions, reverse=True)

    patch.setattr(version_file, "sorted", backwards, raising=False)


def takes_every_value_lightly(patch: pytest.MonkeyPatch) -> None:
    def of(choice: Any, _data: object) -> object:
        return choice._usual

    patch.setattr(by_value.ByValue, "of", of)
