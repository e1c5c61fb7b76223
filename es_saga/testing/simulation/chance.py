"""Chance, where handlers ask for it: in a simulated world it is the seed's.

`random`, `uuid4`, `os.urandom` and `secrets` say the same in every run of one seed. The time of day
is the machine's, and what a database draws or reads off a clock is its own (`gen_random_uuid()`,
`now()`): a handler that puts such a thing into an answer makes two runs of one seed differ in that.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

_URANDOM: Final = "_urandom"
"""What `random` calls it."""


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Have chance be a function of the seed, in this thread."""
    thread, before = threading.get_ident(), random.getstate()
    chance = random.Random(seed)
    urandom = os.urandom

    def drawn(size: int, /) -> bytes:
        return chance.randbytes(size) if threading.get_ident() == thread else urandom(size)

    random.seed(seed)
    os.urandom = drawn  # `uuid` asks it
    setattr(random, _URANDOM, drawn)  # `secrets` asks it
    try:
        yield
    finally:
        setattr(random, _URANDOM, urandom)
        os.urandom = urandom
        random.setstate(before)
