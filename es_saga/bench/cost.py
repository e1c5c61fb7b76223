"""What processes take: processor time, memory, disk. Of other processes, on Linux."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from es_saga.core.errors import Unavailable

Figures: TypeAlias = dict[str, "float | int | str | Figures"]
"""What was measured, as it is printed: nested objects."""

Clocks: TypeAlias = Mapping[str, Callable[[], float]]
"""Processor seconds used so far, by the name of a process."""


def own_cpu() -> float:
    """Processor seconds of this process, all its threads."""
    return time.process_time()


def cpu_of(pid: int) -> float:
    """Processor seconds of a process, all its threads, in steps of 10 ms.

    Raises:
        Unavailable: the process is gone, or the system has no `/proc`.
    """
    # The name, in parentheses, may contain anything; utime and stime are fields 14 and 15.
    fields = _proc(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_of_family(pid: int) -> float:
    """Like `cpu_of`, with the processes that it has started itself."""
    children = _proc(pid, f"task/{pid}/children").split()
    return cpu_of(pid) + sum(cpu_of(int(child)) for child in children)


def memory_of(pid: int) -> float:
    """Resident memory of a process in MiB. Raises like `cpu_of`."""
    pages = int(_proc(pid, "statm").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def disk_of(folder: Path, pattern: str) -> int:
    """Bytes of the files in a folder that match, such as `*.db` or, at any depth, `**/*`."""
    return sum(file.stat().st_size for file in folder.glob(pattern) if file.is_file())


def read(clocks: Clocks) -> dict[str, float]:
    """Every clock, now."""
    return {name: clock() for name, clock in clocks.items()}


def _proc(pid: int, what: str) -> str:
    try:
        return Path(f"/proc/{pid}/{what}").read_text()
    except OSError as error:
        raise Unavailable(
            f"What process {pid} takes cannot be measured: {error.strerror}.",
            hint="The whole system is measured on Linux; `bench engine` anywhere.",
        ) from error
