"""Pictures of saga types and of runs: what is in them, and that everybody can see it."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings

from domain.fulfilment import fulfilment
from domain.orders import order
from domain.travel import trip
from es_saga import CorruptHistory, Saga, Way
from es_saga.core.compiled import Definition
from es_saga.core.events import SagaEvent, SagaStuck, StepRefused
from es_saga.diagrams import (
    definition_svg,
    sequence_mermaid,
    sequence_svg,
    timeline_svg,
)
from es_saga.diagrams import gantt as gantt_module
from es_saga.diagrams import sequence as sequence_module
from es_saga.diagrams.drawing import TONES, width_of
from es_saga.diagrams.layers import Extent, Layers
from es_saga.diagrams.timescale import Scale, lasting, straightened
from es_saga.replay import what_if
from es_saga.testing import Fault, FaultPlan, Kind, World, given
from es_saga.testing.plans import Plan, build, plans
from tests.core.sagas import Do, Done, Trip, Undo, add, beside, chain, with_pivot
from tests.diagrams.pictures import SVG, check, of_definitions, of_runs, words
from tests.diagrams.rendered import rendered
from tests.histories.fates import RECORDINGS
from tests.replay.recorded import of, recorded, worlds


@pytest.mark.parametrize("module", ["drawing", "timescale"])
def test_examples_in_the_documentation_are_true(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"es_saga.diagrams.{module}"))
    assert found.attempted
    assert not found.failed


# ── for everybody ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R083")
def test_every_picture_is_well_formed_described_and_fit_for_a_strict_policy() -> None:
    for picture in (of_definitions() | of_runs()).values():
        check(picture)


@pytest.mark.parametrize("font", ["DejaVu Sans", "Liberation Sans"])
def test_no_word_is_cut_or_runs_into_another_one(font: str, tmp_path: Path) -> None:
    """As Chromium draws them, with a wide font and with a narrow one."""
    for name, picture in rendered(of_definitions() | of_runs(), tmp_path, font).items():
        for number, word in enumerate(picture.words):
            assert word.width <= width_of(word.text, word.size, bold=word.bold), (name, word)
            assert word.x >= 0, (name, word)
            assert word.x + word.width <= picture.width, (name, word)
            assert word.y + word.height <= picture.height, (name, word)
            for other in picture.words[:number]:
                assert not word.covers(other), (name, word, other)


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG 2 has it."""
    light, dark = sorted(map(_luminance, (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("tone", TONES)
@pytest.mark.parametrize("paper", ["#ffffff", "#121316"])
def test_every_tone_is_seen_on_light_and_on_dark_paper(tone: str, paper: str) -> None:
    assert contrast(TONES[tone], paper) >= 3.0


def test_words_have_the_colour_of_the_page() -> None:
    for picture in (of_definitions() | of_runs()).values():
        fills = {text.get("fill") for text in check(picture).iter(f"{SVG}text")}
        assert fills == {"currentColor"}


NASTY = '<script>alert("x")</script>&amp;]]>\x00\x1b\ud800é漢🎉' + "long " * 60


def nasty() -> list[SagaEvent]:
    """A history whose texts are not meant well."""
    scene = given(chain("a"), Trip()).expect(Do)
    replay = of(scene)
    refused = StepRefused(
        at=scene.now + 1, cause="a", step="a", attempt=1, refusal_type=NASTY, refusal={}
    )
    stuck = SagaStuck(at=scene.now + 2, cause="a", why=NASTY, step="a")
    return [*replay.events, refused, stuck]


def test_whatever_stands_in_a_history_is_shown_as_text() -> None:
    for picture in (sequence_svg("trip-1", nasty()), timeline_svg("trip-1", nasty())):
        told = " ".join(words(picture))
        assert '<script>alert("x")' in told
        assert "<script" not in picture
        assert "\x1b" not in picture
    chart = sequence_mermaid("trip-1", nasty())
    assert "<script" not in chart
    assert chart.count("\n") == len(chart.splitlines())


# ── saga types ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R018")
def test_a_saga_type_shows_what_follows_what_and_what_undoes_it() -> None:
    picture = definition_svg(trip.definition)
    told = words(picture)
    for word in ("flight", "BookFlight → flights", "undo: CancelFlight", "point of no return"):
        assert word in told
    assert told.count("pivot") == 1
    assert told.count("retried until done") == 1
    said = check(picture)[1].text or ""
    assert "pay (pivot) after flight, room, car: PayTrip." in said
    assert "flight (compensatable) at the start: BookFlight, undone by CancelFlight." in said


def test_a_saga_without_a_pivot_has_no_point_of_no_return() -> None:
    assert "point of no return" not in words(definition_svg(order.definition))


def test_a_shape_is_drawn_as_its_definition_is() -> None:
    shape, code = definition_svg(trip.definition.shape), definition_svg(trip.definition)
    assert [word.partition(" →")[0] for word in words(code)] == words(shape)


def test_sagas_that_are_there_just_now_are_counted() -> None:
    counts = {"charge": {"running": 1_203, "stuck": 2, "undoing": 0}}
    assert "1,203 running, 2 stuck" in words(definition_svg(order.definition, counts))


def places(definition: Definition) -> dict[str, tuple[float, float, float, float]]:
    """Where each step's box is: left, top, right, bottom."""
    found: dict[str, tuple[float, float, float, float]] = {}
    for box in check(definition_svg(definition)).iter(f"{SVG}rect"):
        title = box.find(f"{SVG}title")
        if title is None or title.text is None:
            continue
        x, y = float(box.get("x", 0)), float(box.get("y", 0))
        width, height = float(box.get("width", 0)), float(box.get("height", 0))
        found[title.text.partition(":")[0]] = (x, y, x + width, y + height)
    return found


@settings(max_examples=60, deadline=None)
@hypothesis_given(plans())
def test_steps_of_any_saga_stand_behind_those_they_wait_for_and_cover_none(plan: Plan) -> None:
    definition = build(plan).saga.definition
    found = places(definition)
    for step in definition.steps.values():
        for before in step.after:
            assert found[before][2] < found[step.name][0]
    boxes = list(found.values())
    for number, (left, top, right, bottom) in enumerate(boxes):
        for left2, top2, right2, bottom2 in boxes[:number]:
            assert right <= left2 or right2 <= left or bottom <= top2 or bottom2 <= top


def test_an_edge_that_passes_a_layer_has_a_place_of_its_own_in_it() -> None:
    layers = Layers(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")])
    assert layers.layer["c"] == 2
    assert layers.ways["a", "c"] == ["a", "a>c@1", "c"]
    assert sorted(layers.columns[1]) == ["a>c@1", "b"]
    lines = layers.heights(dict.fromkeys("abc", Extent(10, 20)), 5, Extent(3, 3))
    low, high = sorted([lines["b"], lines["a>c@1"]])
    assert high - low >= 5 + 3 + 3


def test_parallel_branches_cross_as_little_as_may_be() -> None:
    """Two rails: each step stands on the rail of the one before it."""
    edges = [("s", "x"), ("s", "y"), ("y", "b"), ("x", "a"), ("a", "e"), ("b", "e")]
    layers = Layers(["s", "x", "y", "b", "a", "e"], edges)
    first, second = layers.columns[1], layers.columns[2]
    assert [first.index("x") < first.index("y")] == [second.index("a") < second.index("b")]


def test_a_chain_stands_in_one_line() -> None:
    tops = {top for _, top, _, _ in places(order.definition).values()}
    assert len({round(top) for top in tops}) <= 2, "steps, and their undos below"


# ── runs over time ───────────────────────────────────────────────────────────────────────────────


def bars(picture: str) -> list[tuple[str, float, float]]:
    """Every attempt, in order: how it ended, its left side, how long it is."""
    return [
        (
            (box.get("class") or "").removeprefix("attempt "),
            float(box.get("x", 0)),
            float(box.get("width", 0)),
        )
        for box in check(picture).iter(f"{SVG}rect")
        if (box.get("class") or "").startswith("attempt ")
    ]


def lanes(picture: str) -> list[str]:
    """Names of lines, from the top."""
    named = [text for text in check(picture).iter(f"{SVG}text") if text.get("class") == "name"]
    return [text.text or "" for text in sorted(named, key=lambda text: float(text.get("y", 0)))]


@pytest.mark.requirement("R053", "R083")
def test_undos_stand_mirrored_below_what_they_undo() -> None:
    picture = timeline_svg("order-1", recorded("order/timed_out").events, order.definition)
    steps = ["create", "charge", "reserve", "ship"]
    assert lanes(picture) == [*steps, *(f"undo {step}" for step in reversed(steps))]
    assert "turned back: timed out" in words(picture)
    assert "compensated after 9.18 s" in words(picture)
    assert "timed out, 3 attempts, 9.18 s" in words(picture)


def test_every_attempt_is_a_bar_as_long_as_it_took() -> None:
    replay = recorded("order/timed_out")
    ships = [bar for bar in bars(timeline_svg("order-1", replay.events)) if bar[0] == "timed-out"]
    assert len(ships) == 3
    widths = [round(width) for _, _, width in ships]
    assert len(set(widths)) == 1, "each was waited for as long"
    lefts = [left for _, left, _ in ships]
    assert lefts == sorted(lefts)
    assert lefts[2] - lefts[1] > lefts[1] - lefts[0], "the second wait was longer"


def test_the_pivot_the_deadline_and_those_who_intervened_are_told() -> None:
    counter = RECORDINGS["counter/pivot_unknown_and_retried"][0]
    told = words(
        timeline_svg("c", recorded("counter/pivot_unknown_and_retried").events, counter.definition)
    )
    assert "point of no return" in told
    assert any(word.startswith("cancelled, ann: it takes too long") for word in told)
    assert any(word.startswith("retried, bob") for word in told)
    late = words(timeline_svg("e", recorded("errand/out_of_time").events))
    assert "deadline" in late
    assert "late answer to ship" in words(timeline_svg("o", recorded("order/timed_out").events))


def test_what_is_in_flight_is_open_to_the_right() -> None:
    scene = given(beside(), Trip()).expect(Do, Do, Do).wait(5)
    answered = scene.on(Do(step="car", who="ann")).reply(Done(by="x"))
    found = bars(timeline_svg("t", answered.history))
    assert [ending for ending, _, _ in found] == ["in-flight", "in-flight", "succeeded"]
    assert len({round(left + width) for _, left, width in found}) == 1
    assert "running" in words(timeline_svg("t", answered.history))


def test_what_goes_on_is_drawn_until_now() -> None:
    asked = given(with_pivot(), Trip()).expect(Do).wait(0.5).on(Do).reply(Done(by="x"))
    history = asked.expect(Do).history
    assert bars(timeline_svg("t", history))[-1][2] < 5
    later = timeline_svg("t", history, now=history[-1].at + 1)
    assert bars(later)[-1][2] == 453.33, "a second of one and a half"


def test_a_long_list_takes_as_many_lines_as_there_are_items_at_once() -> None:
    saga = Saga("bags", Trip)

    @saga.step(each=lambda _: list(range(20)), most=20, at_once=3)
    def pack(trip: Trip, bag: int) -> Do:
        return Do(step=f"pack {bag}", who="ann")

    @pack.compensation
    def unpack(trip: Trip, bag: int) -> Undo:
        return Undo(step=f"pack {bag}", by=None)

    plan = FaultPlan((Fault(Kind.REFUSED, "bags-1/pack-20/do/1"),))
    history = World([saga], faults=plan).run().log.history("bags-1")
    picture = timeline_svg("bags-1", history, saga.definition)
    named = [name for name in lanes(picture) if name]
    assert named == ["pack, 20 items", "undo pack, 19 items"]
    assert len({box.get("y") for box in check(picture).iter(f"{SVG}rect")}) == 6
    assert len(bars(picture)) == 39
    assert "19 succeeded, 1 refused: Refused" in words(picture)


def test_back_to_a_save_point_is_not_turned_back() -> None:
    saga = Saga("journey", Trip)
    saga.save_point("held", ways=2)

    @saga.step
    def go(trip: Trip, way: Way) -> Do:
        return Do(step=f"way {way.number}", who="ann")

    @go.compensation
    def come(trip: Trip) -> Undo:
        return Undo(step="go", by=None)

    plan = FaultPlan((Fault(Kind.REFUSED, "journey-1/go/do/1"),))
    history = World([saga], faults=plan).run().log.history("journey-1")
    told = words(timeline_svg("journey-1", history, saga.definition))
    assert "back to held: Refused" in told
    assert not any(word.startswith("turned back") for word in told)


def test_a_long_pause_is_drawn_as_a_break() -> None:
    scene = given(with_pivot(), Trip()).expect(Do).wait(0.5).on(Do).reply(Done(by="x"))
    answered = scene.expect(Do).wait(1).on(Do).reply(Done(by="x"))
    quick = timeline_svg("t", answered.history)
    slow = list(answered.history)
    slow[-2:] = [event.model_copy(update={"at": event.at + 86_400.0}) for event in slow[-2:]]
    picture = timeline_svg("t", slow)
    assert "1 d" in words(picture)
    assert "1 d" not in words(quick)
    assert bars(picture)[0][2] > 100, "what happened in half a second is still to be seen"


def test_a_clock_that_was_put_back_makes_no_mess() -> None:
    events = recorded("order/completed").events
    jumped = [*events[:4], *(e.model_copy(update={"at": e.at - 3_600}) for e in events[4:])]
    times = [event.at for event in straightened(jumped)]
    assert times == sorted(times)
    lefts = [left for _, left, _ in bars(timeline_svg("o", jumped))]
    assert lefts == sorted(lefts)
    assert "completed after 0 ms" in words(timeline_svg("o", jumped))


def test_a_time_that_a_line_runs_through_is_left_out() -> None:
    """The saga is turned back three seconds after its start, where there would be a number."""
    first = RECORDINGS["order/refused"][0].definition
    events = list(recorded("order/refused").events)
    turned = next(n for n, e in enumerate(events) if type(e).__name__ == "StepRefused")
    moved = [e.model_copy(update={"at": e.at + 2}) for e in events[turned:]]
    moved[-1] = moved[-1].model_copy(update={"at": moved[-1].at + 2})
    told = words(timeline_svg("o", [*events[:turned], *moved], first))
    assert {"0", "+1 s", "+3 s"} <= set(told)
    assert "+2 s" not in told


def test_more_than_can_be_seen_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gantt_module, "MAX_ROWS", 2)
    monkeypatch.setattr(sequence_module, "MAX_LINES", 3)
    events = recorded("order/completed").events
    assert "and 2 more" in words(timeline_svg("o", events))
    assert any(word.startswith("and ") for word in words(sequence_svg("o", events)))


def test_no_history_is_no_picture() -> None:
    for draw in (timeline_svg, sequence_svg, sequence_mermaid):
        with pytest.raises(CorruptHistory, match="has no events"):
            draw("o", [])


# ── time as a place ──────────────────────────────────────────────────────────────────────────────


def test_time_is_drawn_in_proportion() -> None:
    scale = Scale([0.0, 1.0, 4.0], 100.0, 400.0)
    assert [scale(0.0), scale(1.0), scale(4.0)] == [100.0, 200.0, 500.0]
    assert (scale(-5.0), scale(9.0)) == (100.0, 500.0)
    assert scale.breaks == []
    assert list(scale.ticks(80.0)) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_saga_of_no_length_has_a_place() -> None:
    scale = Scale([7.0], 10.0, 100.0)
    assert scale(7.0) == 10.0
    assert scale.right == 110.0


def test_pauses_that_dwarf_all_else_are_cut_short() -> None:
    scale = Scale([0.0, 1.0, 1_000.0, 1_001.0], 0.0, 300.0)
    (cut,) = scale.breaks
    assert (cut.begin, cut.end) == (1.0, 1_000.0)
    assert cut.right - cut.left < 100
    assert scale(1.0) == pytest.approx(300.0 - scale(1_000.0))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 ms"),
        (0.9996, "1 s"),
        (59.96, "60 s"),
        (61, "1 min 1 s"),
        (3_600, "1 h"),
        (-2, "-2 s"),
    ],
)
def test_a_length_of_time_is_told_short(seconds: float, told: str) -> None:
    assert lasting(seconds) == told


# ── messages ─────────────────────────────────────────────────────────────────────────────────────


def test_a_sequence_shows_who_said_what_in_order() -> None:
    told = words(sequence_svg("order-1", recorded("order/refused").events))
    assert told[:5] == ["process manager", "orders", "payments", "stock", "shipping"]
    said = [word for word in told[5:] if not re.fullmatch(r"0|\+.*", word)]
    assert said[:4] == ["order is started", "CreateOrder", "create is done", "ChargeCard"]
    turned = said.index("turned back: AddressUnknown")
    assert said[turned - 1] == "refused: AddressUnknown"
    assert said[turned + 1 :][:2] == ["undo: ReleaseStock", "reserve is undone"]
    assert said[-1] == "compensated"


def test_no_line_of_anybody_runs_through_what_is_said() -> None:
    for name in RECORDINGS:
        root = check(sequence_svg("o", recorded(name).events))
        lines = [
            float((line.get("d") or "M0").removeprefix("M").split()[0])
            for line in root.iter(f"{SVG}path")
            if line.get("class") == "lifeline"
        ]
        for text in root.iter(f"{SVG}text"):
            if text.get("class") == "said" and text.get("text-anchor") == "end":
                right = float(text.get("x", 0))
                left = right - width_of(text.text or "", 11.5)
                assert not any(left <= line <= right for line in lines), (name, text.text)


def test_whoever_intervenes_has_a_line_of_their_own() -> None:
    told = words(sequence_svg("o", recorded("order/stuck_and_retried").events))
    assert told[0] == "operator"
    assert "bob retried the undo of reserve: it is up again" in told or any(
        word.startswith("bob retried") for word in told
    )


def test_a_sequence_in_mermaid_has_the_same_lines() -> None:
    replay = recorded("order/timed_out")
    chart = sequence_mermaid("order-1", replay.events).splitlines()
    assert chart[:3] == [
        "sequenceDiagram",
        "    participant pm as process manager",
        "    participant s1 as orders",
    ]
    assert "    pm->>s4: ShipParcel, attempt 3" in chart
    assert "    Note over pm: no answer to ship (attempt 3)" in chart
    assert "    pm->>s4: undo: RecallParcel" in chart
    assert chart[-1] == "    s4-->>pm: late: succeeded"


def notes_of(name: str) -> list[str]:
    """What is no message in a sequence: it concerns the saga alone."""
    chart = sequence_mermaid("o", recorded(name).events).splitlines()
    return [line.partition("pm: ")[2] for line in chart if line.startswith("    Note over")]


def test_what_is_waited_for_is_no_message_to_anybody() -> None:
    assert notes_of("procurement/approved")[1:] == [
        *("waits for Approval", "signal Approval", "approval is done"),
        *("sleeps: due", "due is done", "completed"),
    ]
    lapsed = "Approval did not come within 259200 s"
    assert notes_of("procurement/never_approved")[1:3] == ["waits for Approval", lapsed]
    ways = ["save-point landed", "back to landed: WalletEmpty", "way 2, from landed", "completed"]
    assert notes_of("getaway/on_another_way")[1:] == ways
    held = ["held, until its parent decides", "its parent has it closed", "completed"]
    assert notes_of("journey/held_and_closed")[1:] == held
    for name in RECORDINGS:
        chart = sequence_mermaid("o", recorded(name).events)
        assert not re.search(r"participant \w+ as $", chart, re.M), "nobody without a name"


def test_what_services_tell_is_called_by_its_event() -> None:
    replay = next(one for one in worlds(fulfilment, range(1)) if one.state.closed)
    chart = sequence_mermaid("o", replay.events)
    assert "s1-->>pm: OrderCreated" in chart
    assert "order_created" not in chart


def test_words_that_mermaid_reserves_are_written_otherwise() -> None:
    saga = Saga("odd", Trip)
    add(saga, "end", after=())
    chart = sequence_mermaid("o", given(saga, Trip()).expect(Do).reply(Done(by="x")).history)
    assert "#101;nd is done" in chart
    stuck = SagaStuck(at=1.0, why="a;b #1 <i>")
    first = recorded("order/completed").events[0]
    assert "stuck: a#59;b #35;1 #lt;i#gt;" in sequence_mermaid("o", [first, stuck])


def test_a_long_run_is_quickly_drawn() -> None:
    forked = what_if(trip.definition, recorded("trip/completed"), {"itinerary": "fail*400"})
    events = forked.replay.events
    assert len(events) > 800
    assert len(check(timeline_svg("t", events, trip.definition))) > 400
    assert "more" in words(sequence_svg("t", events))[-1]
