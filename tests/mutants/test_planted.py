"""Every mistake around the interpreter is found by a search of the kit, by the laws it breaks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mutants.interpreter import MUTANTS
from tests.mutants.planted import Planted, Search
from tests.mutants.table import PLANTED, described, shown

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
    planted = {row for one in PLANTED for row in one.rows}
    assert rows == planted.union(*(mutant.rows for mutant in MUTANTS))


def test_the_tables_of_the_readme_are_true() -> None:
    """But for how many examples it took: they are those of the day it was written."""
    listed = [line.rpartition(" |")[0].rpartition(" ")[0] for line in README]
    for planted in PLANTED:
        assert described(planted) in listed
    laws = dict(line.strip("| ").split(" | ") for line in README if line.startswith("| L"))
    assert laws.keys() == shown().keys()
    for number, names in laws.items():
        assert {*names.split(", ")} <= {*shown()[number].split(", ")}, number
