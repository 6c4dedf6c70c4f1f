"""One long-running process of the box that can be stopped, started and killed at will."""

from __future__ import annotations

import datetime
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from localcluster.errors import BoxError
from localcluster.namespace import child_of

POLL_SECONDS = 0.05


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log, for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


class Process:
    """A component of the box: `box.process("kube-apiserver")`.

    All methods may be called from any thread.
    """

    def __init__(
        self,
        name: str,
        log: Path,
        spawn: Callable[[], subprocess.Popen[bytes]],
        ready: Callable[[], bool] = lambda: True,
        ready_within: float = 60.0,
    ) -> None:
        """
        Args:
            spawn: starts it and returns at once.
            ready: tells whether it does its work, asked many times a second after a start.
            ready_within: seconds until a start is given up.
        """
        self.name = name
        self.log = log
        self._spawn = spawn
        self._ready = ready
        self._ready_within = ready_within
        self.started_at = datetime.datetime.min.replace(tzinfo=datetime.UTC)
        """When it was started last."""
        self._popen: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def pid(self) -> int:
        """The component's own process, as numbered outside the box: for SIGSTOP, or to read its `/proc/<pid>`.

        Raises:
            NamespaceError: it does not run.
        """
        return child_of(self._popen.pid if self._popen is not None else 0)

    def start(self, wait: bool = True) -> None:
        """Start it, unless it runs, and wait until it is ready.

        Raises:
            BoxError: it ended, or was not ready in time; the message has the end of its log.
        """
        with self._lock:
            if not self.running:
                self.started_at = datetime.datetime.now(datetime.UTC)
                self._popen = self._spawn()
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until it does its work; raises BoxError as `start` does."""
        deadline = time.monotonic() + self._ready_within
        while not self._ready():
            if self._popen is not None and (status := self._popen.poll()) is not None:
                raise BoxError(f"{self.name} ended with status {status}. The end of {self.log}:\n{tail(self.log)}")
            if time.monotonic() > deadline:
                raise BoxError(
                    f"{self.name} was not ready within {self._ready_within:g} s. "
                    f"The end of {self.log}:\n{tail(self.log)}"
                )
            time.sleep(POLL_SECONDS)

    def stop(self, grace: float = 15.0) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds. Returns when it is gone; does nothing when it does not run."""
        with self._lock:
            if self._popen is None:
                return
            self._popen.terminate()
            try:
                self._popen.wait(grace)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()

    def kill(self) -> None:
        """SIGKILL. Returns when it is gone."""
        with self._lock:
            if self._popen is not None:
                self._popen.kill()
                self._popen.wait()

    def restart(self) -> None:
        """Stop in order, start, wait until ready."""
        self.stop()
        self.start()

    def __repr__(self) -> str:
        return f"<Process {self.name} {'runs' if self.running else 'is stopped'}>"
