"""Processes: started cheaply, waited for without a thread. They end with the node: see machine.py."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

Stream = int | IO[bytes] | None


class StartError(Exception):
    """The command cannot be run: it is not there, or not executable."""


def _signals_caught(pid: int) -> int:
    """The mask of signals the process has a handler for; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return int(line.split()[1], 16)
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


class Process:
    """A process that leads a session and group of its own.

    Exits are seen through a pidfd in the event loop: no thread, no SIGCHLD handler, no polling.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str = "/",
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = subprocess.DEVNULL,
        stderr: Stream = subprocess.STDOUT,
        wrapper: Sequence[str] = (),
    ) -> None:
        """Starts it. Raises StartError. `wrapper` is a command that in the end execs the words after it."""
        executable = shutil.which(argv[0], path=env.get("PATH", os.defpath))
        if executable is None and "/" in argv[0] and os.access(os.path.join(cwd, argv[0]), os.X_OK):
            executable = os.path.join(cwd, argv[0])
        if executable is None:
            raise StartError(f'exec: "{argv[0]}": executable file not found in $PATH')
        if not Path(cwd).is_dir():
            raise StartError(f"cannot chdir to {cwd}: no such directory")
        try:
            self._popen = subprocess.Popen(
                [*wrapper, executable, *argv[1:]],
                env=dict(env),
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as error:
            raise StartError(str(error)) from error
        self.pid = self._popen.pid
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int] = self._loop.create_future()
        """The exit code as a shell counts it: 128 + the signal for one that was killed."""
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def stdin(self) -> IO[bytes] | None:
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        return self._popen.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        return self._popen.stderr

    def _reap(self) -> None:
        code = self._popen.poll()
        if code is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.kill_group()  # what the first process of a container leaves behind ends with it
        if not self.exited.done():
            self.exited.set_result(code if code >= 0 else 128 - code)

    @property
    def running(self) -> bool:
        return not self.exited.done()

    def terminate(self, *, as_init: bool) -> None:
        """SIGTERM to the first process alone, as a container runtime does.

        as_init: the first process of a container is number 1 of its pid namespace, and a signal it has no handler for
        does not reach it (pid_namespaces(7)). Without this an app that forgot about SIGTERM would seem to stop at
        once, where in a cluster it lives on to be killed at the end of its grace period.
        """
        if as_init and not _signals_caught(self.pid) & (1 << (signal.SIGTERM - 1)):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        return await asyncio.shield(self.exited)

    async def stop(self, grace: float, *, as_init: bool) -> None:
        """SIGTERM, up to `grace` seconds, SIGKILL for the whole group; returns when it is gone."""
        self.terminate(as_init=as_init)
        done, _ = await asyncio.wait([self.exited], timeout=grace)
        if not done:
            self.kill_group()
            await self.wait()
