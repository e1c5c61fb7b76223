"""Python source out of values: names, quotes, lines."""

from __future__ import annotations

import pytest

from es_saga import InvalidInput
from es_saga.replay.source import Imports, Values, identifier, laid_out, quoted


def test_names_that_clash_get_another_one() -> None:
    imports = Imports("given")
    assert imports.name("a.b", "Thing") == "Thing"
    assert imports.name("a.c", "Thing") == "Thing_2"
    assert imports.name("a.b", "Thing") == "Thing"
    assert imports.name("a.b", "Outer.Inner") == "Outer.Inner"
    assert imports.name("x", "given") == "given_2"
    assert imports.lines([], "a").splitlines() == [
        "from x import given as given_2",
        "",
        "from a.b import Outer, Thing",
        "from a.c import Thing as Thing_2",
    ]
    with pytest.raises(InvalidInput, match="cannot be imported"):
        imports.name("a.b", "f.<locals>.Thing")


@pytest.mark.parametrize(
    ("text", "told"),
    [("a", '"a"'), ("it's", '"it\'s"'), ('"', "'\"'"), ("a\n", '"a\\n"'), ("\\", '"\\\\"')],
)
def test_a_text_is_quoted_as_formatters_do(text: str, told: str) -> None:
    assert quoted(text) == told
    assert eval(told) == text  # a literal of ours


def test_what_is_too_long_is_one_item_a_line() -> None:
    values = Values(Imports())
    assert laid_out(values.value([1, 2]), 0) == "[1, 2]"
    assert laid_out(values.value({"a": ["b" * 90]}), 4).count("\n") == 4
    assert laid_out(values.value(()), 0) == "()"
    assert laid_out(values.value((1,)), 0) == "(1,)"


def test_a_name_is_made_of_an_id() -> None:
    assert identifier("Order-7") == "order_7"
