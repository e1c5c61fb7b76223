"""What random sagas combine: stretches of steps side by side, save-points and the pivot between.

What is drawn is valid by the way it is made, and nothing is thrown away.
"""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from es_saga.core.policy import OnFailedUndo, Retry
from es_saga.testing.plans import retries
from tests.testing.mixed import Kind, Part, Sketch

MAX_PARTS: Final = 6
"""Steps of the saga that is begun; those that it runs have fewer."""

MAX_DEPTH: Final = 3
"""Generations: a saga, those that it runs, and those that they run."""

_KINDS: st.SearchStrategy[Kind] = st.sampled_from(
    ("step", "step", "step", "step", "step", "check", "wait", "sleep")
)
_KINDS_OR_SAGAS: st.SearchStrategy[Kind] = st.sampled_from(
    ("step", "step", "step", "step", "step", "check", "wait", "sleep", "saga", "saga")
)
_SELDOM: Final = st.sampled_from([False, False, False, True])
_OFTEN: Final = st.sampled_from([False, True, True])


@st.composite
def sketches(draw: st.DrawFn, depth: int = MAX_DEPTH, *, pivot: bool | None = None) -> Sketch:
    """Stretches of steps side by side; between them save-points, and the pivot.

    Args:
        pivot: whether it is to have one; None: perhaps.
    """
    if pivot is None:
        pivot = draw(st.booleans())
    if not pivot and draw(_SELDOM):
        return _holds(draw)
    drawing = _Drawing(draw, depth)
    count = draw(st.integers(1, MAX_PARTS if depth == MAX_DEPTH else MAX_PARTS - 2))
    early = draw(st.integers(0, count - 1)) if pivot else count
    for index in range(early):
        if index + 1 < early and draw(st.sampled_from([False] * 4 + [True])):
            drawing.gate("point")
        else:
            drawing.step(late=False)
    if pivot:
        drawing.gate("pivot")
        for _ in range(early + 1, count):
            drawing.step(late=True)
    return Sketch(
        tuple(drawing.parts),
        deadline=draw(st.sampled_from([None] * 5 + [3, 20, 60])),
        on_failed_undo=draw(st.sampled_from(OnFailedUndo)),
        parallel=draw(_SELDOM),
    )


def _holds(draw: st.DrawFn) -> Sketch:
    parts: list[Part] = []
    for index in range(draw(st.integers(1, 3))):
        known = [part.name for part in parts]
        after = (
            draw(st.none() | st.sets(st.sampled_from(known)).map(sorted).map(tuple))
            if known
            else None
        )
        retry = draw(retries.filter(lambda one: one is None or one.attempts is not None))
        parts.append(Part(f"h{index}", "hold", after, retry=retry, timeout=draw(st.integers(1, 9))))
    return Sketch(tuple(parts), tcc=True)


class _Drawing:
    """A saga in the making."""

    def __init__(self, draw: st.DrawFn, depth: int) -> None:
        self.parts: list[Part] = []
        self._draw: st.DrawFn = draw
        self._depth = depth
        self._before: dict[str, set[str]] = {}
        self._side: list[str] = []
        """Since the last gate."""
        self._ends: list[str] = []
        """That nothing comes after."""
        self._gate: str | None = None
        self._members: set[str] = set()

    def step(self, *, late: bool) -> None:
        draw = self._draw
        kind = draw(_KINDS_OR_SAGAS if self._depth > 1 else _KINDS)
        free = [name for name in self._side if name not in self._members]
        after, join = self._after(free, late=late)
        runs = None
        if kind == "saga":
            runs = draw(sketches(self._depth - 1, pivot=False))  # one that has it stands at ours
        before = self._known(after)
        lists = kind in ("step", "check") and join is None and draw(_SELDOM)
        asks = kind in ("step", "check", "saga")
        reads = self._reads(before) if asks else ()
        self._add(
            Part(
                f"{'abcdefghijkl'[len(self.parts)]}",
                "step" if runs else kind,
                after,
                join,
                reads=reads,
                timeout=draw(st.integers(1, 9) if runs is None else st.sampled_from([5, 60, 300])),
                retry=draw(retries) if asks and runs is None else self._child_retry(runs),
                undo_retry=draw(retries),
                undo_reads=draw(st.booleans()),
                stuck=kind == "step" and not late and draw(_SELDOM),
                when=self._when(before),
                each=draw(st.integers(1, 2)) if lists else None,
                goes_on=kind == "wait" and draw(st.booleans()),
                south=draw(st.booleans()),
                runs=runs,
            )
        )

    def gate(self, kind: Kind) -> None:
        """All that was comes before it, all that will be after it."""
        draw = self._draw
        ends = tuple(self._ends)
        join = self._join(ends) if draw(_SELDOM) else None
        before = {part.name for part in self.parts}
        name = f"{'abcdefghijkl'[len(self.parts)]}"
        runs = None
        if kind == "pivot" and self._depth > 1 and draw(_SELDOM):
            runs = draw(sketches(self._depth - 1, pivot=True))
        self._add(
            Part(
                name,
                kind,
                ends,
                join,
                reads=self._reads(before) if kind == "pivot" else (),
                timeout=draw(st.integers(1, 9)),
                retry=draw(retries) if kind == "pivot" and runs is None else None,
                ways=draw(st.integers(2, 3)) if kind == "point" else 0,
                runs=runs,
            )
        )
        self._gate, self._side, self._ends = name, [], [name]

    # ── what it comes after, and what it takes ───────────────────────────────────────────────────

    def _after(self, free: list[str], *, late: bool) -> tuple[tuple[str, ...] | None, str | None]:
        draw = self._draw
        open_ = [name for name in self._ends if name in self._side]
        if open_ and not late and draw(_SELDOM):
            ends = draw(st.sets(st.sampled_from(open_), min_size=1).map(sorted).map(tuple))
            join = self._join(ends)
            if join is not None:
                return ends, join
        chosen = draw(st.sets(st.sampled_from(free)).map(sorted).map(tuple)) if free else ()
        if not chosen and self._gate is not None:
            chosen = (self._gate,)
        return chosen, None

    def _join(self, members: tuple[str, ...]) -> str | None:
        """A quorum of steps that nobody else needs."""
        lists = {part.name for part in self.parts if part.each is not None or part.kind == "point"}
        after = {one for part in self.parts if not part.join for one in part.after or ()}
        if not members or lists & {*members} or after & {*members}:
            return None
        self._members |= {*members}
        call = self._draw(st.sampled_from(["quorum", "gather"]))
        return f"{call} {self._draw(st.integers(1, len(members)))}"

    def _known(self, after: tuple[str, ...] | None) -> set[str]:
        return set(after or ()).union(*(self._before[name] for name in after or ()))

    def _reads(self, before: set[str]) -> tuple[str, ...]:
        mute = {part.name for part in self.parts if part.kind == "sleep"}
        known = sorted(before - mute)
        return (
            tuple(sorted(self._draw(st.sets(st.sampled_from(known), max_size=2)))) if known else ()
        )

    def _when(self, before: set[str]) -> str | None:
        draw = self._draw
        if not draw(_SELDOM):
            return None
        points = [part for part in self.parts if part.ways and part.name in before]
        if draw(st.booleans()) and points:
            point = draw(st.sampled_from(points))
            return f"way {point.name} {draw(st.integers(1, point.ways))}"
        mute = {part.name for part in self.parts if part.kind in ("sleep", "point")}
        known = sorted(before - mute)
        if draw(_OFTEN) and known:
            return f"{draw(st.sampled_from(['lack', 'have']))} {draw(st.sampled_from(known))}"
        return draw(st.sampled_from(["yes", "no"]))

    def _child_retry(self, runs: Sketch | None) -> Retry | None:
        return self._draw(retries) if runs is not None and self._draw(_SELDOM) else None

    def _add(self, part: Part) -> None:
        after = part.after or ()
        self._before[part.name] = self._known(after)
        self._ends = [name for name in self._ends if name not in after]
        self.parts.append(part)
        self._side.append(part.name)
        self._ends.append(part.name)
