"""One server beside the cluster: a process in the box, with an address that everything in the box reaches."""

from __future__ import annotations

import subprocess
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from localcluster.asking import answer_of
from localcluster.process import Process

ANSWER_WITHIN = 5.0


class ServerBox(Protocol):
    """What a server needs of a box."""

    @property
    def logs(self) -> Path: ...
    @property
    def directory(self) -> Path: ...
    def popen(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, log: str | None = None
    ) -> subprocess.Popen[bytes]: ...
    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, input: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]: ...
    def forward(self, address: str) -> str: ...


class Running(ABC):
    """`with <what runs in a box> as it: …`: starts with the block and ends with it."""

    @abstractmethod
    def start(self) -> None:
        """Returns when it works. Raises BoxError."""

    @abstractmethod
    def kill(self) -> None:
        """It has no chance to tidy up."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class Server(Running):
    """A server with an HTTP API. A context manager: starts with the block, ends with it (the box's end ends it too).

    What it stores stays over `restart` and `kill`, and ends with the box.
    """

    def __init__(
        self,
        box: ServerBox,
        name: str,
        address: str,
        argv: Sequence[str],
        ready: Callable[[Server], bool],
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing runs before `start`.

        Args:
            name: of its log, `logs/<name>.log`.
            address: `<ip>:<port>` of its API, the address one of `localcluster.init.SERVER_CIDR`.
            ready: whether it does its work, asked many times a second after a start.
        """
        self.url = f"http://{address}"
        """Its API, for everything inside the box."""
        self.process = Process(
            name, box.logs / f"{name}.log", lambda: box.popen(argv, env=env, log=name), lambda: ready(self)
        )
        self._box = box
        self._address = address
        self._outside: str | None = None

    @property
    def outside(self) -> str:
        """The same as `url` for this process, which is outside the box."""
        if self._outside is None:
            self._outside = f"http://{self._box.forward(self._address)}"
        return self._outside

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> bytes | None:
        """What it answers, asked from outside the box; None when it does not, or with an error."""
        headers = {"Accept": "application/json"}  # Eureka answers XML to those who do not mind
        request = urllib.request.Request(self.outside + path, body, headers, method=method)
        return answer_of(request, ANSWER_WITHIN)

    def start(self) -> None:
        """Start it and wait until it is ready. Raises BoxError."""
        self.process.start()

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def restart(self) -> None:
        self.process.restart()


def fresh_directory(box: ServerBox, name: str) -> Path:
    """Where a server keeps its data: empty, and gone with the box."""
    directory = box.directory / "servers" / name
    number = 1
    while directory.exists():  # of one that ran in this box before
        number += 1
        directory = box.directory / "servers" / f"{name}-{number}"
    directory.mkdir(parents=True)
    return directory
