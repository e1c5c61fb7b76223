"""A temporary folder that does not outlive its process for long, not even after a `kill -9`.

Beside it lies a file that its owner holds a lock on for as long as it lives. Whoever makes the next
such folder removes those whose lock nobody holds. A process id would not do: it may be another's.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

OWNER: Final = ".owner"
"""How the name of the file that is locked ends; what comes before it is the folder's name."""

YOUNG_SECONDS: Final = 60.0
"""So new a file may be one that its owner has not locked yet."""


class OwnFolder:
    """Made with a name that begins so, until `remove`, or until its process has died."""

    def __init__(self, prefix: str) -> None:
        for owner in _left_behind(prefix):
            _remove(owner)
        self._lock, name = tempfile.mkstemp(prefix=prefix, suffix=OWNER)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._owner = Path(name)
        self.path = self._owner.with_suffix("")
        self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """With all that is in it. Never raises."""
        _remove(self._owner)
        os.close(self._lock)


def _left_behind(prefix: str) -> Iterator[Path]:
    """The files of owners who are dead, each locked by us while we look at it."""
    for owner in Path(tempfile.gettempdir()).glob(f"{prefix}*{OWNER}"):
        with suppress(OSError):  # another one's, or removed by somebody else just now
            file = os.open(owner, os.O_RDWR | os.O_NOFOLLOW)
            try:
                found = os.fstat(file)
                if found.st_uid == os.geteuid() and time.time() - found.st_mtime > YOUNG_SECONDS:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    yield owner
            finally:
                os.close(file)


def _remove(owner: Path) -> None:
    shutil.rmtree(owner.with_suffix(""), ignore_errors=True)
    with suppress(OSError):
        owner.unlink()
