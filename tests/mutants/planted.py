"""What a planted mistake is, and what the kit needed to find it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

Plant = Callable[[pytest.MonkeyPatch], None]
"""Puts a mistake into our code, until the test is over."""


class Found(NamedTuple):
    """What a search came upon."""

    laws: frozenset[str]
    """The laws that it breaks; of a suite, those that its failed tests name; of a scene, none."""
    examples: int
    """Looked at until then: worlds, or situations, or tests of a suite."""
    report: str
    """As a person reads it."""


class Search(NamedTuple):
    """One way to look for what is wrong."""

    how: str
    """In a few words; two searches of one name look at the same."""
    run: Callable[[str | None], Found | None]
    """Look until this law is broken, or until any is; None: nothing was found."""


class Planted(NamedTuple):
    plant: Plant
    search: Search
    laws: str
    """The laws that what is found breaks; the first one is looked for."""
    rows: tuple[str, ...] = ()
    """The rows of the requirements that it stands for."""

    @property
    def name(self) -> str:
        return self.plant.__name__.replace("_", " ")

    def find(self) -> Found | None:
        """What the search comes upon with the mistake in place."""
        with pytest.MonkeyPatch.context() as patch:
            self.plant(patch)
            return self.search.run(self.laws.partition(" ")[0] or None)
