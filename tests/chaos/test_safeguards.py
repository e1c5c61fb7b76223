"""The siege without one of the two safeguards: it goes red, so it would notice.

The timer repairs what was lost, the fence makes harmless what came twice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.story import besiege

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

Tell = Callable[[str, object], None]


async def test_without_the_timer_the_same_attack_leaves_sagas_open(
    tmp_path: Path, record_property: Tell
) -> None:
    story = await besiege(
        tmp_path, postgres=False, orders=200, faults=4, settle=4.0, without="timer"
    )
    record_property("told", f"siege without the timer: {len(story.broken)} kinds of damage")
    assert any("is not closed" in line for line in story.broken), story


async def test_without_the_fence_the_same_attack_doubles_effects(
    tmp_path: Path, record_property: Tell
) -> None:
    story = await besiege(
        tmp_path, postgres=False, orders=200, faults=4, settle=20.0, without="fence"
    )
    record_property("told", f"siege without the fence: {len(story.broken)} kinds of damage")
    assert any("took effect" in line for line in story.broken), story
