"""Mistakes with data that several sagas share."""

from __future__ import annotations

from typing import Final

import pytest

from es_saga.participant import semantic_lock

_LET_GO: Final = "_LET_GO"
_MUST_GIVE_WAY: Final = "_must_give_way"


def keeps_its_locks_when_it_ends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(semantic_lock, _LET_GO, ())


def waits_in_a_circle_for_ever(patch: pytest.MonkeyPatch) -> None:
    def never(*_of: object) -> bool:
        return False

    patch.setattr(semantic_lock, _MUST_GIVE_WAY, never)
