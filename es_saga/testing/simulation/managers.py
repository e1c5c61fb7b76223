"""The process managers of a simulated world: the real engine, on ports that die with a process."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from es_saga.core.compiled import Definition
from es_saga.core.messages import PARTS, part_of
from es_saga.core.state import SagaState
from es_saga.engine.alerts import Alert
from es_saga.engine.manager import (
    LEASE_SECONDS,
    RELAY_SECONDS,
    TICK_SECONDS,
    ProcessManager,
)
from es_saga.engine.monitor import Monitor
from es_saga.testing.faults import Fault, FaultPlan, Kind
from es_saga.testing.simulation.journal import Journal
from es_saga.testing.simulation.log import Log, LogPort
from es_saga.testing.simulation.loop import LoopClock, SimulatedLoop
from es_saga.testing.simulation.network import Link, Network
from es_saga.testing.simulation.people import APP, People
from es_saga.testing.simulation.process import Process

_PERIODS: Final = frozenset({TICK_SECONDS, LEASE_SECONDS, RELAY_SECONDS})

RESTART_SECONDS: Final = 0.5
"""How long it takes to put another release in the place of one."""

ROLL_SECONDS: Final = 60.0
"""So long after the first manager the others are replaced by a newer release, too."""

Make = Callable[..., ProcessManager]
"""`ProcessManager`, or what a test puts in its place."""


class _PollingClock(LoopClock):
    """Who sleeps for one of the manager's periods only polls, and may doze."""

    async def sleep(self, seconds: float) -> None:
        if seconds in _PERIODS:
            await self._loop.doze(seconds)
        else:
            await super().sleep(seconds)


class Managers:
    """So many process managers, each with some of the parts that matter.

    Those who live share the parts, and each part has one owner at a time. But a part that is
    usurped has a second one, who knows no better: leases lie.
    """

    def __init__(
        self,
        plan: FaultPlan,
        definitions: Sequence[Definition],
        sagas: Iterable[str],
        *,
        make: Make,
        log: Log,
        network: Network,
        people: People,
    ) -> None:
        self.alerts: list[Alert] = []
        parents = any(step.child for one in definitions for step in one.steps.values())
        ours = range(PARTS) if parents else {part_of(saga_id) for saga_id in sagas}
        self._parts = sorted(ours)
        released = any(fault.kind is Kind.RELEASED for fault in plan.faults)
        self._newest = max(0, *_ages(definitions))
        self._release = 0 if released else self._newest
        """Managers that begin now know definitions of this age, and older ones."""
        self._definitions = list(zip(definitions, _ages(definitions), strict=True))
        self._make = make
        self._log = log
        self._network = network
        self._people = people
        self._loop: SimulatedLoop = network.loop
        self._journal: Journal = network.journal
        self._clocks = [_PollingClock(self._loop) for _ in range(plan.managers)]
        self._processes: dict[int, Process] = {}
        self._releases: dict[int, int] = {}
        """That they were begun as."""
        self._holders: dict[int, int] = {}
        self._usurped: defaultdict[int, set[int]] = defaultdict(set)
        self._managers: dict[int, ProcessManager] = {}
        for number in range(plan.managers):
            self._begin(number)
        self._loop.nothing_before = self._next_due

    def _begin(self, number: int) -> None:
        name = f"manager-{number}"
        process = Process(name, self._loop, self._journal, lambda: self._begin(number))
        self._processes[number] = process
        self._releases[number] = self._release
        clock = self._clocks[number]
        manager = self._make(
            APP,
            [definition for definition, age in self._definitions if age <= self._release],
            store=LogPort(self._log, process, clock, self._reached),
            transport=Link(self._network, process),
            clock=clock,
            leases=_Lease(self, number),
        )
        self._managers[number] = manager
        manager.listen(Monitor((self.alerts.append,)))
        process.run(manager.start())
        self._leases_change()

    def _next_due(self) -> float:
        """When time alone changes a saga, by the world's clock."""
        times = (
            due - self._clocks[number].offset
            for number, manager in self._managers.items()
            if self._processes[number].alive and (due := manager.next_due) is not None
        )
        return min(times, default=math.inf)

    def take(self, number: int) -> frozenset[int]:
        """Give a manager its share, but for what another one has not let go of."""
        living = [n for n, process in self._processes.items() if process.alive]
        own = set(self._usurped[number])
        for part in self._parts:
            if living and living[part % len(living)] == number:
                if self._holders.get(part) not in living:
                    self._holders[part] = number
                if self._holders[part] == number:
                    own.add(part)
        return frozenset(own)

    def release(self, number: int, parts: Iterable[int]) -> None:
        """Take back what a manager has left."""
        for part in parts:
            if self._holders.get(part) == number:
                del self._holders[part]
                self._leases_change()

    def _leases_change(self) -> None:
        """Let time come to when everybody has looked at the leases."""
        self._loop.after(LEASE_SECONDS, self._loop.time)

    # ── faults ───────────────────────────────────────────────────────────────────────────────────

    def _reached(self, fault: Fault, state: SagaState, clock: LoopClock) -> None:
        if fault.kind is Kind.CLOCK_JUMPS:
            clock.offset += fault.seconds
        elif fault.kind is Kind.RELEASED:
            self._release = min(self._release + 1, self._newest)
            self._processes[self._number(clock)].die(fault.seconds)
            self._loop.after(ROLL_SECONDS, self._replace)
        elif fault.kind is Kind.WITHDRAWN:
            self._withdraw(self._number(clock), fault.seconds)
        elif fault.kind is Kind.USURPED:
            self._usurp(part_of(state.saga_id), clock, fault.seconds)
        else:
            self._people.act(fault, state.saga_id)

    def _withdraw(self, number: int, seconds: float) -> None:
        """The manager is begun as the release before, if there is one, until all are replaced."""
        if self._release == 0:
            return

        def release_again() -> None:
            self._release = min(self._release + 1, self._newest)
            self._replace()

        self._release -= 1
        self._processes[number].die(RESTART_SECONDS)
        self._loop.after(seconds, release_again)

    def _replace(self) -> None:
        """Have nobody left who is of an older release."""
        for number, process in list(self._processes.items()):
            if self._releases[number] < self._release:
                process.die(RESTART_SECONDS)

    def _number(self, clock: LoopClock) -> int:
        """Whose clock that is."""
        return next(number for number, own in enumerate(self._clocks) if own is clock)

    def _usurp(self, part: int, clock: LoopClock, seconds: float) -> None:
        """The next manager takes the part, too; where there is one only, nobody does."""
        usurper = (self._number(clock) + 1) % len(self._clocks)
        self._usurped[usurper].add(part)
        self._leases_change()

        def give_back() -> None:
            self._usurped[usurper].discard(part)
            self._leases_change()

        self._loop.after(seconds, give_back)


def _ages(definitions: Sequence[Definition]) -> list[int]:
    """Of each definition, how many older versions of its type there are."""
    return [
        sum(one.name == other.name and other.version < one.version for other in definitions)
        for one in definitions
    ]


class _Lease:
    """One manager's leases, see `es_saga.engine.ports.Leases`."""

    def __init__(self, managers: Managers, number: int) -> None:
        self._managers = managers
        self._number = number

    async def held(self) -> frozenset[int]:
        return self._managers.take(self._number)

    async def release(self, parts: Iterable[int]) -> None:
        self._managers.release(self._number, parts)
