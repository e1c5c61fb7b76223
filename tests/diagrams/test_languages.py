"""A saga type in the languages of diagrams."""

from __future__ import annotations

import re

from es_saga.core.after import START
from es_saga.core.definition import Saga
from es_saga.diagrams import definition_dot as dot
from es_saga.diagrams import definition_mermaid as mermaid
from tests.core.buying import buy
from tests.core.sagas import Trip, add, beside, do


def every_kind() -> Saga[Trip]:
    saga = Saga("trip", Trip)
    saga.check(after=START)(do("look"))
    add(saga, "end")
    saga.pivot(do("pay"))
    saga.step(do("mail"))
    return saga


def test_a_mermaid_chart_shows_kinds_edges_and_dotted_undos() -> None:
    assert mermaid(every_kind().definition) == (
        """\
flowchart LR
    start_((start))
    end_(((end)))
    s1{{"look<br/>check<br/>Do to desk"}}
    class s1 check
    s2["end<br/>compensatable<br/>Do to desk"]
    class s2 compensatable
    s2_undo["undo: Undo"]
    s2 -.-> s2_undo
    s3{"pay<br/>pivot<br/>Do to desk"}
    class s3 pivot
    s4(["mail<br/>retriable<br/>Do to desk"])
    class s4 retriable
    start_ --> s1
    s1 --> s2
    s2 --> s3
    s3 --> s4
    s4 --> end_
    classDef pivot stroke-width:4px
"""
    )


def test_a_dot_graph_shows_kinds_edges_and_dotted_undos() -> None:
    assert dot(every_kind().definition) == (
        """\
digraph "trip" {
    rankdir=LR;
    "(start)" [label="start", shape=circle];
    "(end)" [label="end", shape=doublecircle];
    "look" [label="look\\ncheck\\nDo to desk", shape=hexagon];
    "end" [label="end\\ncompensatable\\nDo to desk", shape=box];
    "end/undo" [label="undo: Undo", shape=box, style="dotted"];
    "end" -> "end/undo" [style="dotted"];
    "pay" [label="pay\\npivot\\nDo to desk", shape=diamond, penwidth=3];
    "mail" [label="mail\\nretriable\\nDo to desk", shape=box, style="rounded"];
    "(start)" -> "look";
    "look" -> "end";
    "end" -> "pay";
    "pay" -> "mail";
    "mail" -> "(end)";
}
"""
    )


def test_branches_begin_at_the_start_and_meet_at_the_join() -> None:
    edges = re.findall(r'"([^"]+)" -> "([^"]+)";', dot(beside().definition))
    assert edges == [
        ("(start)", "flight"),
        ("(start)", "room"),
        ("(start)", "car"),
        ("flight", "pay"),
        ("room", "pay"),
        ("car", "pay"),
        ("pay", "(end)"),
    ]


def test_branches_that_nothing_joins_all_lead_to_the_end() -> None:
    saga = Saga("trip", Trip)
    add(saga, "flight", after=())
    add(saga, "room", after=())
    chart = mermaid(saga.definition)
    assert "s1 --> end_" in chart
    assert "s2 --> end_" in chart


def test_a_shape_that_the_log_remembers_is_drawn_without_its_code() -> None:
    """It does not say who serves a command; all else is the same."""
    definition = every_kind().definition
    for draw in (dot, mermaid):
        assert draw(definition.shape) == draw(definition).replace(" to desk", "")


def test_what_waits_asks_nobody_and_what_has_a_condition_says_so() -> None:
    chart, graph = mermaid(buy.definition), dot(buy.definition)
    assert '[/"approval<br/>wait, conditional<br/>Approval"/]' in chart
    assert '[/"cool_off<br/>sleep"/]' in chart
    assert '["wrap<br/>compensatable, conditional<br/>Wrap to shop"]' in chart
    assert (
        '"approval" [label="approval\\nwait, conditional\\nApproval", shape=parallelogram]' in graph
    )
    assert mermaid(buy.definition.shape).count(", conditional") == 2, "a shape knows it, too"
