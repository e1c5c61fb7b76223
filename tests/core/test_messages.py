"""Ids, keys, parts, subjects, reply types, errors."""

from __future__ import annotations

import doctest
import importlib
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_saga.core.errors import (
    DefinitionError,
    InvalidInput,
    NotFound,
    SagaError,
    Unavailable,
)
from es_saga.core.messages import (
    PARTS,
    Command,
    Direction,
    Message,
    Subjects,
    check_id,
    command_id,
    parse_command_id,
    part_of,
    reply_type,
)

tokens = st.text("abcXYZ019_-", min_size=1, max_size=64)


@pytest.mark.requirement("R025", "R026")
@given(tokens, tokens, st.sampled_from(Direction), st.integers(1, 999_999))
def test_a_command_id_can_be_taken_apart_again(
    saga_id: str, step: str, direction: Direction, round: int
) -> None:
    key = parse_command_id(command_id(saga_id, step, direction, round))
    assert (key.saga_id, key.step, key.direction, key.round) == (saga_id, step, direction, round)


def _filter(pattern: str) -> re.Pattern[str]:
    """A filter of NATS as an expression: `*` is one token, `>` one or more at the end."""
    *tokens, last = pattern.split(".")
    words = [re.escape(token) if token != "*" else "[^.]+" for token in tokens]
    return re.compile(r"\.".join([*words, ".+" if last == ">" else re.escape(last)]))


@given(tokens, tokens, tokens, tokens)
def test_no_two_kinds_of_messages_share_a_subject_and_each_filter_takes_its_own(
    tenant: str, service: str, name: str, kind: str
) -> None:
    subjects = Subjects(tenant)
    made = {
        subjects.command(service, 3, kind): subjects.commands_of(service),
        subjects.inbox(service, name): subjects.inbox_of_part(service, part_of(name)),
        subjects.event(service, name, kind): subjects.events_of(service),
        subjects.query(service, kind): None,
        subjects.dead_letter(service, kind): None,
        subjects.alert(service, kind): None,
    }
    filters = {one for one in made.values() if one is not None}
    assert len(made) == 6
    for subject, own in made.items():
        taking = {one for one in filters if _filter(one).fullmatch(subject)}
        assert taking == ({own} if own else set())
        assert subject.startswith(f"saga.v1.{tenant}.")
        everybodys = _filter(subjects.events).fullmatch(subject)
        assert bool(everybodys) is (own == subjects.events_of(service))


@pytest.mark.requirement("R025", "R026")
@given(tokens, tokens)
def test_the_keys_of_the_two_directions_differ(saga_id: str, step: str) -> None:
    assert command_id(saga_id, step, Direction.DO) != command_id(saga_id, step, Direction.UNDO)


@pytest.mark.parametrize(
    "value", ["", "a/b", "a/b/redo", "a/b/do-0", "a/b/do-1234567", "a/b/c/do", f"{'x' * 65}/b/do"]
)
def test_what_is_no_command_id_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput, match="is not a command id"):
        parse_command_id(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_is_no_payload(value: float) -> None:
    class Weighed(Message):
        grams: float

    with pytest.raises(ValueError, match="finite number"):
        Weighed(grams=value)


@given(tokens)
def test_an_id_of_plain_characters_is_one(value: str) -> None:
    assert check_id(value) == value


@pytest.mark.parametrize("value", ["", "a b", "a/b", "a.b", "a*", "é", "x" * 65, "a\n"])
def test_an_id_with_other_characters_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be a saga id"):
        check_id(value)
    with pytest.raises(InvalidInput, match="cannot be an aggregate id"):
        check_id(value, "aggregate id")


@given(tokens)
def test_every_saga_lives_in_one_part(saga_id: str) -> None:
    assert 0 <= part_of(saga_id) < PARTS
    assert part_of(saga_id) == part_of(saga_id)


def test_subjects_are_made_of_tokens() -> None:
    subjects = Subjects("shop")
    assert subjects.command("stock", 3, "Reserve") == "saga.v1.shop.cmd.stock.3.Reserve"
    assert subjects.commands_of("stock") == "saga.v1.shop.cmd.stock.>"
    assert subjects.inbox("orders", "order-1") == "saga.v1.shop.rpl.orders.13.order-1"
    assert subjects.inbox_of_part("orders", 13) == "saga.v1.shop.rpl.orders.13.>"
    assert subjects.dead_letter("svc-stock", "bad") == "saga.v1.shop.dlq.svc-stock.bad"
    with pytest.raises(InvalidInput, match="cannot be a tenant"):
        Subjects("my shop")


class Reserved(Message):
    pass


class Reserve(Command[Reserved]):
    pass


class ReserveTwo(Reserve):
    pass


class Release(Command[None]):
    pass


def test_the_reply_type_stands_in_the_command_or_in_what_it_derives_from() -> None:
    assert reply_type(Reserve) is Reserved
    assert reply_type(ReserveTwo) is Reserved
    assert reply_type(Release) is type(None)


def test_an_error_says_what_to_do_next() -> None:
    assert str(NotFound()) == NotFound.__doc__
    error = NotFound("No saga x.", hint="Look with `es-saga list`.")
    assert (error.code, str(error)) == ("not-found", "No saga x. Look with `es-saga list`.")
    assert Unavailable(retry_after=3.0).retry_after == 3.0
    assert str(DefinitionError("trip", ["it has no steps"])).startswith("saga 'trip' has 1 fault:")
    assert issubclass(Unavailable, SagaError)


@pytest.mark.parametrize("module", ["messages", "policy", "vocabulary"])
def test_the_examples_in_the_documentation_hold(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"es_saga.core.{module}"))
    assert found.attempted
    assert not found.failed
