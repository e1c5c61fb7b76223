"""What became of a simulated world: its sagas' stories, what the laws say of them, how it reads."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from es_saga.adapters.codec import encode
from es_saga.core.errors import CorruptHistory
from es_saga.core.events import SagaCompensated, SagaCompleted
from es_saga.core.messages import Envelope
from es_saga.core.state import SagaState
from es_saga.engine.alerts import Alert
from es_saga.engine.requests import HEARD_TYPE
from es_saga.testing.begin import Begin
from es_saga.testing.faults import FaultPlan, Kind
from es_saga.testing.laws import LAWS, judge_system
from es_saga.testing.script import script
from es_saga.testing.simulation.journal import Note, What, timeline
from es_saga.testing.simulation.log import Log
from es_saga.testing.simulation.loop import unswept
from es_saga.testing.story import Effect, Judgement, Reservation, Story, System, Violation

if TYPE_CHECKING:
    from es_saga.testing.world import World

_CLOCKS = ("L22",)
"""Laws that compare the time of an effect with the time of an event: different machines'."""

_ENDS = (SagaCompleted, SagaCompensated)

_RESTARTS = ("DIES", "LOG", "RELEASED", "WITHDRAWN")
"""Kinds of faults after which a manager knows what it knew from the log alone."""

_UNREADABLE = frozenset({Kind.GARBLED, Kind.POISON})
"""Faults that send a saga what nobody can read."""


@dataclass(frozen=True, eq=False, repr=False)
class Outcome:
    """A world after its run."""

    world: World
    begins: tuple[Begin, ...]
    plan: FaultPlan
    log: Log
    notes: Sequence[Note]
    """Everything that happened, in order."""
    effects: Sequence[Effect]
    """What participants did, in order."""
    alerts: Sequence[Alert]
    happened: Counter[Kind]
    """Faults that struck; those of the plan that found nothing to strike are not among them."""
    met: Counter[str]
    """What came about without being planned: conflicts, repeated answers, and the like."""
    troubles: Sequence[str]
    """Exceptions inside the engine, where there should be none."""
    objections: Sequence[Violation]
    """What participants did wrong, and what invariants of their data object to."""
    reservations: Sequence[Reservation]
    """What participants held, and what became of it."""
    totals: Mapping[str, Sequence[int]]
    """What must never change, and every value that it had."""
    finished: bool
    """Every saga closed or stuck, and every message settled. What participants do wrong ends a
    world before that."""
    seconds: float
    """Simulated time that passed."""

    @property
    def states(self) -> dict[str, SagaState]:
        """Every saga as it is in the end, by id."""
        return self.log.states

    @cached_property
    def stories(self) -> tuple[Story, ...]:
        """Each saga's story, in the order in which they were to begin; then of those they ran."""
        effects: defaultdict[str, list[Effect]] = defaultdict(list)
        for effect in self.effects:
            effects[effect.saga_id].append(effect)
        sent: defaultdict[str, list[Envelope]] = defaultdict(list)
        for note in self.notes:
            if note.what is What.SENT and note.about.replyto is not None:
                sent[note.about.sagaid].append(note.about)
        begun = {begin.saga_id for begin in self.begins}
        children = (
            Begin(saga_id, state.origin.saga_type, state.origin.data)
            for saga_id, state in self.states.items()
            if saga_id not in begun
        )
        return tuple(
            Story(
                self.world.definition_of(begin, self.states.get(begin.saga_id)),
                begin.saga_id,
                self.log.history(begin.saga_id),
                effects[begin.saga_id],
                sent[begin.saga_id],
            )
            for begin in (*self.begins, *children)
        )

    @cached_property
    def system(self) -> System:
        """All there is to judge."""
        rebuilt = self._rebuilt
        kept = [(saga_id, version, kind) for saga_id, version, _, _, kind, *_ in self.log.audit]
        crashed = any(kind.name.startswith(_RESTARTS) for kind in self.happened)
        return System(
            self.stories,
            log=[row for part in self.log.recorded() for row in part],
            # What is open stands in the process: its alerts go with it, those in the views do not.
            alerts=None if crashed or self.plan.managers > 1 else self.alerts,
            status=_rows(self.log.status),
            rebuilt=None if isinstance(rebuilt, CorruptHistory) else _rows(rebuilt),
            audit=kept,
            rebuilding=self._sent_for_the_closed(),
            reservations=self.reservations if self.finished else None,
            totals=self.totals,
            poisoned=frozenset(
                note.about.at.partition("/")[0]
                for note in self.notes
                if note.what is What.FAULT and note.about.kind in _UNREADABLE
            ),
            settled=self.finished or not self.objections,
        )

    def _sent_for_the_closed(self) -> Sequence[Envelope] | None:
        """What managers that came back sent for sagas that had been closed before that.

        Such a saga they know from the log alone: who sends for it does so by a rebuild (law L39).
        None: no manager came back.
        """
        closed: set[str] = set()
        known: dict[str, frozenset[str]] = {}
        sent: list[Envelope] = []
        for note in self.notes:
            if note.what is What.WRITTEN:
                if any(isinstance(event, _ENDS) for event in note.about.events):
                    closed.add(note.about.saga_id)
            elif not note.who.startswith("manager"):
                continue
            elif note.what is What.LIFE:
                known[note.who] = frozenset(closed)
            elif note.what is What.SENT and _of(note.about) in known.get(note.who, ()):
                sent.append(note.about)
        if not known:
            return None
        return [message for message in sent if message.type != HEARD_TYPE]  # that is passed on

    @cached_property
    def _rebuilt(self) -> Mapping[str, tuple[object, ...]] | CorruptHistory:
        """The status view, made anew; or why it cannot be: that is a finding, too."""
        try:
            return self.log.rebuilt()
        except CorruptHistory as error:
            return error

    @cached_property
    def judgement(self) -> Judgement:
        """What the laws say; where a clock jumped, but for those that compare clocks."""
        skewed = _CLOCKS if self.happened[Kind.CLOCK_JUMPS] else ()
        laws = [law for law in LAWS if law.number not in skewed]
        with unswept():
            return judge_system(self.system, of_stories=laws)

    @cached_property
    def findings(self) -> tuple[Violation, ...]:
        """Everything that should not be: broken laws, wrong data, exceptions inside the engine."""
        inside = [Violation("engine", "", None, trouble) for trouble in self.troubles]
        if isinstance(self._rebuilt, CorruptHistory):
            inside.append(Violation("L38", "", None, self._rebuilt.message))
        if not self.finished and self.log.over and not self.objections:
            inside.append(Violation("engine", "", None, "messages come again and again for ever"))
        return (*self.objections, *self.judgement.violations, *inside)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that happened, in order, to the byte."""
        digest = hashlib.sha256()
        for part in self.log.recorded():
            for row in part:
                topic, payload = encode(row.event)
                digest.update(f"{row.part} {row.position} {row.saga_id} {topic} ".encode())
                digest.update(payload)
        digest.update(self.timeline().encode())
        digest.update(repr(sorted(self.log.status.items())).encode())
        return digest.hexdigest()

    # ── as a person reads it ─────────────────────────────────────────────────────────────────────

    def timeline(self, saga_id: str | None = None) -> str:
        """One line for everything that happened; what went wrong as planned begins with `!`.

        Args:
            saga_id: leave out what concerns other sagas only.
        """
        return timeline(self.notes, saga_id=saga_id)

    def script(self, setup: str | None = None) -> str:
        """This very run as a Python file that runs by itself, and exits with 1 on a finding.

        Args:
            setup: lines that define `sagas`, where they are not found in a module.

        Raises:
            InvalidInput: the saga types stand in no module, and no `setup` was given.
        """
        return script(self, setup)

    def __str__(self) -> str:
        """The verdict, the faults, and the timeline: of one saga if one alone breaks a law."""
        found = self.findings
        sagas = {finding.saga_id for finding in found if finding.saga_id}
        only = next(iter(sagas)) if len(sagas) == 1 else None
        verdict = [str(finding) for finding in found] or [self._verdict()]
        struck = [f"  {note.about}" for note in self.notes if note.what is What.FAULT]
        struck += [f"  {command}: {most} to be had at a time" for command, most in self.plan.scarce]
        return "\n".join(
            [*verdict, "", "Faults that struck:", *(struck or ["  none"]), "", self.timeline(only)]
        )

    def _verdict(self) -> str:
        ends = Counter(state.status.value for state in self.states.values())
        told = ", ".join(f"{number} {status}" for status, number in sorted(ends.items()))
        return f"{len(self.begins)} sagas: {told}; {len(self.judgement.applied)} laws hold."


def _of(sent: Envelope) -> str | None:
    """The saga that a manager sends for; the answer of a child names its parent."""
    return sent.sagaid if sent.outcome is None else None


def _rows(rows: Mapping[str, tuple[object, ...]]) -> dict[str, dict[str, object]]:
    """The status view's rows; its first column is the status."""
    return {saga_id: {"status": row[0], "row": row} for saga_id, row in rows.items()}
