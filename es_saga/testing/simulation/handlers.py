"""Participants that are served by their own handlers: the participant kit, in a simulated process.

    delivery ─► Server ─► Worker ─► Runner ─► handler: its SQL and the fence's row, one transaction

All of that is the kit's own code; only the thread is missing (`serving`). The database is made by
the kit's `create_tables`, and outlives the process: SQLite in memory (`in_memory`), or for those
that prepare transactions a real PostgreSQL, which keeps what is in doubt while the process is dead
(`on_postgres`). What goes wrong strikes where it would: a refusal, of a type that the handler
declares, or a failure stands in for the handler, who dies before the effect dies before the commit,
and an answer is spoilt on its way.

An effect is a run of a handler that was committed; of an undo, if it wrote something, or had
nothing to undo.

A handler may refuse, ask to wait (`Unavailable`), give up (`Terminal`), violate a key. Whatever
else it raises is told as the participant's fault, at an undo all but `Unavailable`; so are an
answer that its command does not promise, a transaction that the handler ends, a check that writes.
In a simulated world there is no network, no thread, and no SQL but the database's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, NoReturn

from sqlalchemy.exc import IntegrityError

from es_saga.core.errors import Terminal, Unavailable
from es_saga.core.messages import Envelope, Outcome, Refusal
from es_saga.participant.ending import Ending
from es_saga.participant.fence import Record, Rule, Status, is_undo, look, remember
from es_saga.participant.job import Job
from es_saga.participant.kit import Participant
from es_saga.participant.reply import BadReply
from es_saga.testing.faults import Fault, Kind
from es_saga.testing.simulation.databases import Database
from es_saga.testing.simulation.effects import Effects
from es_saga.testing.simulation.journal import Journal, What
from es_saga.testing.simulation.log import Log
from es_saga.testing.simulation.mistakes import named, place, said
from es_saga.testing.simulation.network import Network
from es_saga.testing.simulation.process import Process
from es_saga.testing.simulation.services import ByHand, made_up, planned_error
from es_saga.testing.simulation.serving import WorldServer

MAX_FAILURES: Final = 50
"""A handler that has failed at one command more often than this will never succeed."""


class Refused(Refusal):
    """What a command is refused with whose handler does not say what it returns."""

    why: str = "as planned"


class _Run(NamedTuple):
    """A handler has been run, and the transaction is open."""

    command: Envelope
    done: bool
    wrote: bool


class HandlerService:
    """One participant with its database, and the processes that serve it one after the other.

    Args:
        refusals: what commands are refused with, see `refusals_of`.
        committed: called after each transaction.
    """

    def __init__(
        self,
        participant: Participant,
        database: Database,
        network: Network,
        log: Log,
        *,
        refusals: Mapping[str, type[Refusal] | None],
        effects: Effects,
        committed: Callable[[], None],
    ) -> None:
        self.participant = participant
        self.name = participant.name
        self.database = database
        self.network = network
        self.inside = False
        """A handler is at work, perhaps awaiting something: its transaction is open."""
        self._journal: Journal = network.journal
        self._log = log
        self._effects = effects
        self._committed = committed
        self._refusals = refusals
        self._runs: dict[str, _Run] = {}
        """What was run in the open transaction, by message."""
        self._changed: set[str] = set()
        """Commands that wrote something."""
        self._failures: Counter[str] = Counter()
        if database.doubts is not None:
            database.doubts.begin(network.loop.time)
        self.begin()

    def begin(self) -> None:
        """Serve, until the process dies; then it is begun again."""
        self.process = Process(self.name, self.network.loop, self._journal, self.begin)
        self.process.run(WorldServer(self).start())

    def end(self) -> None:
        """Serve no more, nor commit what is under way."""
        self.process.alive = False

    # ── before a handler runs ────────────────────────────────────────────────────────────────────

    def struck(self, message_id: str | None, *kinds: Kind) -> Fault | None:
        """Take a fault of one of these kinds that is planned for a message."""
        waiting = self._journal.handling.get(message_id or "", [])
        for fault in waiting:
            if fault.kind in kinds:
                waiting.remove(fault)
                self._journal.strikes(fault, self.name)
                return fault
        return None

    def plan(self, job: Job) -> None:
        """Have the handler stood in for, if the command is to be refused or to fail."""
        command, handling = job.envelope, job.handling
        assert handling is not None, "it was read"
        fault = self.struck(command.id, Kind.FAILED, Kind.FAILED_FOR_GOOD)
        if fault is not None:
            job.handling = replace(handling, fn=_raising(planned_error(fault)), is_async=False)
            return
        refusal = self._refusals.get(command.type, Refused)
        if refusal is None:
            return
        soon = sum(run.done and run.command.type == command.type for run in self._runs.values())
        spent = not is_undo(command) and self._effects.spent(command.type, soon)
        if self.struck(command.id, Kind.REFUSED) is None and not spent:
            return
        if spent:
            self._journal.met["refused for want"] += 1
        job.handling = replace(handling, fn=_returning(made_up(refusal)), is_async=False)

    # ── after it ran ─────────────────────────────────────────────────────────────────────────────

    def ran(self, command: Envelope, ending: Ending, *, wrote: bool) -> None:
        """A handler was run, and what it did is not committed yet."""
        done = ending.answer.outcome is Outcome.SUCCEEDED
        self._runs[command.id] = _Run(command, done, wrote)

    def rolled_back(self) -> None:
        """What was run was not done."""
        self._runs.clear()

    def committed(self, endings: Sequence[Ending]) -> None:
        """A transaction is committed: these commands were carried out, or were refused."""
        runs, self._runs = self._runs, {}
        for ending in endings:
            run = runs.get(ending.answer.causationid or "")
            if run is not None:
                self._settle(run)
        self._committed()

    def settled(self, left_by_the_dead: int) -> None:
        """What was prepared is committed or rolled back, perhaps after a death in between."""
        if left_by_the_dead:
            self._journal.met["in doubt after a death, and settled"] += left_by_the_dead
        self._committed()

    def is_back(self) -> None:
        """Look whether a process has settled, before anything else, what is decided."""
        doubts = self.database.doubts
        if doubts is not None:
            for hold, why in doubts.undone_decisions(self.database.connection):
                saga_id = hold.partition("/")[0]
                self._journal.complain("L73", saga_id, f"{self.name} is back, and {why}")

    def _settle(self, run: _Run) -> None:
        """Note the effect of a handler, if it had one.

        What was done, says the handler; and that an undo has not undone what was written shows
        where it writes nothing.
        """
        command, done, wrote = run
        key = command.commandid
        assert key is not None, "what has none was not let in"
        if self._log.looks(command):
            if wrote:
                self.blame(command, "it is a check, and its handler wrote something")
            return
        undoes = command.undoes if is_undo(command) else None
        if wrote:
            self._changed.add(key)
        if wrote or (done and undoes not in self._changed):
            self._effects.add(self.name, key, command.type, undoes=undoes)

    def met(self, rule: Rule) -> None:
        """A command came that was not to be carried out."""
        what = _MET.get(rule)
        if what is not None:
            self._journal.met[what] += 1

    def raised(self, job: Job, error: BaseException) -> None:
        """A handler raised, or its answer was none; whose fault that is."""
        command = job.envelope
        told = named(error)
        self._journal.note(self.name, What.TOLD, f"fails at {command.id}: {told}")
        handling = self.participant.commands.get(command.type)
        if handling is None or job.handling is handling:
            bears = (Unavailable,) if is_undo(command) else (Unavailable, Terminal, IntegrityError)
            self._failures[command.commandid or ""] += 1
            if isinstance(error, BadReply) or not isinstance(error, bears):
                assert job.handling is not None, "it was run"
                self.blame(command, f"{told}{place(error, job.handling.fn)}")
            elif self._failures[command.commandid or ""] > MAX_FAILURES:
                self.blame(command, f"fails again and again: {told}")

    def out_of_reach(self, job: Job, error: Exception) -> None:
        """Its database was: in a world that is nobody else's doing."""
        self.blame(job.envelope, f"its database was out of reach: {said(error)}")

    def blame(self, command: Envelope, why: str) -> None:
        """It is the participant that is wrong, and not the saga."""
        self._journal.complain(
            "participant", command.sagaid or "", f"{self.name}, asked to {command.type}: {why}"
        )

    # ── an operator at the participant's own screen ──────────────────────────────────────────────

    def settle_by_hand(
        self, key: str, command: str, *, undoes: str | None, do: bool
    ) -> ByHand | None:
        """Look what became of a command, and see to it that it never runs if it did not.

        What is to be done is left to the handler. See `Screen`.
        """
        if self.inside:
            return None
        with self.database.engine.begin() as connection:
            known = look(connection, [key]).get(key)
            if known is not None and known.status == Status.SUCCEEDED:
                return ByHand(True, known.reply)
            if do:
                return None
            if known is None:
                now = self.network.loop.now
                remember(connection, [Record(key, Status.UNDONE, None, None, now)])
            return ByHand(False)


_MET = {
    Rule.REPEAT: "repeated",
    Rule.TOO_LATE: "came after its undo",
    Rule.NEVER_RAN: "undone before it came",
}


def _raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object) -> NoReturn:
        raise error

    return fail


def _returning(refusal: Any) -> Callable[..., Any]:
    return lambda *_: refusal
