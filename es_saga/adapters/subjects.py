"""Subject filters: which subjects `*` (one token) and `>` (all the rest) stand for."""

from __future__ import annotations


def covers(filter: str, subject: str) -> bool:
    """Whether a subject matches a filter with `*` and `>`.

    >>> covers("saga.v1.main.cmd.stock.>", "saga.v1.main.cmd.stock.3.ReserveStock")
    True
    >>> covers("a.*", "a.b.c")
    False
    """
    wanted, given = filter.split("."), subject.split(".")
    for i, token in enumerate(wanted):
        if token == ">":
            return len(given) > i
        if i >= len(given) or (token != "*" and token != given[i]):
            return False
    return len(wanted) == len(given)


def overlap(one: str, other: str) -> bool:
    """Whether some subject matches both filters.

    >>> overlap("a.*.c", "a.b.>")
    True
    >>> overlap("a.b", "a.c")
    False
    """
    left, right = one.split("."), other.split(".")
    for a, b in zip(left, right, strict=False):
        if ">" in (a, b):
            return True
        if "*" not in (a, b) and a != b:
            return False
    return len(left) == len(right)
