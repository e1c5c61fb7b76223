"""Events to bytes and back, over all that an event can hold, and over what it cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_saga.adapters import codec
from es_saga.adapters.codec import UPCASTERS, decode, encode, upcast
from es_saga.core.errors import CorruptHistory, InvalidInput
from es_saga.core.events import EVENTS, Json, LateReplyNoted, SagaEvent, SagaStarted, StepSucceeded
from es_saga.core.messages import Direction, Outcome

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def events() -> st.SearchStrategy[SagaEvent]:
    return st.sampled_from(list(EVENTS.values())).flatmap(an_event)


def an_event(kind: type[SagaEvent]) -> st.SearchStrategy[SagaEvent]:
    return st.fixed_dictionaries(
        {name: values(name, str(field.annotation)) for name, field in kind.model_fields.items()}
    ).map(kind.model_validate)


def values(name: str, annotation: str) -> st.SearchStrategy[object]:
    """Values for a field, by its annotation; None where it is optional."""
    by_annotation: dict[str, st.SearchStrategy[object]] = {
        "dict": st.dictionaries(TEXT, JSON, max_size=3),
        "tuple[str": st.lists(TEXT, max_size=2),
        "UndoException": st.lists(st.fixed_dictionaries({"step": TEXT, "error": TEXT}), max_size=2),
        "Parent": st.fixed_dictionaries({"command_id": TEXT, "undoable": st.booleans()}),
        "Direction": st.sampled_from(Direction),
        "Outcome": st.sampled_from(Outcome),
        "Any": JSON,
        "bool": st.booleans(),
        "float": st.floats(allow_nan=False, allow_infinity=False),
        "int": st.integers(0, 2**31),
        "str": TEXT,
    }
    found = next(strategy for word, strategy in by_annotation.items() if word in annotation)
    return st.none() | found if "None" in annotation else found


@given(events())
def test_every_event_comes_back_as_it_was(event: SagaEvent) -> None:
    topic, payload = encode(event)
    assert topic == type(event).__name__
    assert decode(topic, payload) == event


def test_defaults_are_not_stored() -> None:
    assert encode(StepSucceeded(at=1.5, step="ship", attempt=2)) == (
        "StepSucceeded",
        b'{"at":1.5,"step":"ship","attempt":2}',
    )


@pytest.mark.parametrize(
    ("topic", "payload", "message"),
    [
        ("NoSuchEvent", b"{}", "NoSuchEvent"),
        ("StepSucceeded", b"{", "StepSucceeded cannot be read"),
        ("StepSucceeded", b"\xff", "StepSucceeded cannot be read"),
        ("StepSucceeded", b'{"at":1.0}', "step"),
        ("StepSucceeded", b'{"at":"x","step":"a","attempt":1}', "at"),
    ],
)
def test_what_cannot_be_read_is_a_corrupt_history(topic: str, payload: bytes, message: str) -> None:
    with pytest.raises(CorruptHistory, match=message):
        decode(topic, payload)


def test_a_field_of_a_later_release_is_ignored() -> None:
    later = b'{"at":1.5,"step":"ship","attempt":2,"colour":"red"}'
    assert decode("StepSucceeded", later) == StepSucceeded(at=1.5, step="ship", attempt=2)


def test_what_json_cannot_hold_is_refused() -> None:
    event = LateReplyNoted(
        at=1.0, step="a", direction=Direction.DO, attempt=1, outcome=Outcome.FAILED, data="\ud800"
    )
    with pytest.raises(InvalidInput, match="LateReplyNoted"):
        encode(event)


def test_an_event_over_the_limit_is_refused() -> None:
    data = {"x": "y" * codec.MAX_EVENT_BYTES}
    event = SagaStarted(at=1.0, saga_type="t", definition=1, fingerprint="f", data=data)
    with pytest.raises(InvalidInput, match="SagaStarted takes"):
        encode(event)


def test_an_old_event_is_lifted_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def renamed(data: Json) -> tuple[str, Json]:
        return "StepOk", {**data, "step": data.pop("activity")}

    def counted(data: Json) -> tuple[str, Json]:
        return "StepSucceeded", {**data, "attempt": 1}

    monkeypatch.setitem(UPCASTERS, "ActivityDone", renamed)
    monkeypatch.setitem(UPCASTERS, "StepOk", counted)
    old = b'{"at":1.5,"activity":"ship"}'
    assert decode("ActivityDone", old) == StepSucceeded(at=1.5, step="ship", attempt=1)


def test_a_lift_within_a_topic_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubled(data: Json) -> tuple[str, Json]:
        return "StepSucceeded", {**data, "attempt": data["attempt"] * 2}

    monkeypatch.setitem(UPCASTERS, "StepSucceeded", doubled)
    assert upcast("StepSucceeded", {"attempt": 2}) == ("StepSucceeded", {"attempt": 4})
    with pytest.raises(CorruptHistory, match="cannot be read"):
        decode("StepSucceeded", b"{}")


def test_a_circle_of_lifts_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def to_a(data: Json) -> tuple[str, Json]:
        return "A", data

    def to_b(data: Json) -> tuple[str, Json]:
        return "B", data

    monkeypatch.setitem(UPCASTERS, "A", to_b)
    monkeypatch.setitem(UPCASTERS, "B", to_a)
    with pytest.raises(CorruptHistory):
        decode("A", b"{}")
