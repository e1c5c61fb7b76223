"""How an event of a service is folded into a saga that it begins, or that listens for it.

In a saga that is conducted it is what a step waits for, see `es_saga.core.signals`. Where nobody
conducts it is the answer to what the saga expects by then: from there on it is credited like any
participant's answer, see `es_saga.core.replies`.
"""

from __future__ import annotations

import traceback

from pydantic import ValidationError

from es_saga.core.compiled import Definition, Meaning, misfits
from es_saga.core.errors import InvalidInput, NotFound, NotYet
from es_saga.core.inputs import Heard, Reply, Signal, Start
from es_saga.core.messages import CommandKey, Direction, Outcome
from es_saga.core.reaction import MAX_WHY_CHARS, Reaction
from es_saga.core.replies import credit
from es_saga.core.signals import hear


def unheard(event: str) -> str:
    """Why a saga that waits for an event, and asks nobody, does not go on."""
    return f"{event} was not heard in time"


def opening(definition: Definition, heard: Heard) -> Start:
    """The start that the first event of a saga is.

    Raises:
        NotYet: another event begins it.
        InvalidInput: it does not fit its type, or no input could be made of it.
    """
    found = definition.openings.get((heard.by, heard.type))
    if found is None:
        raise NotYet(f"{heard.type} tells of {heard.saga_id}, which has not begun.")
    try:
        made = found.fn(found.event.model_validate(heard.data))
    except ValidationError as error:
        raise InvalidInput(f"That is no {heard.type}: {misfits(error)}.") from error
    except Exception as error:  # a user's function may raise anything
        what = "".join(traceback.format_exception_only(error)).strip()
        why = f"the function of starts_on({heard.type}) raised {what}"
        raise InvalidInput(why[:MAX_WHY_CHARS]) from error
    data = definition.check_input(made.model_dump(mode="json"))
    return Start(heard.saga_id, data, heard.key, None, heard.trace, heard.message_id)


def observe(reaction: Reaction, heard: Heard) -> None:
    """Note an event, once: a step waits for it, or was expected to be told of.

    Raises:
        NotFound: the saga's definition knows no such event.
        NotYet: the step, or its undo, is not expected yet.
        IllegalOperation: nobody waits for it any more.
        InvalidInput: it does not fit its type.
    """
    state, told = reaction.state, (heard.by, heard.type)
    if told not in reaction.definition.correlations:
        raise NotFound(f"{heard.type} of {heard.by} means nothing to {state.saga_id}.")
    meaning = reaction.definition.meanings.get(told)
    if meaning is not None:
        _credit(reaction, heard, meaning)
    elif told not in reaction.definition.openings:
        hear(reaction, Signal(heard.type, heard.data, heard.message_id))


def _credit(reaction: Reaction, heard: Heard, meaning: Meaning) -> None:
    """Take it for the answer of the step that it tells of."""
    state = reaction.state
    own = state.steps.get(meaning.step)
    if meaning.outcome is Outcome.REFUSED and own is not None and own.undo is not None:
        # Who says no after all, when the undo is expected, has nothing to undo.
        meaning = Meaning(meaning.step, Direction.UNDO, Outcome.SUCCEEDED)
    work = own and (own.do if meaning.direction is Direction.DO else own.undo)
    if work is None:
        if state.closed is not None:
            return
        raise NotYet(f"{state.saga_id} does not expect {heard.type}, or not yet.")
    key = CommandKey(state.saga_id, meaning.step, meaning.direction, work.round)
    told = (heard.type, heard.data, heard.message_id)
    credit(reaction, Reply(key, work.attempt, meaning.outcome, *told))
