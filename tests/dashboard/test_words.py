"""Small parts of pages that need no browser."""

from __future__ import annotations

import doctest
import importlib

import pytest

from es_saga.web.dashboard import words
from es_saga.web.dashboard.pictures import Planned, share, spark, track

MODULES = ("words", "looks", "shield", "rendering", "plans", "sagas", "live")


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_are_true(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"es_saga.web.dashboard.{name}"))
    assert found.attempted, "there are examples"
    assert not found.failed


def test_data_is_shown_as_text_however_hostile() -> None:
    shown = words.data({"</pre><script>alert(1)</script>": ['"><img src=x onerror=alert(1)>']})
    assert "<script" not in shown
    assert "<img" not in shown


def test_large_data_is_cut() -> None:
    shown = words.data({"items": ["x" * 1_000] * 100})
    assert len(shown) < 1.5 * words.MAX_DATA_CHARS
    assert "the rest is in the API" in shown


def test_a_track_says_in_words_how_far_a_saga_has_come() -> None:
    steps = {
        "create": {"status": "succeeded", "undo": {"status": "failed"}},
        "charge": {"status": "refused"},
    }
    plan = [Planned("create"), Planned("charge", pivot=True), Planned("ship")]
    picture = track(steps, plan)
    assert 'aria-label="create undo failed, charge refused, ship not begun"' in picture


def test_a_name_in_a_picture_is_text() -> None:
    assert "<script" not in track({"<script>": {"status": "started"}}, [])
    assert "<script" not in spark([1.0, None, 3.0], label="<script>")
    assert "<script" not in share([("<script>", 3)])


def test_a_figure_that_is_missing_is_a_gap_in_the_line() -> None:
    picture = spark([1.0, 2.0, None, 4.0], label="rate")
    assert picture.count("M") == 1 + 1 + 2, "the floor, one area, and two pieces of a line"
