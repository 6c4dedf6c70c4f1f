"""A node is a machine: when it goes, everything that runs on it goes, children of children too.

So the node process runs in a pid namespace of its own, below a small init that collects orphans. Whoever started the
node knows only its outermost process: that passes SIGTERM on, and its death, however it comes, is the end of the whole.
"""

from __future__ import annotations

import ctypes
import os
import signal

_CLONE_NEWNS = 0x00020000
_CLONE_NEWPID = 0x20000000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_PR_SET_PDEATHSIG = 1


def become_machine() -> None:
    """Returns in the node process; the two around it never return. Raises OSError without the right to do so."""
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int, what: str) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{what}: {os.strerror(number)}; a process node needs root in its user namespace")

    check(libc.unshare(_CLONE_NEWPID | _CLONE_NEWNS), "unshare")
    init = os.fork()
    if init:
        _stand_for(init)
    check(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    check(libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None), "mount")
    check(libc.mount(b"proc", b"/proc", b"proc", 0, None), "mount /proc")
    node = os.fork()
    if node:
        _stand_for(node)


def _stand_for(child: int) -> None:
    """Waits for everything that ends, and ends as the child does."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: os.kill(child, received))
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
