"""What happened in a simulated world, in order; and how it reads."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import structlog

from es_saga.core.events import SagaEvent
from es_saga.core.gist import gist
from es_saga.core.messages import Envelope
from es_saga.testing.faults import Fault, FaultPlan, Kind, Moment
from es_saga.testing.simulation.loop import EPOCH, SimulatedLoop
from es_saga.testing.story import Effect, Violation

MAX_LINE_CHARS: Final = 120
"""Longest line of a timeline; what is longer ends in `…`."""


class What:
    """The sorts of notes. Plain strings: members of an `Enum` take longer to name."""

    WRITTEN: Final = "events were appended"
    REFUSED: Final = "the log refused: others were first"
    SENT: Final = "a message was handed to the broker"
    EFFECT: Final = "a participant did it"
    FAULT: Final = "something went wrong, as planned"
    LIFE: Final = "a process came or went"
    DEAD_LETTER: Final = "a message was put aside"
    TOLD: Final = "what a process logged"


class Written(NamedTuple):
    """Events that were appended to a saga's history."""

    saga_id: str
    version: int
    """Of the first of them."""
    events: Sequence[SagaEvent]


class Note(NamedTuple):
    """One thing that happened."""

    at: float
    who: str
    what: str
    about: Any
    """WRITTEN: `Written`; SENT: an envelope; EFFECT: an effect; FAULT: a fault; else a string."""


Pending = dict[str, list[Fault]]
"""Faults that are still to strike, by place; those at a version of a saga, by saga."""


def _by_place(faults: Iterable[Fault]) -> defaultdict[Moment, Pending]:
    places: defaultdict[Moment, Pending] = defaultdict(dict)
    for fault in faults:
        moment, place = fault.kind.moment, fault.at
        if moment in (Moment.WRITING, Moment.WRITTEN):
            place = place.partition("#")[0]
        places[moment].setdefault(place, []).append(fault)
    return places


class Journal:
    """Everything that happened, and the faults that are still to strike."""

    def __init__(self, plan: FaultPlan, loop: SimulatedLoop) -> None:
        self.notes: list[Note] = []
        self.happened: Counter[Kind] = Counter()
        """Faults that have struck."""
        self.met: Counter[str] = Counter()
        """What nobody planned and yet came about: conflicts, late answers, messages sent again."""
        self.troubles: list[str] = []
        """Exceptions that the engine caught and logged: it should have had none."""
        self.objections: dict[Violation, None] = {}
        """What participants were found to do wrong, and what invariants objected to."""
        self._loop = loop
        pending = _by_place(plan.faults)
        self.travelling = pending[Moment.TRAVELLING]
        self.handling = pending[Moment.HANDLING]
        self.publishing = pending[Moment.PUBLISHING]
        self.settling = pending[Moment.SETTLING]
        self.writing = pending[Moment.WRITING]
        self.written = pending[Moment.WRITTEN]

    def note(self, who: str, what: str, about: object) -> None:
        self.notes.append(Note(self._loop.now, who, what, about))

    def complain(self, law: str, saga_id: str, why: str) -> None:
        """Something is not as it should be; once is enough."""
        found = Violation(law, saga_id, None, why)
        if found not in self.objections:
            self.objections[found] = None
            self.note(law, What.TOLD, f"{saga_id} {why}".strip())

    # ── faults ───────────────────────────────────────────────────────────────────────────────────

    def reached(
        self, pending: Pending, saga_id: str, version: int, *, stuck: bool = False
    ) -> Sequence[Fault]:
        """Take the faults of a saga whose history has come so far; one at a time where stuck."""
        waiting = pending.get(saga_id)
        if not waiting:
            return ()
        due: list[Fault] = []
        left: list[Fault] = []
        for fault in waiting:
            when = fault.at.partition("#")[2]
            if when == "stuck":
                now, stuck = stuck, False
            else:
                now = int(when) <= version
            (due if now else left).append(fault)
        pending[saga_id] = left
        return due

    def strikes(self, fault: Fault, who: str) -> None:
        """It does."""
        self.happened[fault.kind] += 1
        self.note(who, What.FAULT, fault)

    # ── logs ─────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def listening(self) -> Generator[None]:
        """Take in what the processes log, instead of printing it."""
        # In place, as structlog's own `capture_logs` does: loggers in use keep the list.
        processors = structlog.get_config()["processors"]
        before = list(processors)
        processors[:] = [self._take]
        try:
            yield
        finally:
            processors[:] = before

    def _take(self, _logger: object, method: str, event: structlog.typing.EventDict) -> str:
        name = str(event.pop("event"))
        if method == "exception" or event.pop("exc_info", None):
            error = sys.exc_info()[1]
            told = f"{name}: {type(error).__name__}: {error}" if error else name
            self.troubles.append(told)
        else:
            fields = ", ".join(f"{key}={value}" for key, value in event.items())
            told = f"{name} {fields}".strip()
        if method not in ("info", "debug"):
            self.note("log", What.TOLD, told)
        raise structlog.DropEvent


# ── as a person reads it ─────────────────────────────────────────────────────────────────────────


def timeline(notes: Sequence[Note], *, saga_id: str | None = None) -> str:
    """One line a note: seconds since the beginning, who, what; faults begin with `!`.

    Args:
        saga_id: leave out what concerns other sagas only.
    """
    told = [note for note in notes if saga_id is None or _concerns(note, saga_id)]
    width = max((len(note.who) for note in told), default=0)
    lines: list[str] = []
    for note in told:
        mark = "!" if note.what is What.FAULT else " "
        head = f"{mark}{note.at - EPOCH:10.3f}  {note.who:{width}}  "
        lines += [_shorten(f"{head}{line}") for line in _lines(note)]
    return "\n".join(lines)


def _shorten(line: str) -> str:
    return line if len(line) <= MAX_LINE_CHARS else f"{line[: MAX_LINE_CHARS - 1]}…"


def _concerns(note: Note, saga_id: str) -> bool:
    about = note.about
    if isinstance(about, Written | Effect):
        return about.saga_id == saga_id
    if isinstance(about, Envelope):
        return about.sagaid == saga_id
    if isinstance(about, Fault):
        return about.at.startswith((f"{saga_id}/", f"{saga_id}#")) or about.kind.name.startswith(
            ("DIES", "LOG", "CLOCK", "USURPED", "RELEASED", "WITHDRAWN")
        )
    return note.what is What.LIFE or saga_id in str(about)


def _lines(note: Note) -> Iterator[str]:
    about = note.about
    if isinstance(about, Written):
        for version, event in enumerate(about.events, about.version):
            step: str | None = getattr(event, "step", None)
            told = [f"{about.saga_id}#{version}", type(event).__name__, step, gist(event)]
            yield " ".join(part for part in told if part)
    elif isinstance(about, Envelope):
        outcome = f" {about.outcome}" if about.outcome else ""
        yield f"sends {about.id}: {about.type}{outcome}"
    elif isinstance(about, Effect):
        yield f"DID {about.command_id}"
    else:
        yield str(about)
