"""Random sagas that combine everything a definition can say, as the source a user would write.

A `Sketch` is what Hypothesis draws and shrinks (`tests.testing.mixed_drawn`); `source` writes it
down, and `saga_of` runs that. So what breaks a law is read, and tried out, as a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from es_saga import Saga
from es_saga.core.policy import OnFailedUndo, Retry
from tests.testing import mixed_words

MAX_LIST: Final = 3
"""Items that the list of a step may have."""

Kind = Literal["step", "check", "pivot", "wait", "sleep", "point", "saga", "hold"]


@dataclass(frozen=True)
class Part:
    """A step of a saga."""

    name: str
    kind: Kind
    after: tuple[str, ...] | None
    """None: the one before it."""
    join: str | None = None
    """`quorum` or `gather` with the least number, as it stands before the members."""
    reads: tuple[str, ...] = ()
    timeout: int = 5
    retry: Retry | None = None
    undo_retry: Retry | None = None
    undo_reads: bool = True
    stuck: bool = False
    """An outcome that stays unknown asks for a human."""
    when: str | None = None
    """`yes`, `no`, `lack` or `have` of the first reply it reads; `way 2` of the last save-point."""
    each: int | None = None
    """It goes over a list, so many at once."""
    goes_on: bool = False
    ways: int = 0
    south: bool = False
    runs: Sketch | None = None


@dataclass(frozen=True)
class Sketch:
    """A saga, and all that it runs."""

    parts: tuple[Part, ...]
    tcc: bool = False
    deadline: int | None = None
    on_failed_undo: OnFailedUndo = OnFailedUndo.ESCALATE
    parallel: bool = False

    def __repr__(self) -> str:
        return source(self)

    @property
    def pivot(self) -> bool:
        """It, or one that it runs at its pivot, can pass a point of no return."""
        return any(part.kind == "pivot" for part in self.parts)

    @property
    def depth(self) -> int:
        return 1 + max((part.runs.depth for part in self.parts if part.runs), default=0)

    def every(self) -> Iterator[Part]:
        """Its parts, and those of all that it runs."""
        for part in self.parts:
            yield part
            if part.runs is not None:
                yield from part.runs.every()


# ── written down ─────────────────────────────────────────────────────────────────────────────────


def saga_of(sketch: Sketch, *, version: int = 1) -> Saga[Any]:
    """The saga that it stands for."""
    names: dict[str, Any] = {"__name__": mixed_words.__name__}
    exec(f"from {mixed_words.__name__} import *\n{source(sketch, version=version)}", names)
    saga: Saga[Any] = names["mixed"]
    return saga


def source(sketch: Sketch, name: str = "mixed", *, version: int = 1) -> str:
    """It as Python, with the words of `mixed_words`."""
    children = [
        source(part.runs, f"{name}_{part.name}", version=version)
        for part in sketch.parts
        if part.runs
    ]
    return "\n".join([*children, *_Writer(sketch, name, version).lines()]) + "\n"


class _Writer:
    def __init__(self, sketch: Sketch, name: str, version: int) -> None:
        self.sketch, self.name, self.version = sketch, name, version
        members = {one for part in sketch.parts if part.join for one in part.after or ()}
        self.absent = {
            part.name
            for part in sketch.parts
            if part.each is None and (part.when or part.goes_on or part.name in members)
        }
        self.parts = {part.name: part for part in sketch.parts}
        self.early = any("quorum" in (part.join or "") for part in sketch.parts)
        """What comes after a quorum may begin before its members are over."""

    def lines(self) -> Iterator[str]:
        sketch, made = self.sketch, "Tcc" if self.sketch.tcc else "Saga"
        options = [f"version={self.version}"]
        if sketch.deadline is not None:
            options.append(f"deadline=timedelta(seconds={sketch.deadline})")
        if sketch.on_failed_undo is not OnFailedUndo.ESCALATE:
            options.append(f"on_failed_undo=OnFailedUndo.{sketch.on_failed_undo.name}")
        if sketch.parallel:
            options.append('undo_order="parallel"')
        yield f'\n{self.name} = {made}("{self.name}", Go, {", ".join(options)})'
        for part in sketch.parts:
            yield from self._part(part)

    def _part(self, part: Part) -> Iterator[str]:
        name, owner = part.name, self.name
        seconds = f"timedelta(seconds={part.timeout})"
        options = [*self._after(part)]
        if part.when:
            options.append(f"when={self._when_name(part)}")
            yield from self._condition(part)
        plain = "".join(f", {option}" for option in options)
        if part.kind == "point":
            yield f'{name} = {owner}.save_point("{name}", ways={part.ways}{plain})'
            return
        if part.kind == "sleep":
            yield f'{name} = {owner}.sleep("{name}", {seconds}{plain})'
            return
        if part.kind == "wait":
            on = ', on_timeout="go-on"' if part.goes_on else ""
            yield f"class Heard_{owner}_{name}(Heard): ...\n"
            yield (
                f'{name} = {owner}.wait(Heard_{owner}_{name}, name="{name}", '
                f"timeout={seconds}{on}{plain})"
            )
            return
        options.append(f"timeout={seconds}")
        if part.retry is not None:
            options.append(f"retry={part.retry!r}")
        if part.stuck:
            options.append('on_unknown="stuck"')
        if part.each is not None:
            options += [f"each=items_{name}", f"most={MAX_LIST}", f"at_once={part.each}"]
            yield f"def items_{name}(go: Go) -> list[int]:\n    return list(range(go.n))\n"
        if part.kind == "hold":
            options.append("expires=timedelta(days=30)")
        make = "saga" if part.runs else part.kind
        child = f"{owner}_{name}, " if part.runs else ""
        item = ", item: int" if part.each is not None else ""
        reads = "".join(f", {one}: {self._reply(one)} = of({one})" for one in part.reads)
        command = "Fetch" if part.south else "Do"
        result = "Go" if part.runs else command
        yield f"@{owner}.{make}({child}{', '.join(options)})"
        yield f"def {name}(go: Go{item}{reads}) -> {result}:"
        if part.runs:
            yield "    return go\n"
        else:
            label = f'f"{name}{{item}}"' if item else f'"{name}"'
            seen = f"told({', '.join(part.reads)})"
            yield f"    return {command}(step={label}, seen={seen}, card=go.card)\n"
        if part.kind == "step" and part.runs is None and not self._after_pivot(part):
            yield from self._undo(part, item)

    def _undo(self, part: Part, item: str) -> Iterator[str]:
        retry = f"(retry={part.undo_retry!r})" if part.undo_retry else "()"
        own = f", done: Done{'' if part.stuck else ' | None'}" if part.undo_reads else ""
        reads = "".join(f", {one}: {self._reply(one)} = of({one})" for one in part.reads)
        undo = "Return" if part.south else "Undo"
        label = f'f"{part.name}{{item}}"' if item else f'"{part.name}"'
        knew = "done is not None" if part.undo_reads else "False"
        yield f"@{part.name}.compensation{retry}"
        yield f"def undo_{part.name}(go: Go{item}{own}{reads}) -> {undo}:"
        yield f"    return {undo}(step={label}, knew={knew})\n"

    def _after_pivot(self, part: Part) -> bool:
        names = [one.name for one in self.sketch.parts]
        pivots = [one.name for one in self.sketch.parts if one.kind == "pivot"]
        return any(names.index(pivot) < names.index(part.name) for pivot in pivots)

    def _after(self, part: Part) -> Iterator[str]:
        if part.after is None:
            return
        names = "".join(f"{name}, " for name in part.after)
        if part.join is not None:
            call, least = part.join.split()
            yield (
                f"after={call}({least}, {names})"
                if call == "quorum"
                else (f"after={call}({names}least={least})")
            )
        else:
            yield f"after=({names})" if part.after else "after=START"

    def _when_name(self, part: Part) -> str:
        kind, *more = (part.when or "").split()
        return f"{more[0]}.way({more[1]})" if kind == "way" else f"when_{part.name}"

    def _condition(self, part: Part) -> Iterator[str]:
        assert part.when is not None
        kind, *more = part.when.split()
        if kind == "way":
            return
        reads = f", known: {self._reply(more[0])} = of({more[0]})" if more else ""
        what = {"yes": "True", "no": "False", "have": "bool(known)", "lack": "not known"}[kind]
        yield f"def when_{part.name}(go: Go{reads}) -> bool:\n    return {what}\n"

    def _reply(self, name: str) -> str:
        part = self.parts[name]
        kind = "Way" if part.kind == "point" else "ChildSaga" if part.runs else "Done"
        kind = kind if part.each is None else f"list[{kind}]"
        return f"{kind} | None" if name in self.absent or self.early else kind
