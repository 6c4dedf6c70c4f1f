"""Nodes that go, and what is seen meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from localcluster.box import Box
from tests.e2e.workloads import Web

NODES = ("node-1", "node-2", "node-3")


def drain(box: Box, node: str, timeout: int = 60) -> None:
    """As a person does it; of nobody's pods but these."""
    box.kubectl("drain", node, "--pod-selector=app=web", f"--timeout={timeout}s")


def on(app: Web, node: str) -> list[str]:
    """The names of its pods there."""
    return [pod["metadata"]["name"] for pod in app.pods() if pod["spec"].get("nodeName") == node]


def taint(box: Box, node: str, key: str, effect: str = "NoSchedule") -> None:
    box.kubectl("taint", "node", node, f"{key}=now:{effect}")


def heal(box: Box) -> None:
    """Every node takes pods again."""
    for node in NODES:
        box.kubectl("uncordon", node)
        for one in box.get("node", node)["spec"].get("taints") or []:
            if not one["key"].startswith("node.kubernetes.io/"):
                box.kubectl("taint", "node", node, f"{one['key']}-")


def reasons(app: Web) -> list[str]:
    """Of the events of its namespace."""
    said = app.box.kubectl("get", "events", "-n", app.namespace, "-o", "jsonpath={.items[*].reason}")
    return said.split()


@dataclass
class Seen:
    """How many endpoints its Service listed as ready, at the fewest."""

    fewest: int = 10**9
    _over: threading.Event = field(default_factory=threading.Event)

    def look(self, app: Web) -> None:
        while not self._over.is_set():
            slices: list[dict[str, Any]] = app.box.listed(
                "endpointslices", app.namespace, "kubernetes.io/service-name=web"
            )
            ready = sum(
                1 for one in slices for endpoint in one.get("endpoints") or [] if endpoint["conditions"]["ready"]
            )
            self.fewest = min(self.fewest, ready)
            time.sleep(0.05)


@contextmanager
def watching(app: Web) -> Iterator[Seen]:
    """Counts for as long as it lasts."""
    seen = Seen()
    thread = threading.Thread(target=seen.look, args=(app,), daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        seen._over.set()
        thread.join(10)
