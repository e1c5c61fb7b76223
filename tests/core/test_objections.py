"""What the core objects to is said in sentences: what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from es_saga.core.decide import react
from es_saga.core.definition import Saga
from es_saga.core.errors import SagaError, Unavailable
from es_saga.core.inputs import Cancel, Start, Tick
from es_saga.core.messages import (
    MAX_ID_CHARS,
    Direction,
    Outcome,
    Subjects,
    check_id,
    parse_command_id,
)
from es_saga.core.policy import MAX_ATTEMPTS, MAX_COEFFICIENT, Retry
from es_saga.core.reaction import MAX_COMMAND_BYTES
from es_saga.core.step import of
from es_saga.core.verify import MAX_STEPS
from tests.core.sagas import ONCE, Do, Done, Trip, chain, do, with_pivot
from tests.core.scene import Scene, play

REFUSED, FAILED = Outcome.REFUSED, Outcome.FAILED


def _stuck_at(step: str) -> Scene:
    """At `hold`'s undo, at the pivot `pay`, or at `ticket` after it."""
    scene = play(with_pivot(retry=ONCE))
    scene.succeed("hold")
    if step == "pay":
        scene.silence()
        return scene
    if step == "hold":
        scene.refuse("pay")
        scene.undo_refused("hold")
        return scene
    scene.succeed("pay")
    scene.refuse("ticket")
    return scene


def _printing() -> Scene:
    """Stuck at a step whose reply the next one needs."""
    saga = Saga("trip", Trip)
    saga.pivot(do("pay"))
    step = saga.step(do("ticket"))

    @saga.step
    def mail(trip: Trip, ticket: Done = of(step)) -> Do:
        return Do(step="mail", who=ticket.by)

    scene = play(saga)
    scene.succeed("pay")
    scene.refuse("ticket")
    return scene


def _started_twice() -> None:
    definition = chain("a").definition
    state = react(definition, None, Start("s-1", {"who": "ann"}), 0.0).state
    react(definition, state, Start("s-1", {"who": "bob"}), 1.0)


def _nobody() -> object:
    return play(chain("a")).feed(Cancel(" ", "because", "m"))


Objection = tuple[Callable[[], object], str, str]

OBJECTIONS: dict[str, Objection] = {
    "another input": (
        _started_twice,
        "Saga 's-1' was started with another input.",
        "Use another key, or the same input.",
    ),
    "no saga": (
        lambda: react(chain("a").definition, None, Tick(), 0.0),
        "There is no such saga.",
        "",
    ),
    "a bad input": (
        lambda: chain("a").definition.check_input({"who": [], "x.y": {}}),
        "The input of saga 'trip' does not fit Trip: who: Input should be a valid string; "
        "x.y: Extra inputs are not permitted.",
        "Correct the input and start it again; nothing was written.",
    ),
    "nobody": (_nobody, "Say who intervenes and why.", "Give an actor and a reason."),
    "not stuck": (
        lambda: play(chain("a")).retry(),
        "Saga s-1 is running, not stuck.",
        "It goes on by itself; `resume` and `resend` have it go on sooner.",
    ),
    "another step": (
        lambda: _stuck_at("ticket").retry("mail"),
        "mail is not what saga s-1 is stuck at: ticket.",
        "",
    ),
    "before the pivot": (
        lambda: _stuck_at("pay").skip("hold"),
        "hold is not after the pivot: skipping it would leave work undone.",
        "Cancel the saga, or retry the step.",
    ),
    "a failed resolution": (
        lambda: _stuck_at("ticket").resolve("ticket", FAILED),
        "Work is resolved as succeeded or refused.",
        "",
    ),
    "a refused undo": (
        lambda: _stuck_at("hold").resolve("hold", REFUSED, direction=Direction.UNDO),
        "A compensation is resolved as succeeded.",
        "To give it up, `skip` it.",
    ),
    "a refusal after the pivot": (
        lambda: _stuck_at("ticket").resolve("ticket", REFUSED),
        "ticket comes after the pivot: it cannot end refused.",
        "",
    ),
    "a needed reply": (
        lambda: _printing().skip("ticket"),
        "mail needs the reply of ticket.",
        "Use `resolve --step ticket` with a reply instead.",
    ),
    "done by hand too late": (
        lambda: _stuck_at("hold").resolve("pay", reply={"by": "hand"}),
        "pay is known not to have been done, and the saga is being undone.",
        "Whoever has done it by hand since has to undo it by hand.",
    ),
    "a bad id": (
        lambda: check_id("x" * 81 + "!"),
        f"{'x' * 80!r} cannot be a saga id.",
        f"Use 1 to {MAX_ID_CHARS} letters, digits, '_' or '-'.",
    ),
    "a bad command id": (
        lambda: parse_command_id("x" * 201),
        f"{'x' * 200!r} is not a command id: <saga>/<step>/do or /undo.",
        "",
    ),
    "a bad tenant": (lambda: Subjects("a.b"), "'a.b' cannot be a tenant.", "Use [A-Za-z0-9_-]+."),
}


@pytest.mark.parametrize("objection", OBJECTIONS.values(), ids=OBJECTIONS)
def test_an_objection_says_what_is_wrong_and_what_to_do(objection: Objection) -> None:
    act, message, hint = objection
    with pytest.raises(SagaError) as caught:
        act()
    assert (caught.value.message, caught.value.hint) == (message, hint)
    assert str(caught.value) == f"{message} {hint}".strip()


def test_an_outage_says_when_to_try_again() -> None:
    error = Unavailable("The log is away.", retry_after=2.0, hint="Wait.")
    assert (error.message, error.hint, error.retry_after) == ("The log is away.", "Wait.", 2.0)
    assert Unavailable("It is away.").hint == ""
    assert Unavailable().message == Unavailable.__doc__


# ── where a limit lies ───────────────────────────────────────────────────────────────────────────


def test_a_limit_may_be_reached() -> None:
    assert not Retry(coefficient=MAX_COEFFICIENT, attempts=MAX_ATTEMPTS).faults()
    longest = "s" * MAX_ID_CHARS
    assert check_id(longest) == longest
    steps = chain(*(f"s{number}" for number in range(MAX_STEPS))).definition.steps
    assert len(steps) == MAX_STEPS
    assert chain(longest).definition.steps[longest].name == longest


def test_a_command_of_the_largest_size_is_sent() -> None:
    empty = len('{"step":"a","who":""}')
    scene = play(chain("a"), who="x" * (MAX_COMMAND_BYTES - empty))
    assert scene.names == ["SagaStarted", "StepStarted"]
    scene = play(chain("a"), who="x" * (MAX_COMMAND_BYTES - empty + 1))
    assert scene.names == ["SagaStarted", "SagaStuck"]
    assert scene.state.stuck is not None
    assert scene.state.stuck.why.endswith("Send a reference to large data, not the data.")


def test_messages_go_to_the_tenant_main_unless_told_otherwise() -> None:
    assert (Subjects().tenant, Subjects().root) == ("main", "saga.v1.main")
    assert (Subjects("shop").tenant, Subjects("shop").root) == ("shop", "saga.v1.shop")
