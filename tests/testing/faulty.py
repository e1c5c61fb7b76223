"""Engines and fences with something missing, for the kit to find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from es_saga.core.messages import Envelope
from es_saga.engine.manager import ProcessManager
from es_saga.engine.ports import Store
from es_saga.participant.fence import Record, Rule, Verdict


def no_fence(command: Envelope, known: Mapping[str, Record]) -> Verdict:
    """Whatever comes is carried out, however often."""
    return Verdict(Rule.RUN)


def hanging_fence(command: Envelope, known: Mapping[str, Record]) -> Verdict:
    """Repetitions are known, but an undo leaves no trace for the command that comes after it."""
    own = known.get(command.commandid or "")
    if own is not None and own.status != "undone":
        return Verdict(Rule.REPEAT, own)
    if command.direction == "CANCEL" and command.undoes not in known:
        return Verdict(Rule.NOTHING_DONE)
    return Verdict(Rule.RUN)


class DeafManager(ProcessManager):
    """Never looks at its timers."""

    async def _tick(self) -> None: ...


class ForgetfulManager(ProcessManager):
    """Its relay takes for published whatever was committed before it began."""

    def __init__(self, *args: Any, store: Store, **options: Any) -> None:
        head = store.head

        async def checkpoint(_name: str, part: int) -> int:
            return await head(part)

        vars(store)["checkpoint"] = checkpoint
        super().__init__(*args, store=store, **options)
