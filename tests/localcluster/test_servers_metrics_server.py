"""A real metrics-server, the kernel's own figures, and the API that the autoscaler asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localcluster import gobuild
from localcluster.box import Box
from localcluster.servers.metrics_server import COMMAND, VERSION, MetricsServer
from tests.localcluster.pods import Cluster, pod, shell

TENTH = "while :; do sleep 0.45; timeout 0.05 sh -c 'while :; do :; done'; done"
"""A tenth of a core."""


@pytest.fixture(scope="module")
def metrics(box: Box) -> Iterator[MetricsServer]:
    with MetricsServer(box) as running:
        yield running


def millicores(usage: str) -> float:
    return int(usage[:-1]) / {"n": 1e6, "u": 1e3, "m": 1}[usage[-1]] if usage[-1] in "num" else int(usage) * 1000.0


def test_kubectl_top_tells_what_pods_really_use(box: Box, kube_namespace: str, metrics: MetricsServer) -> None:
    cluster = Cluster(box, kube_namespace)
    for name, script in {"busy": TENTH, "idle": "sleep 600"}.items():
        cluster.create(pod(name, shell("app", script)))

    def cpu() -> dict[str, float]:
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{kube_namespace}/pods"
        items = box.api.request("GET", path)["items"]
        found = {one["metadata"]["name"]: millicores(one["containers"][0]["usage"]["cpu"]) for one in items}
        return found if len(found) == 2 else {}

    used = box.wait_until(cpu, 60, "both pods have been read twice")
    assert 30 < used["busy"] < 400, used
    assert used["idle"] < 10, used
    top = box.kubectl("top", "pods", "-n", kube_namespace, "--no-headers")
    assert {line.split()[0] for line in top.splitlines()} == {"busy", "idle"}


def test_the_modules_pin_its_version() -> None:
    text = (gobuild.MODULES / "kubernetes-sigs" / "go.mod").read_text()
    assert f"\t{COMMAND}\n" in text
    assert f"sigs.k8s.io/metrics-server v{VERSION}" in text
