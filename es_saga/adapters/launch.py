"""Becomes another program: lets root go where it must, ties itself to its parent, executes it.

Run by path, in an interpreter of its own, by whoever starts a server; standard library only.

    python launch.py PARENT USER PROGRAM ARGUMENT...

PARENT is the pid that must still be our parent, or 0 not to be tied to it. USER is the numeric
user id to become, or -1 to stay who we are.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


def become(user: int) -> None:
    """Become an unprivileged user who can still reach files inside root's own folders.

    PostgreSQL refuses to run as root, and a data folder below /root is out of reach for anybody
    else. So the right to pass file permissions, and that right alone, is kept.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    bit = 1 << CAP_DAC_OVERRIDE
    # effective, permitted, inheritable; then the same for the upper 32 capabilities
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    if libc.capset(header, sets) == 0:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def main(arguments: list[str]) -> None:
    """Never returns."""
    parent, user, program = int(arguments[0]), int(arguments[1]), arguments[2]
    if user >= 0:
        become(user)
    if parent and sys.platform == "linux":
        # After the change of user, which clears it. SIGINT: disconnect everybody and shut down.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit("the parent is gone")
    os.execv(program, arguments[2:])


if __name__ == "__main__":
    main(sys.argv[1:])
