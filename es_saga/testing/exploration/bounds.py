"""How far an exploration goes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far an exploration goes. The defaults take seconds for a saga of five steps."""

    faults: int | None = 3
    """Most faults in one schedule: refusals, failures, answers that come late or not in time,
    cancels. None: any number; then bound `failing_undos`, or the states are too many."""
    failing_undos: int | None = None
    """Most undos that are refused, or fail for good. Failing for a while, or late, any may."""
    attempts: int = 2
    """A policy with more attempts than these is cut to them; for ever stays for ever."""
    rounds: int = 2
    """How often refused work is asked for, the first time and by operators."""
    operators: bool = True
    """Whether people cancel, and help what is stuck."""
    symmetry: bool = True
    """Whether interchangeable steps are swapped to explore less."""
    states: int = 500_000
    """Where it gives up: 100,000 states take some 400 MB."""
