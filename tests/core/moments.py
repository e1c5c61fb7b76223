"""Sagas at certain moments of their lives, for the scenes of the core."""

from __future__ import annotations

from datetime import timedelta

from tests.core.sagas import ONCE, chain, with_pivot
from tests.core.scene import Scene, play


def started(*steps: str) -> Scene:
    """`a` to `d`, of which these have succeeded."""
    scene = play(chain("a", "b", "c", "d"))
    for step in steps:
        scene.succeed(step)
    return scene


def turned() -> Scene:
    """`a` was done, `b` refused; the undo of `a` is under way."""
    scene = play(chain("a", "b", undo_retry=ONCE))
    scene.succeed("a")
    scene.refuse("b")
    return scene


def given_up() -> Scene:
    """`a` stayed unanswered; its undo is under way."""
    scene = play(chain("a", retry=ONCE))
    scene.silence()
    return scene


def stuck_at_undo() -> Scene:
    scene = turned()
    scene.undo_refused("a")
    return scene


def stuck_at_ticket() -> Scene:
    """The step after the pivot was refused."""
    scene = play(with_pivot())
    for step in ("hold", "pay"):
        scene.succeed(step)
    scene.refuse("ticket")
    return scene


def paying() -> Scene:
    """The pivot is under way; the deadline is a minute after the start."""
    scene = play(with_pivot(deadline=timedelta(seconds=60)))
    scene.succeed("hold")
    return scene
