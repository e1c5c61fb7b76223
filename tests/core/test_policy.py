"""Retry policies: how long, how often."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_saga.core.policy import Retry

retries = st.builds(
    Retry,
    first=st.timedeltas(timedelta(0), timedelta(minutes=1)),
    maximum=st.timedeltas(timedelta(minutes=1), timedelta(days=365)),
    coefficient=st.floats(1, 100),
    attempts=st.none() | st.integers(1, 10_000),
    jitter=st.floats(0, 1),
)


@pytest.mark.requirement("R050")
@pytest.mark.law("L31")
@given(retries, st.text(min_size=1), st.integers(1, 10_000))
def test_waits_never_decrease_and_stay_within_the_maximum(
    retry: Retry, command: str, attempt: int
) -> None:
    wait = retry.wait(command, attempt)
    assert 0 <= wait <= retry.wait(command, attempt + 1)
    assert wait <= retry.maximum.total_seconds() * (1 + retry.jitter) + 1e-6


@pytest.mark.requirement("R050")
def test_waits_grow_by_the_coefficient_up_to_the_maximum() -> None:
    retry = Retry(first=timedelta(seconds=2), coefficient=3, jitter=0)
    assert [retry.wait("s-1/a/do", attempt) for attempt in range(1, 6)] == [2, 6, 18, 54, 60]


@given(st.text(min_size=1))
def test_the_jitter_is_the_same_on_every_replay(command: str) -> None:
    retry = Retry(jitter=0.5)
    assert retry.wait(command, 3) == retry.wait(command, 3)
    assert 4 <= retry.wait(command, 3) <= 6


def test_the_jitter_spreads_commands() -> None:
    assert len({Retry().wait(f"s-{number}/a/do", 1) for number in range(50)}) > 40


@pytest.mark.requirement("R050")
def test_a_policy_says_when_to_stop() -> None:
    retry = Retry(attempts=3, never=("Fatal",))
    assert retry.another(2)
    assert not retry.another(3)
    assert retry.another(1, "Busy")
    assert not retry.another(1, "Fatal")
    assert Retry(attempts=None).another(1_000_000)


@given(retries)
def test_a_policy_within_its_bounds_has_no_faults(retry: Retry) -> None:
    endless = retry.attempts is None and not retry.first
    assert bool(retry.faults()) == endless
