"""What sagas without isolation do to each other: lost updates, dirty reads, fuzzy reads (law L70).

    lost update   A reads a record, B changes it, A changes it by what it had read; or A, changing
                  back what it did, changes back what B has done since
    dirty read    B reads what A changed, and A changes it back later
    fuzzy read    A reads a record, B changes it, A reads it again and sees something else

Names and kinds are those of Frank and Zahle's paper on countermeasures for semantic ACID.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

Kind = Literal["read", "write", "undo", "add"]
"""`add` is a change, or a change back, that commutes with others like it."""


class Access(NamedTuple):
    """One saga, one record."""

    saga: str
    kind: Kind
    record: str


class Anomaly(NamedTuple):
    """What happened to a record between two sagas."""

    kind: Literal["lost update", "dirty read", "fuzzy read"]
    record: str
    saga: str
    """Who was misled, or overwrote."""
    by: str
    """Whose change it was."""

    def __str__(self) -> str:
        return f"{self.kind} of {self.record}: {self.saga}, by what {self.by} changed"


def anomalies(accesses: Iterable[Access]) -> list[Anomaly]:
    """Every anomaly in a journal, in the order of commits; each once.

    >>> [str(one) for one in anomalies([Access("a", "read", "x"), Access("b", "write", "x"),
    ...                                 Access("a", "write", "x")])]
    ['lost update of x: a, by what b changed']
    """
    of: defaultdict[str, list[Access]] = defaultdict(list)
    for access in accesses:
        of[access.record].append(access)
    return list(dict.fromkeys(found for journal in of.values() for found in _of_one(journal)))


def _of_one(journal: Sequence[Access]) -> Iterator[Anomaly]:
    """The anomalies of one record."""
    for index, (saga, kind, record) in enumerate(journal):
        if kind == "add":
            continue
        # What it goes by: its last look at the record, or its last change of it.
        base = next((n for n in range(index - 1, -1, -1) if journal[n].saga == saga), None)
        if base is None:
            continue
        others = dict.fromkeys(
            one.saga for one in journal[base + 1 : index] if one.saga != saga and one.kind != "read"
        )
        for other in others:
            if kind != "read":
                yield Anomaly("lost update", record, saga, other)
            elif journal[base].kind == "read":
                yield Anomaly("fuzzy read", record, saga, other)
        if kind == "undo":
            yield from _misled(journal, index)


def _misled(journal: Sequence[Access], undo: int) -> Iterator[Anomaly]:
    """Who has read what is changed back here."""
    writer, _, record = journal[undo]
    written = next(
        (n for n in range(undo) if journal[n].saga == writer and journal[n].kind == "write"), undo
    )
    for one in journal[written:undo]:
        if one.saga != writer and one.kind == "read":
            yield Anomaly("dirty read", record, one.saga, writer)
