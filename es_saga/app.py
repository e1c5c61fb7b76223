"""An app: saga types with one log, and the participants that come with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from es_saga.core.choreography import Choreography
from es_saga.core.compiled import Definition
from es_saga.core.definition import Saga
from es_saga.core.errors import DefinitionError, SagaError
from es_saga.core.messages import is_token
from es_saga.participant.kit import HOLDING, Participant


class App:
    """What one process-manager deployment runs; `es-saga run module:attribute` names one.

    Args:
        name: stands in subjects and in the names of consumers; letters, digits, `_`, `-`.
        sagas: every saga type, old versions included while sagas run on them.
        participants: the services of this code base, for `es-saga participant` and `demo`.

    It comes last in a module: what it is made of is looked at whole. Its log is its own: another
    app in the same database would be a rival for its sagas.

    Raises:
        DefinitionError: with all faults of all sagas and participants.
    """

    def __init__(
        self,
        name: str,
        *,
        sagas: Sequence[Saga[Any]],
        participants: Sequence[Participant] = (),
    ) -> None:
        self.name = name
        self.sagas = tuple(sagas)
        self.participants = {participant.name: participant for participant in participants}
        if self.sagas:  # a service without any may have an app for its participant
            self.definitions()  # what cannot be run is refused where it is imported

    def definitions(self) -> list[Definition]:
        """Every saga type, verified.

        Raises:
            DefinitionError: with all faults of all sagas.
        """
        faults: list[str] = []
        found: dict[tuple[str, int], Definition] = {}
        if not is_token(self.name):
            faults.append(f"the name {self.name!r} may have letters, digits, '_' and '-' only")
        if not self.sagas:
            faults.append("it has no sagas")
        for saga in self.sagas:
            try:
                definition = saga.definition
            except SagaError as error:
                faults.append(error.message)
                continue
            key = (definition.name, definition.version)
            if key in found:
                faults.append(f"two sagas are called {key[0]!r}, version {key[1]}")
            found[key] = definition
            faults += self._unheld(definition)
            faults += self._untold(definition)
            if isinstance(saga, Choreography):
                faults += self._unheard(saga)
            else:
                faults += self._unserved(definition)
        faults += _orphans(found)
        for participant in self.participants.values():
            faults += participant.faults()
        if faults:
            raise DefinitionError(self.name, faults, kind="app")
        return list(found.values())

    def _unserved(self, definition: Definition) -> Iterator[str]:
        """Commands that a participant of this app is sent, and has no handler for; holds apart."""
        for step in definition.steps.values():
            if step.expires is not None or step.confirms is not None:
                continue
            undo = () if step.undo is None else (step.undo.command,)
            for command in (step.command, *undo):
                participant = self.participants.get(command.to)
                if participant and command.__name__ not in participant.commands:
                    name = f"{participant.name}.handles({command.__name__})"
                    yield f"{definition.name} has {command.__name__} done, and there is no @{name}"

    def _unheld(self, definition: Definition) -> Iterator[str]:
        """Holds that a participant of this app is asked for, and does not know as such."""
        for step in definition.steps.values():
            participant = self.participants.get(step.command.to)
            if step.expires is None or participant is None:
                continue
            handling = participant.commands.get(step.command.__name__)
            if handling is None or handling.part not in HOLDING:
                name = f"{participant.name}.tries({step.command.__name__})"
                yield f"{definition.name} has {step.name} held, and there is no @{name}"

    def _untold(self, definition: Definition) -> Iterator[str]:
        """Events that it listens for, and a participant of this app does not publish."""
        for (by, name), heard in definition.correlations.items():
            service = self.participants.get(by)
            if service and (service.outbox is None or heard.event not in service.outbox.events):
                yield f"{definition.name} listens for {name}, which {by} does not publish"

    def _unheard(self, flow: Choreography[Any]) -> Iterator[str]:
        """Events of a flow that those who should react to them do not hear."""
        for event, causes in flow.reactions():
            service = self.participants.get(event.by)
            if service is None:
                continue
            name = event.__name__
            for cause in causes:
                heard = (cause.by, cause.__name__) in service.reactions
                if not heard and cause.by != event.by:
                    yield (
                        f"{flow.name} expects {name} after {cause.__name__}, and there is no "
                        f"@{event.by}.on({cause.__name__})"
                    )


def _orphans(found: Mapping[tuple[str, int], Definition]) -> Iterator[str]:
    """Sagas that one of these runs, and that are not among them."""
    for definition in found.values():
        for step in definition.steps.values():
            child = step.child
            if child is not None and found.get((child.name, child.version)) is not child:
                yield (
                    f"{step.name} of {definition.name!r} runs {child.name!r}, version "
                    f"{child.version}, which is none of its sagas: add it to sagas=[…]"
                )
