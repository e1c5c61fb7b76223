"""`verify`: each fault, all of them at once, and what is made of a definition without one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from es_saga.core.after import START
from es_saga.core.compiled import Bind
from es_saga.core.definition import Saga
from es_saga.core.errors import DefinitionError
from es_saga.core.messages import Command, Message
from es_saga.core.policy import Retry
from es_saga.core.step import of
from es_saga.core.verify import MAX_STEPS
from tests.core.sagas import Do, Done, Trip, Undo, add, chain, do, undo

ZERO = timedelta(0)


class Other(Message):
    what: str


class Bare(Command):  # type: ignore[type-arg]
    to = "desk"


class Homeless(Command[Done]):
    step: str


class Odd(Command[int]):
    to = "desk"


class Silent(Command[None]):
    to = "desk"


def faults(saga: Saga[Any]) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as caught:
        _ = saga.definition
    return caught.value.faults


def only(saga: Saga[Any]) -> str:
    """The one fault there is."""
    found = faults(saga)
    assert len(found) == 1, found
    return found[0]


def one(fn: Callable[..., Any], **options: Any) -> Saga[Trip]:
    """A saga whose only step is this function, as its pivot."""
    saga = Saga("trip", Trip)
    saga.pivot(**options)(fn)
    return saga


# ── the saga ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["", "a b", "a.b", "x" * 65])
def test_a_name_is_a_token(name: str) -> None:
    saga = Saga(name, Trip)
    add(saga, "a")
    assert "use 1 to 64 letters" in only(saga)


def test_a_version_counts_from_one() -> None:
    saga = Saga("trip", Trip, version=0)
    add(saga, "a")
    assert only(saga) == "the version counts from 1"


def test_the_input_is_a_message() -> None:
    saga = Saga("trip", int)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    found = faults(saga)  # pyright: ignore[reportUnknownArgumentType]
    assert "derive it from es_saga.Message" in found[0]


def test_a_deadline_is_longer_than_nothing() -> None:
    saga = Saga("trip", Trip, deadline=ZERO)
    add(saga, "a")
    assert only(saga) == "the deadline must be longer than nothing"


@pytest.mark.parametrize("count", [0, MAX_STEPS + 1])
def test_a_saga_has_some_steps_and_not_too_many(count: int) -> None:
    saga = Saga("trip", Trip)
    for number in range(count):
        add(saga, f"a{number}")
    assert only(saga) == f"it has {count} steps: 1 to {MAX_STEPS} are possible"


# ── steps and edges ──────────────────────────────────────────────────────────────────────────────


def test_two_steps_have_two_names() -> None:
    assert only(chain("a", "a", "a")) == "two steps are called 'a'"


def test_a_lambda_has_no_name_to_go_by() -> None:
    saga = Saga("trip", Trip)
    saga.pivot(lambda trip: Do(step="a", who=trip.who))
    assert "'<lambda>' cannot be a step's name" in faults(saga)[0]


def test_an_object_without_a_name_is_no_step() -> None:
    saga = Saga("trip", Trip)
    saga.pivot(functools.partial(do("a")))
    assert "'?' cannot be a step's name" in faults(saga)[0]


@pytest.mark.requirement("R048")
def test_a_predecessor_is_a_step_of_the_saga() -> None:
    saga = Saga("trip", Trip)
    add(saga, "a", after=("b",))
    assert only(saga) == "a comes after 'b', which is no step of this saga"


def test_a_predecessor_is_named_once() -> None:
    saga = Saga("trip", Trip)
    add(saga, "a")
    add(saga, "b", after=("a", "a"))
    assert only(saga) == "b names a twice in after="


def test_steps_do_not_wait_for_each_other() -> None:
    saga = Saga("trip", Trip)
    add(saga, "a", after=("c",))
    add(saga, "b")
    add(saga, "c")
    assert only(saga) == "these steps wait for each other: a, b, c"


def test_there_is_one_pivot() -> None:
    saga = Saga("trip", Trip)
    saga.pivot(do("a"))
    saga.pivot(do("b"))
    assert "there can be one pivot, not 2: a, b" in only(saga)


@pytest.mark.requirement("R046", "R048")
def test_a_branch_does_not_pass_the_pivot_unjoined() -> None:
    saga = Saga("trip", Trip)
    saga.pivot(after=START)(do("pay"))
    add(saga, "room", after=())
    assert "room runs beside the pivot pay" in only(saga)


# ── compensations ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R048")
def test_a_step_that_changes_something_has_a_compensation() -> None:
    saga = Saga("trip", Trip)
    saga.step(do("a"))
    assert "a has no compensation: write one with @a.compensation" in only(saga)


@pytest.mark.requirement("R048")
def test_a_check_has_no_compensation() -> None:
    saga = Saga("trip", Trip)
    saga.check(do("a")).compensation(undo("a"))
    assert only(saga) == "a has a compensation, but a check changes nothing that could be undone"


@pytest.mark.requirement("R048")
def test_the_pivot_has_no_compensation() -> None:
    saga = Saga("trip", Trip)
    saga.pivot(do("a")).compensation(undo("a"))
    assert only(saga) == "a has a compensation, but what has passed the pivot is never undone"


@pytest.mark.requirement("R046", "R048")
def test_what_comes_after_the_pivot_has_no_compensation() -> None:
    saga = Saga("trip", Trip)
    saga.pivot(do("pay"))
    add(saga, "mail")
    assert "it comes after the pivot pay and is retried until done" in only(saga)


def test_there_is_one_compensation() -> None:
    saga = Saga("trip", Trip)
    add(saga, "a").compensation(undo("a"))
    assert only(saga) == "a has 2 compensations: there can be one"


def test_a_compensation_takes_the_reply_of_its_step() -> None:
    saga = Saga("trip", Trip)
    step = saga.step(do("a"))

    def release(trip: Trip, other: Other | None) -> Undo:
        raise NotImplementedError

    step.compensation(release)  # type: ignore[arg-type]
    assert only(saga) == "compensation release of a takes Other second, but a replies Done"


@pytest.mark.requirement("R033", "R048")
def test_a_compensation_that_needs_the_reply_says_what_happens_without_it() -> None:
    saga = Saga("trip", Trip)
    step = saga.step(do("a"))

    @step.compensation
    def release(trip: Trip, done: Done) -> Undo:
        raise NotImplementedError

    assert "take done: Done | None, or give the step on_unknown" in only(saga)


def test_a_compensation_may_do_without_the_reply() -> None:
    saga = Saga("trip", Trip)
    step = saga.step(do("a"))

    @step.compensation
    def release(trip: Trip) -> Undo:
        raise NotImplementedError

    made = saga.definition.steps["a"].undo
    assert made is not None
    assert (made.reply, made.accepts_unknown, made.binds) == (None, True, ())


def test_a_compensation_reads_the_replies_of_earlier_steps_behind_its_own() -> None:
    saga = chain("a")
    step = saga.step(do("b"))

    @step.compensation
    def release(trip: Trip, done: Done | None, first: Done) -> Undo:
        raise NotImplementedError

    made = saga.definition.steps["b"].undo
    assert made is not None
    assert (made.reply, made.binds) == ("done", (Bind("first", "a"),))


def test_a_compensation_of_a_step_without_reply_reads_earlier_replies() -> None:
    saga = chain("a")

    @saga.step
    def b(trip: Trip) -> Silent:
        raise NotImplementedError

    @b.compensation
    def release(trip: Trip, nothing: None, first: Done) -> Undo:
        raise NotImplementedError

    made = saga.definition.steps["b"].undo
    assert made is not None
    assert made.binds == (Bind("first", "a"),)
    assert made.accepts_unknown


def test_a_compensation_of_a_step_without_reply_takes_the_input_alone() -> None:
    saga = Saga("trip", Trip)

    @saga.step
    def a(trip: Trip) -> Silent:
        raise NotImplementedError

    @a.compensation
    def release(trip: Trip) -> Undo:
        raise NotImplementedError

    assert saga.definition.steps["a"].reply is None


def test_a_compensation_of_a_step_without_reply_need_not_skip_it() -> None:
    """Type checkers ask for the `None`; who uses none need not know."""
    saga = chain("a")

    @saga.step
    def b(trip: Trip) -> Silent:
        raise NotImplementedError

    def release(trip: Trip, first: Done) -> Undo:
        raise NotImplementedError

    b.compensation(release)  # type: ignore[arg-type]
    made = saga.definition.steps["b"].undo
    assert made is not None
    assert (made.reply, made.binds) == (None, (Bind("first", "a"),))


def test_a_reference_in_the_second_place_is_no_reply_of_the_step_itself() -> None:
    saga = chain("a")
    step = saga.step(do("b"))

    @step.compensation
    def release(trip: Trip, first: Done = of(saga.steps[0])) -> Undo:
        raise NotImplementedError

    made = saga.definition.steps["b"].undo
    assert made is not None
    assert (made.reply, made.binds) == (None, (Bind("first", "a"),))


# ── functions ────────────────────────────────────────────────────────────────────────────────────


def test_a_step_says_that_it_makes_a_command() -> None:
    def a(trip: Trip) -> str:
        raise NotImplementedError

    assert only(one(a)) == "a returns str, not a Command: annotate what it returns"


def test_a_step_without_annotations_is_told_so() -> None:
    def a(trip):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    found = faults(one(a))  # pyright: ignore[reportUnknownArgumentType]
    assert found == (
        "a returns nothing, not a Command: annotate what it returns",
        "a takes nothing first, but the input of the saga is Trip",
    )


def test_an_async_step_is_told_to_be_plain() -> None:
    async def a(trip: Trip) -> Do:
        raise NotImplementedError

    assert only(one(a)) == "a is async: it is a pure function, so write a plain def"


def test_an_annotation_that_cannot_be_resolved_is_told_where_to_go() -> None:
    class Local(Command[Done]):
        to = "desk"

    def a(trip: Trip) -> Local:
        raise NotImplementedError

    fault = only(one(a))
    assert "name 'Local' is not defined" in fault
    assert "at the top of the module" in fault


def test_a_step_takes_the_input() -> None:
    def a() -> Do:
        raise NotImplementedError

    assert only(one(a)) == "a takes no input: its first parameter is the Trip"


def test_a_step_takes_the_input_first() -> None:
    def a(other: Other) -> Do:
        raise NotImplementedError

    assert only(one(a)) == "a takes Other first, but the input of the saga is Trip"


def test_a_step_is_given_the_input_by_place() -> None:
    def a(*, trip: Trip) -> Do:
        raise NotImplementedError

    assert "a takes Trip first" in only(one(a))


def test_a_step_may_take_a_base_of_the_input() -> None:
    def a(trip: Message) -> Do:
        raise NotImplementedError

    assert one(a).definition.pivot == "a"


def test_a_step_takes_no_stars() -> None:
    def a(trip: Trip, *rest: Done) -> Do:
        raise NotImplementedError

    assert only(one(a)) == "a(*rest: 'Done'): write each parameter out, to be passed by name"


def test_a_command_says_what_it_answers() -> None:
    def a(trip: Trip) -> Bare:
        raise NotImplementedError

    assert only(one(a)) == "a: Bare does not say what it answers: write Command[Reply]"


def test_a_command_answers_with_a_message() -> None:
    def a(trip: Trip) -> Odd:
        raise NotImplementedError

    assert only(one(a)) == "a: Odd answers int, no Message"


def test_a_command_is_addressed() -> None:
    def a(trip: Trip) -> Homeless:
        raise NotImplementedError

    assert only(one(a)) == "a: Homeless is addressed to nobody: set its `to`"


# ── parameters ───────────────────────────────────────────────────────────────────────────────────


def test_a_parameter_is_the_reply_of_a_step_before() -> None:
    saga = chain("a")

    @saga.step
    def b(trip: Trip, other: Other) -> Do:
        raise NotImplementedError

    b.compensation(undo("b"))
    assert only(saga) == "b(other: Other): no step before b replies so"


def test_a_parameter_that_fits_several_steps_is_settled_by_a_reference() -> None:
    saga = chain("a", "b")

    @saga.pivot
    def c(trip: Trip, done: Done) -> Do:
        raise NotImplementedError

    assert only(saga) == "c(done: Done) could be the reply of a or b: write = of(b)"


def test_a_parameter_has_an_annotation() -> None:
    saga = chain("a")

    def b(trip: Trip, done) -> Do:  # type: ignore[no-untyped-def]
        raise NotImplementedError

    saga.pivot(b)  # pyright: ignore[reportUnknownArgumentType]
    assert only(saga) == "b(done) has no annotation: whose reply is it?"


def test_a_reference_is_to_a_step_before() -> None:
    saga = Saga("trip", Trip)
    first = add(saga, "a", after=())

    @saga.step(after=START)
    def b(trip: Trip, done: Done = of(first)) -> Do:
        raise NotImplementedError

    b.compensation(undo("b"))
    assert only(saga) == "b(done): a does not come before b"


def test_a_reference_is_to_a_step_that_replies_so() -> None:
    saga = Saga("trip", Trip)
    first = add(saga, "a")

    @saga.pivot
    def b(trip: Trip, other: Other = of(first)) -> Do:  # type: ignore[assignment]
        raise NotImplementedError

    assert only(saga) == "b(other): a replies Done, not Other"


def test_an_optional_parameter_is_bound_like_any_other() -> None:
    saga = chain("a")

    @saga.pivot
    def b(trip: Trip, done: Done | None) -> Do:
        raise NotImplementedError

    assert saga.definition.steps["b"].binds == (Bind("done", "a"),)


def test_a_union_of_replies_fits_nothing() -> None:
    saga = chain("a")

    @saga.pivot
    def b(trip: Trip, done: Done | Other) -> Do:
        raise NotImplementedError

    assert "no step before b replies so" in only(saga)


# ── times ────────────────────────────────────────────────────────────────────────────────────────


def test_a_timeout_is_longer_than_nothing() -> None:
    assert only(one(do("a"), timeout=ZERO)) == "a: the timeout must be longer than nothing"


@pytest.mark.requirement("R050")
@pytest.mark.parametrize(
    ("retry", "fault"),
    [
        (Retry(first=timedelta(minutes=2)), "0 <= first <= maximum does not hold"),
        (Retry(first=timedelta(seconds=-1)), "0 <= first <= maximum does not hold"),
        (Retry(coefficient=0.5), "coefficient must be 1 to 100"),
        (Retry(coefficient=float("nan")), "coefficient must be 1 to 100"),
        (Retry(attempts=0), "attempts must be 1 to 10000, or None for ever"),
        (Retry(attempts=10_001), "attempts must be 1 to 10000, or None for ever"),
        (Retry(jitter=1.5), "jitter must be a share from 0 to 1"),
        (Retry(attempts=None, first=ZERO), "for ever without a wait would never rest: set first"),
    ],
)
def test_a_retry_policy_makes_sense(retry: Retry, fault: str) -> None:
    assert only(one(do("a"), retry=retry)) == f"a: retry: {fault}"


def test_the_times_of_a_compensation_are_looked_at_too() -> None:
    saga = Saga("trip", Trip)
    saga.step(do("a")).compensation(timeout=ZERO, retry=Retry(attempts=0))(undo("a"))
    assert [fault.partition(": ")[0] for fault in faults(saga)] == ["compensation undo_a of a"] * 2


@pytest.mark.requirement("R048")
def test_an_option_of_the_wrong_kind_is_a_fault_among_the_others() -> None:
    """What a type checker would say, for those who have none."""
    make: Any = Saga
    saga = make("trip", Trip, deadline=3, undo_order="sideways", on_failed_undo="cry")
    saga.step(timeout=5, retry=3, on_unknown="cry")(do("a")).compensation(undo("a"))
    saga.wait(Other, timeout=5, on_timeout="cry")
    saga.step(retry=Retry(first=make), when=True)(do("b")).compensation(timeout=5)(undo("b"))
    assert set(faults(saga)) == {
        "the deadline is 3, no timedelta: write timedelta(seconds=…)",
        "undo_order= is 'sideways': it can be 'reverse' or 'parallel'",
        "on_failed_undo= is 'cry': take one of OnFailedUndo",
        "a: the timeout is 5, no timedelta: write timedelta(seconds=…)",
        "a: retry is 3: write Retry(attempts=…)",
        "on_unknown= of a is 'cry': it can be 'undo' or 'stuck'",
        "other: the timeout is 5, no timedelta: write timedelta(seconds=…)",
        "on_timeout= of other is 'cry': it can be 'undo' or 'go-on'",
        "b: retry: first and maximum are each a timedelta",
        "when= of b is True, no function",
        "compensation undo_b of b: the timeout is 5, no timedelta: write timedelta(seconds=…)",
    }


# ── all at once ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R048")
def test_all_faults_are_told_at_once_and_each_once() -> None:
    saga = Saga("my trip", Trip, version=0, deadline=ZERO)
    saga.step(after="nobody")(do("a"))
    saga.pivot(do("pay")).compensation(undo("pay"))

    @saga.step  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    def mail(trip: Trip, other: Other) -> str:
        raise NotImplementedError

    with pytest.raises(DefinitionError) as caught:
        _ = saga.definition
    assert len(caught.value.faults) == len(set(caught.value.faults)) == 8
    text = str(caught.value)
    assert text.startswith("saga 'my trip' has 8 faults:\n  - the name 'my trip'")
    for fault in caught.value.faults:
        assert f"\n  - {fault}" in text


def test_a_compensation_that_makes_no_command_is_told_so() -> None:
    saga = Saga("trip", Trip)
    step = saga.step(do("a"))

    def release(trip: Trip) -> str:
        raise NotImplementedError

    step.compensation(release)  # type: ignore[type-var]
    assert "compensation release of a returns str, not a Command" in only(saga)


def test_a_compensation_added_after_the_first_look_is_seen() -> None:
    saga = Saga("trip", Trip)
    step = saga.step(do("a"))
    assert "no compensation" in only(saga)
    step.compensation(undo("a"))
    assert saga.definition.steps["a"].undo is not None
    step.compensation(undo("a"))
    assert "2 compensations" in only(saga)
