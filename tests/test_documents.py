"""What the documents say of the styles is there; the notebook they point at is run elsewhere."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import es_saga
from es_saga import App

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
NOTEBOOK = ROOT / "notebooks" / "04_choosing_a_style"

Table = dict[str, list[str]]
"""The cells of each row, by its first one."""


def section(heading: str) -> str:
    """What stands under a heading of the README, as far as the next one."""
    [_, found] = README.split(f"\n{heading}\n")
    return re.split(r"\n##+ ", found)[0]


def table(text: str) -> Table:
    """The first table of a text; its head is the row ''."""
    found = re.search(r"(\|.*\n)+", text)
    assert found, "there is a table"
    rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")] if line[1] != "-" else []
        for line in found[0].splitlines()
    ]
    head, _, *body = rows
    return {"": head[-2:], **{first: cells for first, *cells in body}}


def names(text: str) -> set[str]:
    """Capitalised names in code quotes."""
    return set(re.findall(r"`([A-Z]\w+)`", text))


STYLES = section("## Which style, when")


@pytest.mark.requirement("R006", "R104")
def test_two_styles_are_compared_along_seven_axes() -> None:
    styles = table(STYLES)
    choreographed, conducted = styles.pop("")
    assert choreographed.startswith("choreographed: ")
    assert conducted.startswith("conducted: ")
    assert list(styles) == [
        "control",
        "coupling",
        "flow visibility",
        "growth of complexity",
        "single point of failure",
        "debugging",
        "fit",
    ]
    for axis, answers in styles.items():
        assert len(answers) == len(set(answers)) == 2, f"{axis}: two styles, two answers"


@pytest.mark.requirement("R004", "R005")
@pytest.mark.parametrize(
    ("style", "said"),
    [
        (0, ["3 to 5 steps", "independent teams", "without branches and circles"]),
        (1, ["5 steps or more", "branches", "ask where their order is"]),
    ],
    ids=["choreography", "orchestration"],
)
def test_it_says_when_to_choose_which(style: int, said: list[str]) -> None:
    fit = table(STYLES)["fit"][style]
    assert [words for words in said if words not in fit] == []


@pytest.mark.requirement("R006")
def test_what_the_page_names_exists() -> None:
    assert names(STYLES) >= {"Choreography", "Tcc", "Saga"}
    assert names(STYLES) - set(es_saga.__all__) == set()
    assert re.findall(r"`(notebooks/\S+)`", STYLES) == [
        str(NOTEBOOK.with_suffix(".ipynb").relative_to(ROOT))
    ]
    for package in set(re.findall(r"`(domain/\w+)` is a whole one", README)):
        app = importlib.import_module(package.replace("/", ".")).app
        assert isinstance(app, App)
        assert app.definitions()


@pytest.mark.requirement("R086")
def test_saga_and_two_phase_commit_are_contrasted() -> None:
    contrast = table(section("### Try, confirm, cancel"))
    assert contrast[""] == ["TCC", "two-phase"]
    saga, _, two_phase = contrast["agreement"]
    assert "eventual" in saga
    assert "strong" in two_phase
    text = NOTEBOOK.with_suffix(".py").read_text()
    assert "asynchronous, eventual" in text
    assert "synchronous, strong" in text


NEIGHBOURS = {
    "Local and global transactions": ("R087", "R088"),
    "Saga and ACID": ("R089",),
    "Event sourcing": ("R090",),
    "CQRS": ("R090",),
    "Message queues": ("R091",),
    "Bulkhead": ("R091",),
}


@pytest.mark.parametrize(
    "heading",
    [
        pytest.param(heading, marks=pytest.mark.requirement(*rows), id=heading)
        for heading, rows in NEIGHBOURS.items()
    ],
)
def test_each_neighbour_is_placed_with_code_that_runs(heading: str) -> None:
    """`test_a_notebook_runs_offline` runs it."""
    _, text = NOTEBOOK.with_suffix(".py").read_text().split(f"# ### {heading}\n")
    prose, code = text.split("\n# %%\n")[:2]
    assert len(re.findall(r"\w+", prose)) > 25, "it is explained"
    assert re.search(r"\b(assert|table|readme)\b", code), "and shown"
