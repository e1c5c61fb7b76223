"""Histories that break one law each, as small as they can be: the test of the laws themselves."""

from __future__ import annotations

from typing import NamedTuple

from es_saga.testing.story import Story, System
from tests.testing.told import Told


class Broken(NamedTuple):
    """A story, and the one thing that a law has to say of it."""

    law: str
    story: Story
    why: str
    event: int | None = None
    """Counted from 1."""


class BrokenSystem(NamedTuple):
    """A system, and the one thing that a law has to say of it."""

    law: str
    system: System
    why: str
    event: int | None = None


def broken(law: str, told: Told | Story, why: str, event: int | None = None) -> Broken:
    """The event is the last one, unless told otherwise or none: 0."""
    story = told.story() if isinstance(told, Told) else told
    if event is None:
        event = len(story.history)
    return Broken(law, story, why, event or None)


__all__ = ["Broken", "BrokenSystem", "broken"]
