"""What a participant does with commands that come twice, late, or after their own undo.

    from es_saga.testing.contracts import Desk, FenceContract, How

    class TestMyParticipant(FenceContract):
        @pytest.fixture
        def desk(self, tmp_path: Path) -> AbstractAsyncContextManager[Desk]:
            return MyDesk(tmp_path)      # has the four methods of Desk

However a participant is made, in whatever language: what can be called can be judged. The laws are
those of the fence, L19 to L25 and L43; the techniques are those of the TCC pattern.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from es_saga.core.errors import InvalidInput
from es_saga.core.messages import Command, Direction, Envelope, Outcome, command_id

EXAMPLES = 60
"""Orders of arrival that one run tries."""


class How(Enum):
    """What a piece of work is to run into. In each case something is written first."""

    WELL = "it is done"
    REFUSED = "it is refused, after something was written"
    FAILS_ONCE = "attempt 1 fails, after something was written; later attempts do well"


class Desk(Protocol):
    """A participant under test, and how work is asked of it."""

    async def call(self, envelope: Envelope) -> Envelope:
        """Carry out a command; its reply. As `es_saga.participant.Server.call`.

        Raises:
            InvalidInput: the envelope names no command id.
        """
        ...

    def work(self, key: str, how: How) -> Command[Any]:
        """A command that leaves the effect `key`, or runs into trouble first."""
        ...

    def undo(self, key: str) -> Command[Any]:
        """The command that takes the effect away again."""
        ...

    async def effects(self) -> Collection[str]:
        """The effects that stand now, each as often as it does."""
        ...


class FenceContract:
    """Subclass it, and give it the fixture `desk`, with no effect in its database yet."""

    @pytest.fixture
    def desk(self) -> AbstractAsyncContextManager[Desk]:
        """Yours."""
        pytest.fail("Give your suite a fixture `desk`.")

    @pytest.fixture
    def counter(self, desk: AbstractAsyncContextManager[Desk]) -> Iterator[Counter]:
        with asyncio.Runner() as runner:
            opened = runner.run(desk.__aenter__())
            try:
                yield Counter(runner, opened)
            finally:
                runner.run(desk.__aexit__(None, None, None))

    def test_in_any_order_each_key_has_its_effect_and_its_undo_at_most_once(
        self, counter: Counter
    ) -> None:
        """Laws L19 to L25."""
        examples = itertools.count()

        @settings(
            max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        )
        @given(hows=_HOWS, batches=_BATCHES)
        def check(hows: list[How], batches: list[list[Arrival]]) -> None:
            prefix = f"{next(examples)}-"
            model = Model(hows)
            for batch in batches:
                replies = counter.call(
                    *(
                        counter.ask(f"{prefix}{one.key}", hows[one.key], one.undo, one.attempt)
                        for one in batch
                    )
                )
                assert [reply.outcome for reply in replies] == [model.arrive(one) for one in batch]
            found = sorted(key for key in counter.effects() if key.startswith(prefix))
            assert found == sorted(f"{prefix}{key}" for key in model.effects())

        check()

    def test_copies_that_arrive_together_act_once_and_are_answered_alike(
        self, counter: Counter
    ) -> None:
        """Laws L23 and L24."""
        for undo, effects in ((False, ["a"]), (True, [])):
            copies = [counter.ask("a", undo=undo, attempt=attempt) for attempt in (1, 1, 2, 3)]
            replies = counter.call(*copies)
            assert {reply.outcome for reply in replies} == {Outcome.SUCCEEDED}
            assert [reply.data for reply in replies] == [replies[0].data] * 4
            assert list(counter.effects()) == effects

    def test_a_repeat_gets_the_same_answer_under_its_own_message_id(self, counter: Counter) -> None:
        """Law L23."""
        for how in (How.WELL, How.REFUSED):
            (first,) = counter.call(counter.ask(how.name, how))
            (again,) = counter.call(counter.ask(how.name, how, attempt=2))
            assert (first.id, again.id) == (
                f"s-{how.name}/chore/do/1/r",
                f"s-{how.name}/chore/do/2/r",
            )
            assert (again.data, again.type, again.outcome) == (
                first.data,
                first.type,
                first.outcome,
            )
            assert (first.attempt, again.attempt) == (1, 2)
        assert list(counter.effects()) == ["WELL"]

    def test_an_undo_that_comes_first_is_remembered_and_the_late_command_refused(
        self, counter: Counter
    ) -> None:
        """Laws L21 and L22."""
        (undo,) = counter.call(counter.ask("a", undo=True))
        (late,) = counter.call(counter.ask("a"))
        assert undo.outcome is Outcome.SUCCEEDED
        assert (late.outcome, late.type) == (Outcome.REFUSED, "Undone")
        assert not counter.effects()

    def test_do_then_undo_and_undo_then_do_leave_the_same(self, counter: Counter) -> None:
        """Law L20."""
        counter.call(counter.ask("a"))
        counter.call(counter.ask("a", undo=True))
        assert not counter.effects()
        counter.call(counter.ask("b", undo=True))
        counter.call(counter.ask("b"))
        assert not counter.effects()

    def test_what_was_refused_left_nothing_and_its_undo_has_nothing_to_do(
        self, counter: Counter
    ) -> None:
        """Law L25: what a handler wrote before it refused is not there."""
        (refused,) = counter.call(counter.ask("a", How.REFUSED))
        assert refused.outcome is Outcome.REFUSED
        assert not counter.effects()
        (undone,) = counter.call(counter.ask("a", undo=True))
        assert undone.outcome is Outcome.SUCCEEDED

    def test_an_attempt_that_failed_left_nothing_and_fails_again_and_the_next_may_do_well(
        self, counter: Counter
    ) -> None:
        """A failure is definite: delivered again, the attempt has no effect after all."""
        for _ in range(2):
            (failed,) = counter.call(counter.ask("a", How.FAILS_ONCE))
            assert failed.outcome is Outcome.FAILED
            assert not counter.effects()
        (done,) = counter.call(counter.ask("a", How.FAILS_ONCE, attempt=2))
        assert done.outcome is Outcome.SUCCEEDED
        assert list(counter.effects()) == ["a"]

    def test_the_undo_of_an_attempt_that_failed_keeps_later_ones_out(
        self, counter: Counter
    ) -> None:
        """Law L22."""
        counter.call(counter.ask("a", How.FAILS_ONCE))
        counter.call(counter.ask("a", undo=True))
        (late,) = counter.call(counter.ask("a", How.FAILS_ONCE, attempt=2))
        assert (late.outcome, late.type) == (Outcome.REFUSED, "Undone")
        assert not counter.effects()

    def test_a_command_without_its_id_is_not_carried_out(self, counter: Counter) -> None:
        """Law L43: refused, not guessed."""
        nameless = counter.ask("a").model_copy(update={"commandid": None})
        with pytest.raises(InvalidInput):
            counter.call(nameless)
        assert not counter.effects()


class Counter:
    """Where the tests ask: everything in one event loop, and messages as a saga would send them."""

    def __init__(self, runner: asyncio.Runner, desk: Desk) -> None:
        self._runner, self._desk = runner, desk

    def call(self, *envelopes: Envelope) -> list[Envelope]:
        """Have these carried out together; their replies in the same order."""

        async def together() -> list[Envelope]:
            return await asyncio.gather(*map(self._desk.call, envelopes))

        return self._runner.run(together())

    def effects(self) -> Collection[str]:
        return self._runner.run(self._effects())

    async def _effects(self) -> Collection[str]:
        return await self._desk.effects()

    def ask(self, key: str, how: How = How.WELL, undo: bool = False, attempt: int = 1) -> Envelope:
        """The command of a piece of work, or its undo; each key is a saga of its own."""
        command = self._desk.undo(key) if undo else self._desk.work(key, how)
        forward, saga = command_id(f"s-{key}", "chore", Direction.DO), f"s-{key}"
        name = command_id(saga, "chore", Direction.UNDO) if undo else forward
        return Envelope(
            id=f"{name}/{attempt}",
            source="test",
            type=type(command).__name__,
            sagaid=saga,
            step="chore",
            commandid=name,
            undoes=forward if undo else None,
            attempt=attempt,
            direction="CANCEL" if undo else "REQUEST",
            data=command.model_dump(mode="json"),
        )


# ── what should come of it ───────────────────────────────────────────────────────────────────────


class Arrival(NamedTuple):
    """One message: the command of a key, or its undo."""

    key: int
    undo: bool
    attempt: int


@dataclass
class Model:
    """What a participant should remember of each key."""

    hows: Sequence[How]
    known: dict[int, str] = field(default_factory=dict[int, str])
    undone: set[int] = field(default_factory=set[int])

    def arrive(self, one: Arrival) -> Outcome:
        known = self.known.get(one.key)
        if one.undo:
            self.known[one.key] = known or "never"
            self.undone.add(one.key)
            return Outcome.SUCCEEDED
        if known is None:
            how = self.hows[one.key]
            if how is How.FAILS_ONCE and one.attempt == 1:
                return Outcome.FAILED
            known = self.known[one.key] = "refused" if how is How.REFUSED else "done"
        return Outcome.SUCCEEDED if known == "done" else Outcome.REFUSED

    def effects(self) -> set[int]:
        return {key for key, known in self.known.items() if known == "done"} - self.undone


_KEYS = 4
_HOWS = st.lists(st.sampled_from(How), min_size=_KEYS, max_size=_KEYS)
_ARRIVALS = st.builds(Arrival, st.integers(0, _KEYS - 1), st.booleans(), st.integers(1, 3))
_BATCHES = st.lists(st.lists(_ARRIVALS, min_size=1, max_size=8), max_size=5)
"""What arrives together, and then what arrives together, …"""
