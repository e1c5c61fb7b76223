"""Which saga types run here, each under every version that sagas may still be on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from es_saga.core.aggregate import SagaState
from es_saga.core.compiled import Definition
from es_saga.core.errors import IllegalOperation, NotFound, Unavailable


class Registry:
    """Definitions by type and version."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._all = {(found.name, found.version): found for found in definitions}
        self._latest: dict[str, Definition] = {}
        for definition in self._all.values():
            latest = self._latest.get(definition.name)
            if latest is None or definition.version > latest.version:
                self._latest[definition.name] = definition

    def __iter__(self) -> Iterator[Definition]:
        return iter(self._all.values())

    def latest(self, saga_type: str) -> Definition:
        """The version that new sagas of a type begin with.

        Raises:
            NotFound: no such type is registered.
        """
        found = self._latest.get(saga_type)
        if found is None:
            known = ", ".join(sorted(self._latest))
            raise NotFound(
                f"There is no saga type {saga_type[:80]!r} here.", hint=f"Known: {known}."
            )
        return found

    def startable(self, saga_type: str) -> Definition:
        """The same, of a type that can be started by a request.

        Raises:
            NotFound: no such type is registered.
            IllegalOperation: nobody conducts it: its first event begins it.
        """
        found = self.latest(saga_type)
        if not found.conducted:
            events = " or ".join(f"{name} of {by}" for by, name in found.openings)
            raise IllegalOperation(
                f"Nobody conducts {saga_type!r}: it begins with {events}.",
                hint="Have the service do what that tells of.",
            )
        return found

    def of(self, state: SagaState) -> Definition:
        """The definition a saga began with (law L51). Raises as `version` does."""
        origin = state.origin
        return self.version(origin.saga_id, origin.saga_type, origin.definition)

    def version(self, saga_id: str, saga_type: str, version: int) -> Definition:
        """The version of a type that a saga is on.

        Raises:
            Unavailable: it is not registered (any more, or yet): the saga waits for it.
        """
        found = self._all.get((saga_type, version))
        if found is None:
            raise Unavailable(
                f"Saga {saga_id} runs on {saga_type[:80]!r} version {version}, "
                f"which is not registered here.",
                hint="Keep old versions in the app until their sagas are closed.",
            )
        return found
