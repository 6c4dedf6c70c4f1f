"""A namespace of one's own, as an ordinary user: network, processes, mounts and root rights inside it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from localcluster.errors import NamespaceError

UNSHARE = (
    "unshare",
    "--user",
    "--map-root-user",
    "--net",
    "--pid",
    "--mount",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--",
)
ADMIN_DIRECTORIES = "/usr/sbin:/sbin"
"""Where Debian keeps `ip` and `nft`, and does not put on an ordinary user's PATH."""
HERE = Path(__file__).parent
PLAIN_PYTHON = (sys.executable, "-I", "-S")
"""A Python that loads nothing but the standard library: quick to start."""


def search_path() -> str:
    """PATH, with the directories where the commands of a box may be beyond it."""
    return f"{os.environ.get('PATH', os.defpath)}:{ADMIN_DIRECTORIES}"


def enter_argv(init_pid: int, argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` inside the namespaces of the box whose process 1 is `init_pid`."""
    return [*PLAIN_PYTHON, str(HERE / "enter.py"), str(init_pid), *argv]


def child_of(pid: int) -> int:
    """The one child of a process: what runs inside, of a process of ours outside that stands for it.

    Raises:
        NamespaceError: there is none (yet, or any more).
    """
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    if len(children) != 1:
        raise NamespaceError(f"process {pid} has the children {children}; one was expected")
    return int(children[0])


class Namespace:
    """A user, network, PID and mount namespace that lives as long as the process that made it, or until `close`.

    Its network has one host, 10.0.0.1, and every address of 10.244.0.0/16 can be bound by any process in it. Nothing
    reaches it from outside and it reaches nothing outside, but the file system is shared.
    """

    def __init__(self) -> None:
        """Make it.

        Raises:
            NamespaceError: this machine does not allow it; `localcluster.preflight` says why in one line.
        """
        self._unshare = subprocess.Popen(
            [*UNSHARE, *PLAIN_PYTHON, str(HERE / "init.py")],
            env={**os.environ, "PATH": search_path()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the owner, who then closes us in order
        )
        assert self._unshare.stdout is not None
        answer = self._unshare.stdout.readline().decode(errors="replace").strip()
        if answer != "ready":
            stderr = self._unshare.communicate()[1].decode(errors="replace").strip()
            raise NamespaceError(f"cannot make a namespace: {answer or stderr or 'unshare said nothing'}")
        self.init_pid = child_of(self._unshare.pid)
        """Process 1 of the namespace, as it is numbered outside."""
        self._started: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    @property
    def alive(self) -> bool:
        """Whether processes can still be started in it."""
        return self._unshare.poll() is None

    def popen(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a command inside. Signals to the process that comes back reach the command, SIGKILL included."""
        if not self.alive:
            raise NamespaceError(f"cannot run {argv[0]}: the namespace is gone")
        process = subprocess.Popen(
            enter_argv(self.init_pid, argv),
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
        # Kept until they have ended, so that `close` leaves neither a zombie nor a Popen that was never waited for.
        with self._lock:
            self._started = [*(known for known in self._started if known.poll() is None), process]
        return process

    def close(self) -> None:
        """End every process in it. Idempotent."""
        with contextlib.suppress(BrokenPipeError):
            if self._unshare.stdin is not None:
                self._unshare.stdin.close()
        self._unshare.wait()
        for process in self._started:
            process.wait()
        for pipe in (self._unshare.stdout, self._unshare.stderr):
            if pipe is not None:
                pipe.close()
