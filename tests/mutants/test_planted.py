"""Every mistake is found by a search of the kit, by the laws that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mutants.planted import Planted, Search
from tests.mutants.table import HISTORY, PLANTED, UNPLANTED, described, shown

README = Path(__file__).with_name("README.md").read_text().splitlines()
REQUIREMENTS = Path(__file__).parents[1] / "requirements.txt"

_SEARCHES = {planted.search.how: planted.search for planted in PLANTED}


@pytest.mark.parametrize("search", _SEARCHES.values(), ids=_SEARCHES)
def test_without_a_mistake_nothing_is_found(search: Search) -> None:
    found = search.run(None)
    assert found is None, found.report


def _case(planted: Planted) -> object:
    name = f"{planted.name}, by {planted.search.how}"
    return pytest.param(planted, id=name, marks=pytest.mark.requirement(*planted.rows))


@pytest.mark.parametrize("planted", [_case(planted) for planted in PLANTED])
def test_a_mistake_is_found(
    planted: Planted, record_property: Callable[[str, object], None]
) -> None:
    found = planted.find()
    assert found is not None
    record_property("told", f"{described(planted)} {found.examples}")
    assert found.laws.issuperset(planted.laws.split()), found.report


def test_every_mistake_of_the_requirements_is_planted() -> None:
    rows = {line[:3] for line in REQUIREMENTS.read_text().splitlines() if line.startswith("D")}
    assert rows == {row for one in PLANTED for row in one.rows}


def test_every_law_is_broken_by_a_mistake_or_it_is_said_why_not() -> None:
    left = {law for law, names in shown().items() if names == HISTORY}
    assert left == UNPLANTED.keys()
    assert all(UNPLANTED.values())


def test_the_tables_of_the_readme_are_true() -> None:
    """But for how many examples it took: they are those of the day it was written."""
    listed = [line.rpartition(" |")[0].rpartition(" ")[0] for line in README]
    for planted in PLANTED:
        assert described(planted) in listed
    assert [line for line in README if line.startswith("| L")] == [
        f"| {number} | {names} |" for number, names in shown().items()
    ]
