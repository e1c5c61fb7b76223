"""How an event of a service is folded into a saga that nobody conducts.

It begins the saga, or it is the answer to what the saga expects by then: from there on it is
credited like any participant's answer, see `es_saga.core.replies`.
"""

from __future__ import annotations

from es_saga.core.compiled import Definition
from es_saga.core.errors import NotFound, NotYet
from es_saga.core.inputs import Heard, Reply, Start
from es_saga.core.messages import CommandKey, Direction
from es_saga.core.reaction import Reaction
from es_saga.core.replies import credit


def opening(definition: Definition, heard: Heard) -> Start:
    """The start that the first event of a flow is.

    Raises:
        NotYet: another event begins the flow.
        InvalidInput: it does not fit its type.
    """
    if heard.type != definition.data.__name__ or heard.by != getattr(definition.data, "by", None):
        raise NotYet(f"{heard.type} tells of {heard.saga_id}, of which nothing was heard before.")
    data = definition.check_input(heard.data)
    return Start(heard.saga_id, data, trace=heard.trace, message_id=heard.message_id)


def observe(reaction: Reaction, heard: Heard) -> None:
    """Credit an event to the step it tells of.

    Raises:
        NotFound: the saga's definition knows no such event.
        NotYet: the step, or its undo, is not expected yet.
        InvalidInput: it does not fit its type.
    """
    state = reaction.state
    meaning = reaction.definition.meanings.get((heard.by, heard.type))
    if meaning is None:
        raise NotFound(f"{heard.type} of {heard.by} means nothing to {state.saga_id}.")
    own = state.steps.get(meaning.step)
    work = own and (own.do if meaning.direction is Direction.DO else own.undo)
    if work is None:
        if state.closed is not None:
            return
        raise NotYet(f"{state.saga_id} does not expect {heard.type}, or not yet.")
    key = CommandKey(state.saga_id, meaning.step, meaning.direction, work.round)
    told = (heard.type, heard.data, heard.message_id)
    credit(reaction, Reply(key, work.attempt, meaning.outcome, *told))
