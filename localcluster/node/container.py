"""One container of a pod: its runs, one after the other, and the processes of the present one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from localcluster.node.backoff import BackOff
from localcluster.node.objects import Json
from localcluster.node.process import Process, StartError, Stream
from localcluster.node.status import ContainerView, Run

_MESSAGE_BYTES = 2048
"""What FallbackToLogsOnError takes from the end of the log."""
_COMMAND_OUTPUT_BYTES = 10 * 1024


class NotRunning(OSError):
    """A command was to be run in a container that is down."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a container is started, once everything it names has been looked up."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    wrapper: Sequence[str] = ()
    """A command in front that makes its mounts and execs."""
    as_init: bool = True
    """It is number 1 of its pid namespace; False with hostPID or shareProcessNamespace."""


class Container:
    """`seen` is what the node has noticed; what is so by now may be further on (see relist.py)."""

    def __init__(self, spec: Json, logs: Path, *, init: bool, on_exit: Callable[[], None]) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.init = init
        self.backoff = BackOff()
        self.waiting: tuple[str, str] | None = None
        self._logs: Path = logs / self.name
        self._on_exit = on_exit
        self._current: Run | None = None
        self._previous: Run | None = None
        self._process: Process | None = None
        self._launch: Launch | None = None
        self._commands: set[Process] = set()
        self._watcher: asyncio.Task[None] | None = None
        self.seen = ContainerView()
        self.startup: bool | None = None
        self.readiness: bool | None = None
        self.probed_id = ""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def container_id(self) -> str:
        return self._current.container_id if self._current else ""

    def running_since(self) -> tuple[int, float] | None:
        """The process that leads the container's session, and when it started; None when it does not run."""
        if self._process is None or not self._process.running or self._current is None:
            return None
        started = self._current.started_at
        return self._process.pid, started.timestamp() if started else 0.0

    def remember(self, previous: Run) -> None:
        """A run from before the node came up."""
        self._previous = previous
        self.look()

    def look(self) -> None:
        """The node takes notice of how the container is now."""
        self.seen = replace(self.seen, current=self._current, previous=self._previous)

    def view(self) -> ContainerView:
        current = self.seen.current
        mine = current is not None and current.container_id == self.probed_id
        return replace(
            self.seen,
            waiting=self.waiting,
            startup=self.startup if mine else None,
            readiness=self.readiness if mine else None,
        )

    @property
    def next_restart_count(self) -> int:
        last = self._current or self._previous
        return last.restart_count + 1 if last else 0

    def log_path(self, *, previous: bool = False) -> Path:
        """The log of the latest run, or of the one before it."""
        run = self._previous if previous else self._current or self._previous
        return self._logs / f"{run.restart_count if run else 0}.log"

    def start(self, launch: Launch) -> None:
        """Starts the next run. Raises StartError, after which there was a run that failed at once."""
        count = self.next_restart_count
        self._previous, self._current = self._current or self._previous, None
        run = Run(container_id=secrets.token_hex(32), restart_count=count, started_at=datetime.now(UTC))
        self._logs.mkdir(parents=True, exist_ok=True)
        log = os.open(self._logs / f"{count}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            process = Process(
                launch.argv, env=launch.env, cwd=launch.cwd, stdout=log, stderr=log, wrapper=launch.wrapper
            )
        except StartError as error:
            self._current = replace(
                run, finished_at=run.started_at, exit_code=128, reason="StartError", message=str(error)
            )
            raise
        finally:
            os.close(log)
        self._current = run
        self._process = process
        self._launch = launch
        self._watcher = asyncio.create_task(self._watch(process, run), name=f"container {self.name}")

    async def _watch(self, process: Process, run: Run) -> None:
        code = await process.wait()
        for command in self._commands:  # they share its pid namespace
            command.kill_group()
        message = ""
        if code != 0 and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            text = (self._logs / f"{run.restart_count}.log").read_bytes()[-_MESSAGE_BYTES:]
            message = text.decode("utf-8", "replace")
        self._current = replace(
            run,
            finished_at=datetime.now(UTC),
            exit_code=code,
            reason="Completed" if code == 0 else "Error",
            message=message,
        )
        self._on_exit()

    async def stop(self, grace: float) -> None:
        """SIGTERM, grace, SIGKILL; returns when the run has ended and its exit code is known."""
        if self._process is None or self._launch is None or self._watcher is None:
            return
        if self._process.running:
            await self._process.stop(grace, as_init=self._launch.as_init)
        await asyncio.shield(self._watcher)

    def kill_now(self) -> None:
        """SIGKILL for everything, without waiting."""
        for process in (self._process, *self._commands):
            if process is not None and process.running:
                process.kill_group()

    def spawn(self, command: Sequence[str], *, stdin: Stream, stdout: Stream, stderr: Stream) -> Process:
        """A further process in the container; it ends with it. Raises NotRunning, StartError."""
        if self._launch is None or self._process is None or not self._process.running:
            raise NotRunning(f"container {self.name} is not running")
        process = Process(
            command,
            env=self._launch.env,
            cwd=self._launch.cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            wrapper=self._way_into(self._process.pid),
        )
        self._commands.add(process)
        process.exited.add_done_callback(lambda _: self._commands.discard(process))
        return process

    def _way_into(self, pid: int) -> list[str]:
        """The command in front of another one that brings it to the container's mounts, and to its network where it has
        made itself one: pods share the box's. Raises NotRunning."""
        spaces = []
        if self._launch is not None and self._launch.wrapper:
            spaces.append(f"--mount=/proc/{pid}/ns/mnt")
        try:
            if os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net"):
                spaces.append(f"--net=/proc/{pid}/ns/net")
        except (FileNotFoundError, ProcessLookupError):
            raise NotRunning(f"container {self.name} has just ended") from None
        return ["nsenter", *spaces, "--"] if spaces else []

    async def run_command(self, command: list[str], timeout: float | None) -> tuple[int, str]:
        """Exit code and output of a command in the container. Raises NotRunning, TimeoutError.

        A command that cannot be started counts as one that failed, with 126 or 127 as a shell has it.
        """
        if not command:
            return 126, "no command"
        try:
            process = self.spawn(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except StartError as error:
            return 127, str(error)
        assert process.stdout is not None
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), process.stdout
        )
        output = b""
        try:
            async with asyncio.timeout(timeout):
                while chunk := await reader.read(1 << 16):
                    output = (output + chunk)[:_COMMAND_OUTPUT_BYTES]
                return await process.wait(), output.decode("utf-8", "replace")
        finally:
            process.kill_group()
            with contextlib.suppress(OSError):
                transport.close()
