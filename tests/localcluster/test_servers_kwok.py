"""KWOK's nodes: what is said of their pods is what a kubelet would say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from localcluster import gobuild
from localcluster.box import Box
from localcluster.servers.kwok import COMMAND, SUBJECT, VERSION, Kwok
from tests.localcluster.pods import Cluster, Json, condition, container, pod

GATE = "example.com/open"


@pytest.fixture(scope="module")
def kwok(box: Box) -> Iterator[Kwok]:
    with Kwok(box, nodes=2) as running:
        yield running
    box.kubectl("delete", "nodes", "-l", "kwok.x-k8s.io/node=fake")


def says(pod: Json, kind: str, status: str) -> bool:
    return condition(pod, kind).get("status") == status


def test_a_pod_is_ready_only_while_its_gates_are_open(box: Box, kube_namespace: str, kwok: Kwok) -> None:
    cluster = Cluster(box, kube_namespace)
    for name, gates in (("plain", []), ("gated", [{"conditionType": GATE}])):
        cluster.create(pod(name, container("c", ["true"]), nodeName="fake-2", readinessGates=gates))
    cluster.until("plain", lambda v: says(v, "Ready", "True"), "is Ready")
    cluster.until("gated", lambda v: says(v, "ContainersReady", "True"), "has started")

    def gate(status: str) -> None:
        path = f"/api/v1/namespaces/{kube_namespace}/pods/gated/status"
        body = {"status": {"conditions": [{"type": GATE, "status": status}]}}
        box.api.request("PATCH", path, body, "application/strategic-merge-patch+json")

    for status in ("True", "False"):
        gate(status)
        cluster.until("gated", partial(says, kind="Ready", status=status), f"is Ready: {status}")
    cluster.until("plain", lambda v: v["status"]["podIP"].startswith("10.245."), "has an address")


def test_the_modules_pin_its_version() -> None:
    text = (gobuild.MODULES / SUBJECT / "go.mod").read_text()
    assert f"\t{COMMAND}\n" in text
    assert f"sigs.k8s.io/kwok v{VERSION}" in text
