"""A run as a Python file that runs by itself: whoever gets it sees what its finder saw."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from es_saga.app import App
from es_saga.core.compiled import Definition
from es_saga.core.definition import Saga
from es_saga.core.errors import InvalidInput
from es_saga.engine.manager import ProcessManager
from es_saga.participant.fence import judge
from es_saga.participant.kit import Participant
from es_saga.testing.faults import FaultPlan

if TYPE_CHECKING:
    from es_saga.testing.outcome import Outcome
    from es_saga.testing.world import World

_FILE = '''\
"""{title}"""

{imports}

{setup}
plan = {plan}
begins = [{begins}
]

outcome = World(sagas, faults=plan{instead}).run(begins)
print(outcome)
raise SystemExit(bool(outcome.findings))
'''


def script(outcome: Outcome, setup: str | None) -> str:
    """See `Outcome.script`."""
    world = outcome.world
    imports = {
        "from es_saga.testing.faults import Fault, FaultPlan, Kind": None,
        "from es_saga.testing.world import Begin, World": None,
    }
    cast = list(world.cast.participants.values())
    instead = ", participants=participants" if cast else ""
    if setup is None:
        lines = [_listed("sagas", map(_of_saga, world.sagas), imports)]
        if cast:
            lines.append(_listed("participants", map(_of_participant, cast), imports))
        setup = "\n".join(lines)
    instead += _functions(world, imports)
    if world.replies:
        types = {one for command, reply in world.replies.items() for one in (command, type(reply))}
        imports |= dict.fromkeys(
            sorted(f"from {one.__module__} import {one.__name__}" for one in types)
        )
        replies = (f"{command.__name__}: {reply!r}" for command, reply in world.replies.items())
        instead += f", replies={{{', '.join(replies)}}}"
    if world.cast.residue is not None:
        instead += f", residue={sorted(world.cast.residue)!r}"
    titles = [str(finding) for finding in outcome.findings] or ["No finding."]
    return _FILE.format(
        title="\n".join(titles).replace("\\", "\\\\").replace('"""', "'''"),
        imports="\n".join(imports),
        setup=setup.rstrip(),
        plan=_plan(outcome.plan),
        begins="".join(f"\n    {begin!r}," for begin in outcome.begins),
        instead=instead,
    )


def _plan(plan: FaultPlan) -> str:
    faults = "".join(f"\n        {fault!r}," for fault in plan.faults)
    lines = [f"    faults=({faults}\n    ),"]
    lines += [
        f"    {name}={getattr(plan, name)!r},"
        for name in ("seed", "managers", "scarce")
        if getattr(plan, name) != getattr(FaultPlan(), name)
    ]
    return "\n".join(["FaultPlan(", *lines, ")"])


# ── where things are imported from ───────────────────────────────────────────────────────────────

_Place = tuple[str, str, str]
"""A module, the name of something in it, and what stands behind that name."""


def _listed(name: str, places: Iterable[_Place], imports: dict[str, None]) -> str:
    """A list of what is at these places."""
    members: list[str] = []
    for module, first, rest in places:
        imports[f"from {module} import {first}"] = None
        members.append(first + rest)
    return f"{name} = [{', '.join(members)}]"


def _functions(world: World, imports: dict[str, None]) -> str:
    """The world's options that are functions."""
    told = ""
    for option, given, usual in (
        ("manager", world.manager, ProcessManager),
        ("fence", world.fence, judge),
    ):
        if given is not usual:
            told += f", {option}={_imported(given, imports)}"
    for option, several in (
        ("invariant", world.cast.invariants),
        ("always", world.cast.always),
        ("constant", world.cast.constant),
    ):
        if several:
            names = ", ".join(_imported(one, imports) for one in several)
            told += f", {option}=[{names}]"
    return told


def _imported(function: Callable[..., Any], imports: dict[str, None]) -> str:
    name: str = getattr(function, "__qualname__", "")
    if not name.isidentifier():
        raise InvalidInput(
            f"{name or function!r} stands in no module.", hint="Make it a function of a module."
        )
    imports[f"from {function.__module__} import {name}"] = None
    return name


def _of_saga(saga: Saga[Any] | Definition) -> _Place:
    """The module that has a saga, and under which name."""
    steps = saga.steps if isinstance(saga, Saga) else saga.steps.values()
    for module, name, value in _members([step.fn.__module__ for step in steps]):
        if isinstance(value, Saga) and (value is saga or value.definition == saga):
            return module, name, ""
    raise InvalidInput(
        f"The saga {saga.name!r} stands in no module.",
        hint="Pass `setup`: lines that define `sagas`.",
    )


def _of_participant(participant: Participant) -> _Place:
    """The module that has a participant, by itself or in an app."""
    near = [handling.fn.__module__ for handling in participant.commands.values()]
    for module, name, value in _members([*near, *sys.modules]):
        if value is participant:
            return module, name, ""
        if isinstance(value, App) and value.participants.get(participant.name) is participant:
            return module, name, f".participants[{participant.name!r}]"
    raise InvalidInput(
        f"The participant {participant.name!r} stands in no module.",
        hint="Pass `setup`: lines that define `sagas` and `participants`.",
    )


def _members(modules: Iterable[str]) -> Iterator[tuple[str, str, Any]]:
    """What stands in these modules."""
    for module in dict.fromkeys(modules):
        for name, value in list(getattr(sys.modules[module], "__dict__", {}).items()):
            yield module, name, value
