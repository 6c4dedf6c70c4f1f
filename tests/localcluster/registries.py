"""Apps that register themselves and consumers that follow them, for tests of the real registries."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from localcluster.box import Box
from localcluster.consumers.addresses import Weighted, parse
from localcluster.errors import BinariesError, BoxError
from localcluster.servers.server import Server
from tests.localcluster.pods import DOWNWARD, Json, app

NODE_NAME = {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
WITHIN = 60.0
S = TypeVar("S")


def made(make: Callable[[], S]) -> S:
    """A server; skips where what builds it is missing, which CI does not accept."""
    try:
        return make()
    except BinariesError as error:
        pytest.skip(str(error))


def registering(service: str, *registries: str, flags: Sequence[str] = (), **more: object) -> Json:
    """The sample app, registered as `service` with each registry (`KIND=URL`)."""
    registrations = [f"--register={registry}" for registry in registries]
    return app(f"--service={service}", *registrations, *flags, env=[*DOWNWARD, NODE_NAME], **more)


def address_of(pod: Json) -> str:
    return f"{pod['status']['podIP']}:8080"


class Consumer:
    """A consumer that runs in the box, and every list it has held."""

    def __init__(self, box: Box, out: Path) -> None:
        self._box = box
        self._out = out

    @property
    def lists(self) -> list[tuple[float, tuple[Weighted, ...]]]:
        return [parse(line) for line in self._out.read_text().splitlines(keepends=True) if line.endswith("\n")]

    @property
    def held(self) -> dict[str, float] | None:
        """Weights by address; None before it has read anything."""
        lists = self.lists
        return {each.address: each.weight for each in lists[-1][1]} if lists else None

    def until(self, wanted: dict[str, float] | set[str], within: float = WITHIN) -> None:
        """Waits until it holds these addresses (and weights, if they are given)."""

        def holds() -> bool:
            held = self.held
            return held is not None and (held == wanted if isinstance(wanted, dict) else set(held) == wanted)

        self._wait(holds, within, f"the consumer holds {wanted}")

    def until_it_has_held(self, *wanted: set[str], within: float = WITHIN) -> None:
        """Waits until it has held these addresses one after the other, each for however short a moment."""

        def has_held() -> bool:
            held = iter([{each.address for each in weighted} for _, weighted in self.lists])
            return all(each in held for each in wanted)  # `in` reads on from where the one before was found

        self._wait(has_held, within, f"the consumer has held {wanted} one after the other")

    def _wait(self, predicate: Callable[[], bool], within: float, describe: str) -> None:
        try:
            self._box.wait_until(predicate, within, describe, every=0.02)
        except BoxError as error:
            error.add_note(f"It has held {self.lists}")
            raise


@contextmanager
def consuming(box: Box, kind: str, server: Server, service: str, *flags: str) -> Iterator[Consumer]:
    """A consumer of `localcluster.consumers` that follows a service while the block runs."""
    out = box.logs / f"consumer-{kind}-{service}-{time.monotonic_ns()}.jsonl"
    argv = [sys.executable, "-m", "localcluster.consumers", kind, server.url, service, *flags]
    with out.open("wb") as stdout:
        process = box.popen(argv, stdout=stdout, log=out.stem)
    try:
        yield Consumer(box, out)
    finally:
        process.kill()
        process.wait()
