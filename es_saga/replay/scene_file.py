"""A scene that was played, as a file for pytest that formatters and import sorters leave alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

from es_saga.core.messages import Message, Refusal
from es_saga.replay.home import Home, top_package
from es_saga.replay.refusals import RefusalMaker
from es_saga.replay.replaying import Replay
from es_saga.replay.source import STEP, Group, Imports, Values, identifier, laid_out, quoted

CALLS: Final = 40
"""Methods in one chain; a longer one is cut, for the parser's sake and the reader's."""


class Call(NamedTuple):
    """A method of a scene, with its arguments as values."""

    method: str
    arguments: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()


class SceneFile:
    """The scene as a file for pytest."""

    def __init__(
        self, replay: Replay, data: Message, calls: Sequence[Call], maker: RefusalMaker, home: Home
    ) -> None:
        self._replay = replay
        self._data = data
        self._calls = calls
        self._refusals = maker
        self._home = home
        self._imports = Imports(*maker.made, "given", "scene")
        self._values = Values(self._imports)

    def text(self) -> str:
        """All of it."""
        replay = self._replay
        status = identifier(replay.state.status.value)
        body = "\n".join(self._body())
        made = "".join(f"{definition}\n\n\n" for definition in self._refusals.definitions())
        library = ["from es_saga.testing import given"]
        if made:
            library.insert(0, "from es_saga import Refusal")
        imports = self._imports.lines(library, top_package(self._home))
        return (
            f'"""What became of saga {replay.saga_id}, as its history tells it."""\n\n'
            f"{imports}\n\n\n{made}"
            f"def test_{identifier(replay.saga_id)}_is_{status}() -> None:\n{body}\n"
        )

    def _body(self) -> Iterator[str]:
        """The chain, cut where it is long."""
        origin = self._replay.state.origin
        items = [("", self._saga()), ("", self._values.model(self._data))]
        items.append(("saga_id=", quoted(self._replay.saga_id)))
        if origin.key is not None:
            items.append(("key=", quoted(origin.key)))
        if origin.parent is not None:
            items.append(("child=", "True"))
        begin: str | Group = Group("given", tuple(items), always=True)
        chains = list(_cut(self._calls))
        for number, chain in enumerate(chains):
            last = number == len(chains) - 1
            yield f"{' ' * STEP}{'' if last else 'scene = '}("
            inside = STEP * 2
            yield f"{' ' * inside}{laid_out(begin, inside)}"
            for said in chain:
                yield f"{' ' * inside}.{laid_out(self._call(said), inside, 1)}"
            yield f"{' ' * STEP})"
            begin = "scene"

    def _saga(self) -> str | Group:
        home, origin = self._home, self._replay.state.origin
        name = self._imports.name(home.module, home.name)
        if not home.in_app:
            return name
        wanted = f"({quoted(origin.saga_type)}, {origin.definition})"
        return f"next(one for one in {name}.sagas if (one.name, one.version) == {wanted})"

    def _call(self, said: Call) -> Group:
        items = [("", self._source(one)) for one in said.arguments]
        items += [(f"{name}=", self._source(value)) for name, value in said.options]
        return Group(said.method, tuple(items))

    def _source(self, value: Any) -> str | Group:
        if isinstance(value, type):
            return self._imports.of(value)
        if isinstance(value, Refusal) and type(value).__name__ in self._refusals.made:
            return self._values.own(value)
        if isinstance(value, list):
            kinds = tuple(("", self._imports.of(kind)) for kind in cast(list[type[Any]], value))
            return Group("", kinds, "[]")
        return self._values.value(value)


def _cut(calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
    """Chains of bounded length, each ending in an answer or later: not in a command."""
    begin = 0
    for index, said in enumerate(calls):
        if (
            index - begin >= CALLS
            and said.method not in ("expect", "on")
            and index + 1 < len(calls)
        ):
            yield calls[begin : index + 1]
            begin = index + 1
    yield calls[begin:]
