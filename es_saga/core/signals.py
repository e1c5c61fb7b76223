"""Messages from outside: what a saga waits for, or will wait for."""

from __future__ import annotations

from es_saga.core.errors import IllegalOperation, NotFound
from es_saga.core.events import SignalReceived
from es_saga.core.inputs import Signal
from es_saga.core.reaction import Reaction
from es_saga.core.state import UNDECIDED


def hear(reaction: Reaction, signal: Signal) -> None:
    """Note a message, once a type; whoever waits for it goes on (law L42).

    Raises:
        NotFound: no step of the saga waits for such a message.
        IllegalOperation: the saga is closed or being undone: nobody waits any more.
        InvalidInput: it does not fit its type.
    """
    state, definition = reaction.state, reaction.definition
    step = definition.waits_for(signal.type)
    if step is None:
        waits = (step for step in definition.steps.values() if step.wait and step.wait.message)
        known = dict.fromkeys(step.asks for step in waits)
        raise NotFound(
            f"Saga type {definition.name!r} does not wait for {signal.type[:80]!r}.",
            hint=f"It waits for {', '.join(known)}." if known else "It waits for nothing.",
        )
    if signal.type in state.signals:
        return
    if state.closed is not None or state.backward:
        raise IllegalOperation(
            f"Saga {state.saga_id} is {state.status}: it waits for nothing any more."
        )
    data = step.check_reply(signal.data)
    assert data is not None, "a message is an object"
    reaction.emit(
        SignalReceived(at=reaction.now, cause=signal.message_id, name=signal.type, data=data)
    )
    own = state.steps.get(step.name)
    if own is not None and own.do.status in UNDECIDED:
        reaction.hear(step, signal.message_id)
