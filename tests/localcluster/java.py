"""What tests of Java servers and clients have in common."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from localcluster import javabuild
from localcluster.box import Box
from localcluster.errors import BinariesError
from tests.localcluster.registries import Consumer


def _lacks() -> str:
    try:
        javabuild.jdk()
        javabuild.maven()
    except BinariesError as error:
        return str(error)
    return ""


needs_java = pytest.mark.skipif(bool(_lacks()), reason=_lacks() or "there is a JDK and Maven")
"""For a whole module: `pytestmark = needs_java`."""


@contextmanager
def running_consumer(box: Box, name: str, argv: Sequence[str]) -> Iterator[Consumer]:
    """A consumer of localcluster.consumers.java, while the block runs."""
    out = box.logs / f"consumer-{name}-{time.monotonic_ns()}.jsonl"
    with out.open("wb") as stdout:
        process = box.popen(argv, stdout=stdout, log=out.stem)
    try:
        yield Consumer(box, out)
    finally:
        process.kill()
        process.wait()
