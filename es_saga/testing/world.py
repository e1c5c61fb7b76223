"""The simulated world: the real engine, model participants, and whatever can go wrong between them.

    outcome = World([order], seed=17).run(2)
    assert not outcome.findings, outcome

Process managers with relay, timers and views run on memory adapters, in an event loop that makes
its own time. One seed decides everything: the same seed gives the same run, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from es_saga.core.compiled import Definition
from es_saga.core.definition import Saga
from es_saga.core.errors import InvalidInput
from es_saga.core.events import Json
from es_saga.core.messages import Command, Message
from es_saga.core.state import SagaState
from es_saga.engine.manager import ProcessManager
from es_saga.participant.fence import judge as fence_rules
from es_saga.participant.kit import Participant
from es_saga.testing.begin import Begin
from es_saga.testing.cast import Cast, Databases
from es_saga.testing.faults import RATE, FaultPlan, draw
from es_saga.testing.invariants import Invariant, Total
from es_saga.testing.kin import family, with_children
from es_saga.testing.outcome import Outcome
from es_saga.testing.shrinking import fewest_sagas, shrink, simplify
from es_saga.testing.simulation.effects import Effects
from es_saga.testing.simulation.handlers import HandlerService
from es_saga.testing.simulation.journal import Journal
from es_saga.testing.simulation.listeners import ListenerService, Openings
from es_saga.testing.simulation.log import Log
from es_saga.testing.simulation.loop import EPOCH, SimulatedLoop
from es_saga.testing.simulation.managers import Make, Managers
from es_saga.testing.simulation.network import Network
from es_saga.testing.simulation.offspring import Offspring
from es_saga.testing.simulation.people import People
from es_saga.testing.simulation.services import Book, Fence, Service, made_up
from es_saga.testing.simulation.tellers import Teller, check_id_of

APART_SECONDS: Final = 1.0
"""Where newer releases may come, each saga begins so long after the one before: they take time."""

LIMIT_SECONDS: Final = 7 * 24 * 3600.0
"""Simulated seconds after which a world is stopped: what is not over then never will be."""

SETTLE_SECONDS: Final = 0.1
"""How long a world goes on after the end, so that everybody learns of it."""


class World:
    """Saga types, and what goes wrong while their sagas run.

    Args:
        sagas: the saga types; of several versions of one, new sagas begin with the latest.
        seed: decides the faults and the latencies.
        faults: the plan, instead of the one that the seed stands for.
        rate: how often commands meet with trouble in a plan that is drawn; 0 is a fair world.
        participants: those that are played by their own handlers and reactions, each on a database
            of its own: SQLite in memory, or PostgreSQL for those that prepare transactions; all
            others are models. See `es_saga.testing.simulation.handlers` and
            `es_saga.testing.simulation.listeners`.
        replies: what models answer, by command; what is not given is made up.
        invariant: asked of the participants' databases once all is settled; one or several.
        always: likewise, and besides after each of their transactions.
        constant: what must never change, asked after each of their transactions: the sum of what is
            available, reserved and consumed, say (law L75); one or several.
        residue: where every saga was undone, the participants' tables are to be as they were in the
            beginning, but for these tables (`"ledger"`) and columns (`"orders.status"`). None: they
            are not looked at.
        openings: what somebody does at a participant that begins a choreography, by its first
            event: a function of a connection to its database and of the event. Of others the event
            alone is added to the outbox.
        manager, fence: for tests of the kit itself, which put something faulty in their place.

    Raises:
        DefinitionError: a saga cannot be run.
        InvalidInput: no answer of a model could be made up; a participant has no handler for what
            it is asked; there is no such residue.
    """

    def __init__(
        self,
        sagas: Sequence[Saga[Any] | Definition],
        *,
        seed: int = 0,
        faults: FaultPlan | None = None,
        rate: float = RATE,
        participants: Iterable[Participant] = (),
        replies: Mapping[type[Command[Any]], Message] | None = None,
        invariant: Invariant | Sequence[Invariant] = (),
        always: Invariant | Sequence[Invariant] = (),
        constant: Total | Sequence[Total] = (),
        residue: Collection[str] | None = None,
        openings: Openings | None = None,
        manager: Make = ProcessManager,
        fence: Fence = fence_rules,
    ) -> None:
        self.sagas = tuple(sagas)
        self.manager = manager
        self.fence = fence
        given = [one.definition if isinstance(one, Saga) else one for one in sagas]
        self.definitions = with_children(given)
        self._given = {definition.name for definition in given}
        self._seed = seed
        self._faults = faults
        self._rate = rate
        self.replies = dict(replies or {})
        self.cast = Cast(
            participants,
            self.definitions,
            invariant=invariant,
            always=always,
            constant=constant,
            residue=residue,
        )
        self._openings = dict(openings or {})
        self._book = Book(self.definitions, self.replies, self.cast.participants)
        by_version = sorted(self.definitions, key=lambda definition: definition.version)
        self._types = {definition.name: definition for definition in by_version}

    def run(self, sagas: int | Iterable[Begin] = 1, *, faults: FaultPlan | None = None) -> Outcome:
        """Run sagas until each is closed or stuck and no message is on its way.

        Args:
            sagas: which ones; or how many of each type, with inputs that are made up.
            faults: the plan, instead of the world's own.

        Raises:
            InvalidInput: a choreography has an id that no event can name.
        """
        begins = self._begins(sagas)
        return self._play(begins, faults or self._faults or self._plan(self._seed, begins))

    def search(
        self, seeds: Iterable[int], sagas: int | Iterable[Begin] = 1, *, law: str | None = None
    ) -> Outcome | None:
        """The first run of these seeds with a finding, made smaller. None: nothing was found.

        Args:
            law: its number, to look for breaches of one law only.
        """
        begins = self._begins(sagas)
        for seed in seeds:
            outcome = self._play(begins, self._plan(seed, begins))
            broken = {finding.law for finding in outcome.findings}
            if broken if law is None else law in broken:
                return self.smaller(outcome, law=law)
        return None

    def definition_of(self, begin: Begin, state: SagaState | None) -> Definition:
        """The one that a saga runs on, or would begin with."""
        if state is None:
            return self._types[begin.saga_type]
        origin = state.origin
        wanted = (origin.saga_type, origin.definition)
        return next(one for one in self.definitions if (one.name, one.version) == wanted)

    # ── what a run is made of ────────────────────────────────────────────────────────────────────

    def _begins(self, sagas: int | Iterable[Begin]) -> tuple[Begin, ...]:
        if not isinstance(sagas, int):
            given = tuple(sagas)
            for begin in given:
                check_id_of(self._types[begin.saga_type], begin.saga_id)
            return given
        apart = APART_SECONDS if len(self.definitions) > len(self._types) else 0.0
        return tuple(
            Begin(f"{name}-{number}", name, data, apart * (number - 1))
            for name, data in self._made_up().items()
            if name in self._given
            for number in range(1, sagas + 1)
        )

    def _words(self, begin: Begin) -> list[Json]:
        """What to ask for it with: its input, and one for each version that does not take that."""
        versions = [one for one in self.definitions if one.name == begin.saga_type]
        foreign = [one for one in versions if one.conducted and not _takes(one, begin.data)]
        if len(foreign) == len(versions):
            return [begin.data]
        return [begin.data, *(made_up(one.data).model_dump(mode="json") for one in foreign)]

    def _plan(self, seed: int, begins: Sequence[Begin]) -> FaultPlan:
        pairs = [
            pair
            for begin in begins
            for definition in self.definitions
            if definition.name == begin.saga_type
            for pair in family(begin.saga_id, definition)
        ]
        releases = len(self.definitions) - len(self._types)
        return draw(seed, pairs, rate=self._rate, releases=releases)

    def _play(self, begins: Sequence[Begin], plan: FaultPlan) -> Outcome:
        loop = SimulatedLoop()
        journal = Journal(plan, loop)
        network = Network(loop, journal, plan.seed)
        log = Log(loop, journal, self.definitions)
        effects = Effects(journal, loop, dict(plan.scarce))
        log.committed = Offspring(effects).committed
        with journal.listening(), loop.running(), self.cast.ready(plan.seed) as databases:
            totals: dict[str, list[int]] = {}
            self.cast.measure(databases, totals)
            played: list[HandlerService | ListenerService] = []

            def committed() -> None:
                """Ask what must always hold; a service that is at work cannot be looked at."""
                if journal.objections or any(service.inside for service in played):
                    return
                self.cast.measure(databases, totals)
                for law, why in self.cast.in_the_middle(databases, log.states):
                    journal.complain(law, "", why)

            services = self._services(network, log, effects, databases, committed)
            tellers = self._tellers(network, effects, databases, committed)
            everybody = (*services.values(), *tellers.values())
            own = (HandlerService, ListenerService)
            played += [service for service in everybody if isinstance(service, own)]
            people = People(network, log, self._types, services, tellers)
            managers = Managers(
                plan,
                self.definitions,
                [begin.saga_id for begin in begins],
                make=self.manager,
                log=log,
                network=network,
                people=people,
            )
            for begin in begins:
                people.begin(begin, self._words(begin))

            def over() -> bool:
                done = all(begin.saga_id in log.states for begin in begins) and log.over
                return done and not people.busy and network.quiet

            def wrong() -> bool:
                return bool(journal.objections or loop.errors)

            # What is wrong already may never settle, and need not: it is found.
            loop.play(lambda: over() or wrong(), EPOCH + LIMIT_SECONDS)
            finished = over()
            loop.play(wrong, loop.now + SETTLE_SECONDS)
            log.catch_up()
            if finished:
                self.cast.measure(databases, totals)
                for law, why in self.cast.in_the_end(databases, log.states, wrong=wrong()):
                    journal.complain(law, "", why)
            reservations = tuple(self.cast.reservations(databases, loop.now))
            notes = list(journal.notes)
            for service in everybody:
                service.end()
            loop.end()
        return Outcome(
            world=self,
            begins=tuple(begins),
            plan=plan,
            log=log,
            notes=notes,
            effects=effects.all,
            alerts=managers.alerts,
            happened=journal.happened,
            met=journal.met,
            troubles=[*journal.troubles, *loop.errors],
            objections=tuple(journal.objections),
            reservations=reservations,
            totals=totals,
            finished=finished,
            seconds=loop.now - EPOCH,
        )

    def _services(
        self,
        network: Network,
        log: Log,
        effects: Effects,
        databases: Databases,
        committed: Callable[[], None],
    ) -> dict[str, Service | HandlerService]:
        """Those who answer: handlers where there are any, models else."""
        services: dict[str, Service | HandlerService] = {}
        for name in self._book.services:
            participant = self.cast.participants.get(name)
            if participant is None:
                services[name] = Service(
                    name, self._book, network, log, fence=self.fence, effects=effects
                )
            else:
                services[name] = HandlerService(
                    participant,
                    databases[name],
                    network,
                    log,
                    refusals=self.cast.refusals,
                    effects=effects,
                    committed=committed,
                )
        return services

    def _tellers(
        self,
        network: Network,
        effects: Effects,
        databases: Databases,
        committed: Callable[[], None],
    ) -> dict[str, Teller | ListenerService]:
        """The services of flows that nobody conducts: by their reactions, models else."""
        watched = [one for one in self._types.values() if not one.conducted]
        names = dict.fromkeys(by for one in watched for by, _ in one.correlations)
        tellers: dict[str, Teller | ListenerService] = {}
        for name in names:
            participant = self.cast.participants.get(name)
            if participant is None:
                tellers[name] = Teller(name, watched, network, effects)
            else:
                tellers[name] = ListenerService(
                    participant,
                    databases[name],
                    network,
                    watched,
                    openings=self._openings,
                    effects=effects,
                    committed=committed,
                )
        return tellers

    def smaller(self, outcome: Outcome, *, law: str | None = None) -> Outcome:
        """A finding with less around it: fewer sagas, fewer faults.

        Args:
            law: what must remain; if not given, a breach of one of the laws that were broken.
        """
        laws = {finding.law for finding in outcome.findings} if law is None else {law}

        def fails(begins: Sequence[Begin], plan: FaultPlan) -> bool:
            found = self._play(begins, plan).findings
            return any(finding.law in laws for finding in found)

        plain = self._plain(outcome.begins)
        begins = plain if fails(plain, outcome.plan) else outcome.begins
        plan = outcome.plan
        for _ in range(2):  # fewer faults may need fewer sagas
            begins = fewest_sagas(begins, partial(fails, plan=plan))
            plan = shrink(plan, partial(fails, begins))
        begins = simplify(begins, self._plain(begins), partial(fails, plan=plan))
        return self._play(begins, plan)

    def _plain(self, begins: Sequence[Begin]) -> Sequence[Begin]:
        """The same sagas, with inputs that are made up."""
        made = self._made_up()
        return [begin._replace(data=made[begin.saga_type]) for begin in begins]

    def _made_up(self) -> dict[str, Json]:
        """An input for each saga type."""
        return {
            name: made_up(definition.data).model_dump(mode="json")
            for name, definition in self._types.items()
        }


def _takes(definition: Definition, data: Json) -> bool:
    try:
        definition.check_input(data)
    except InvalidInput:
        return False
    return True


__all__ = ["Begin", "World"]
