"""What must be true of sagas of every style: the laws, judged by the real logs and real ledgers."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter

import sqlalchemy as sa

from es_saga import App
from es_saga.adapters.codec import decode
from es_saga.adapters.rebuild import verify as rebuild
from es_saga.adapters.tables import EVENTS
from es_saga.cli.views import kept
from es_saga.core.aggregate import SagaState, evolve, start
from es_saga.core.events import SagaEvent, SagaStarted
from es_saga.core.messages import Direction, parse_command_id
from es_saga.engine.alerts import causes
from es_saga.engine.ports import Recorded
from es_saga.projections.alerts import TABLES
from es_saga.projections.status import STATUS
from es_saga.projections.verification import verify
from es_saga.testing import Effect, Story, System, judge_system
from es_saga.testing.simulation.effects import Effects
from es_saga.testing.simulation.offspring import Offspring
from tests.chaos.shop import OPENING, Ledger
from tests.chaos.siege import Siege
from tests.chaos.unreliable import COPY

_COPIED = re.compile(rf"{COPY}\d+")

States = Mapping[str, SagaState]


class Reckoning:
    """What is in the databases when all is over."""

    def __init__(self, siege: Siege, app: App, ledgers: Mapping[str, Ledger]) -> None:
        self._siege = siege
        self._app = app
        self._log = siege.engine("log")
        self.recorded = list(_recorded(self._log))
        self.effects: list[Effect] = []
        self._children = _Children()
        self.states = self._states()
        self.net: Counter[str] = Counter()
        """Units that each service has handed out."""
        self.broken = [*self._ledgers(ledgers)]

    def _states(self) -> States:
        states: dict[str, SagaState] = {}
        offspring = Offspring(self._children)
        for row in self.recorded:
            state, event = states.get(row.saga_id), row.event
            if state is None:
                assert isinstance(event, SagaStarted), "it is the first event of a saga"
                state = start(row.saga_id, event)
            else:
                state = evolve(state, event)
            states[row.saga_id] = state
            self._children.now = event.at
            offspring.committed(state, [event])
        return states

    def _ledgers(self, ledgers: Mapping[str, Ledger]) -> Iterator[str]:
        """Read them, and look whether each thing is in them once."""
        for service, ledger in ledgers.items():
            engine = self._siege.engine(service)
            times: Counter[str] = Counter()
            with engine.connect() as connection:
                for row in connection.execute(sa.select(ledger.effects)):
                    times[row.command] += 1
                    self.net[service] += row.units
                    if row.step is not None:
                        direction = Direction(row.direction)
                        effect = Effect(row.saga, row.step, direction, row.command, row.at)
                        self.effects.append(effect)
                        if row.saga not in self.states:
                            yield f"{service}: nobody knows of {row.saga}"
                held = connection.scalar(sa.select(ledger.holdings.c.units))
            engine.dispose()
            if held != OPENING - self.net[service]:
                yield f"{service} holds {held} units, and handed out {self.net[service]}"
            for command, count in times.items():
                if count > 1:
                    yield f"{service}: {command} took effect {count} times"

    def broken_laws(self) -> Iterator[str]:
        """The laws of sagas, of each saga and of all together."""
        effects: defaultdict[str, list[Effect]] = defaultdict(list)
        for effect in sorted([*self.effects, *self._children.all], key=attrgetter("at")):
            effects[effect.saga_id].append(effect)
        histories: defaultdict[str, list[SagaEvent]] = defaultdict(list)
        for row in self.recorded:
            histories[row.saga_id].append(row.event)
        definitions = {one.name: one for one in self._app.definitions()}
        stories: list[Story] = []
        for saga_id, state in self.states.items():
            definition = definitions[state.origin.saga_type]
            seen = effects[saga_id] if definition.conducted else None
            stories.append(Story(definition, saga_id, histories[saga_id], seen))
        with self._log.connect() as connection:
            rows = connection.execute(sa.select(STATUS.c.saga_id, STATUS.c.status))
            status = {row.saga_id: {"status": row.status} for row in rows}
        system = System(stories, log=self.recorded, status=status, settled=True)
        yield from map(str, judge_system(system).violations)

    def broken_ends(self, wanted: Sequence[str]) -> Iterator[str]:
        """Everything that was begun is closed."""
        for saga_id in wanted:
            if saga_id not in self.states:
                yield f"{saga_id} was begun and is not there"
        for saga_id, state in self.states.items():
            if state.closed is None:
                yield f"{saga_id} is not closed: {state.status.value}, at {state.current}"

    def broken_views(self) -> Iterator[str]:
        """The chain of hashes, the library's views made anew, and alerts of what is over."""
        yield from (f"chain: {damage}" for damage in verify(self._log).damages)
        for each in kept(()):
            found = rebuild(self._log, each.view)
            if found.drifted:
                yield f"{each.view.name} made anew differs: {found.drifts}"
        with self._log.connect() as connection:
            for table in TABLES:
                for row in connection.execute(sa.select(table).where(table.c.closed.is_(None))):
                    state = self.states.get(row.saga_id)
                    kinds = [cause.kind for cause in causes(state)] if state else []
                    if row.kind not in kinds:
                        yield f"an alert is open: {row}"

    def close(self) -> None:
        self._log.dispose()


class _Children(Effects):
    """What sagas have done that others run, as effects of those ones' steps."""

    def __init__(self) -> None:
        self.all: list[Effect] = []
        self.now = 0.0

    def add(self, who: str, key: str, command: str, *, undoes: str | None) -> None:
        saga_id, step, direction, _ = parse_command_id(key)
        self.all.append(Effect(saga_id, step, direction, key, self.now))


def _recorded(log: sa.Engine) -> Iterator[Recorded]:
    """The whole log; the answer to a copy is an answer to the original."""
    with log.connect() as connection:
        rows = connection.execute(sa.select(EVENTS).order_by(EVENTS.c.part, EVENTS.c.position))
        for row in rows:
            event = decode(row.topic, row.state)
            if event.cause is not None and COPY in event.cause:
                event = event.model_copy(update={"cause": _COPIED.sub("", event.cause)})
            yield Recorded(
                row.part,
                row.position,
                row.originator_id,
                row.originator_version,
                event,
                row.state,
            )
