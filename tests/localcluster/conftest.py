"""Fixtures for the tests of the box itself. The shared `box` comes from the package's own pytest plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from localcluster import Box
from tests.localcluster.inside import ANSWERING_SERVER


@pytest.fixture
def serve() -> Iterator[Callable[[Box, str, str], None]]:
    """Runs a server inside a box, on port 8080 of an address, that answers every request with its name."""
    started: list[subprocess.Popen[bytes]] = []

    def start(box: Box, address: str, name: str) -> None:
        argv = [sys.executable, "-I", "-S", "-c", ANSWERING_SERVER, address, "8080", name]
        started.append(box.popen(argv, log=f"server-{name}"))

    yield start
    for server in started:
        server.kill()
        server.wait()


@pytest.fixture
def command_line() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `localcluster` to its end, with additions to the environment."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "localcluster", *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run
