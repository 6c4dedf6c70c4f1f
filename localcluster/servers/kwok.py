"""KWOK: nodes by the dozen whose pods are no processes, for what is to be seen at a size that no machine here has.

A fake: its pods start at once, answer nobody and end at once. What it says of them is what a kubelet would say; see
`kwok-stages.yaml`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from localcluster.api import Api, ApiError
from localcluster.cache import Say
from localcluster.process import Process
from localcluster.servers import go_tool
from localcluster.servers.server import Running, ServerBox

VERSION = "0.8.0"
COMMAND = "sigs.k8s.io/kwok/cmd/kwok"
STAGES = Path(__file__).with_name("kwok-stages.yaml")
SUBJECT = "kubernetes-sigs"
FAKE = "kwok.x-k8s.io/node"
"""Annotation of its nodes, with the value `fake`; as a label, for pods that are to go there and nowhere else."""
PODS_CIDR = "10.245.0.1/16"
APISERVER_FLAGS = ("--feature-gates=WatchList=false",)
"""For a box where it is to hear of pods at once. It asks for streams that an API server has only with a newer etcd than
PyPI's, and goes on asking when they are refused; with these flags it is refused in a way that it understands."""


class KwokBox(ServerBox, Protocol):
    """What is needed of a box."""

    @property
    def kubeconfig_inside(self) -> Path: ...
    @property
    def api(self) -> Api: ...
    def apply(self, manifest: Sequence[dict[str, Any]]) -> None: ...


def binary(say: Say) -> Path:
    """From the cache, else built with Go: a minute or two on two cores, after metrics-server.

    Raises:
        BinariesError: it could not be built.
    """
    return go_tool.prepared("kwok", f"v{VERSION}", COMMAND, say, minutes=3, subject=SUBJECT) / "kwok"


class Kwok(Running):
    """`with Kwok(box, nodes=10): …`: the nodes `fake-1` and so on, with room for 1,000 pods each."""

    def __init__(self, box: KwokBox, nodes: int, say: Say = print) -> None:
        """Nothing runs before `start`, or `with`.

        Raises:
            BinariesError: KWOK is not to be had.
        """
        self._box = box
        self._names = [f"fake-{number}" for number in range(1, nodes + 1)]
        argv = [
            str(binary(say)),
            f"--kubeconfig={box.kubeconfig_inside}",
            f"--config={STAGES}",
            "--manage-all-nodes=false",
            f"--manage-nodes-with-annotation-selector={FAKE}=fake",
            f"--cidr={PODS_CIDR}",
        ]
        log = box.logs / "kwok.log"
        self.process = Process("kwok", log, lambda: box.popen(argv, log="kwok"), self._all_ready)

    def start(self) -> None:
        """Returns when its nodes are Ready. Raises BoxError."""
        self._box.apply([node(name) for name in self._names])
        self.process.start()

    def kill(self) -> None:
        self.process.kill()

    def _all_ready(self) -> bool:
        try:
            nodes = self._box.api.request("GET", f"/api/v1/nodes?labelSelector={FAKE}%3Dfake")["items"]
        except ApiError:
            return False
        ready = {"type": "Ready", "status": "True"}
        conditions = [one.get("status", {}).get("conditions", []) for one in nodes]
        return len(nodes) == len(self._names) and all(any(ready.items() <= c.items() for c in cs) for cs in conditions)


def node(name: str) -> dict[str, Any]:
    """A node of KWOK's."""
    marks = {FAKE: "fake"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": marks, "labels": {**marks, "kubernetes.io/hostname": name}},
    }
