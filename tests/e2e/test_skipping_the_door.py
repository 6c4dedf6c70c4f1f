"""What nobody asks the doors about: kubectl delete, evictions, node drains."""

from __future__ import annotations

import time
from collections.abc import Callable

from localcluster.box import Box
from localcluster.load import Plan, running
from tests.e2e.operators import Operator
from tests.e2e.workloads import Web


def test_deleting_pods_of_a_plain_deployment_loses_requests(web: Callable[..., Web]) -> None:
    plain = web().deploy()
    with running(plain.box, Plan(rate=120, callers=plain.callers()), namespace=plain.namespace) as run:
        time.sleep(2)
        for pod in plain.pods()[:2]:
            plain.box.kubectl("delete", "pod", pod["metadata"]["name"], "-n", plain.namespace, "--wait=false")
        time.sleep(5)
        outcome = run.finish()
    assert outcome.lost


def test_delete_evict_and_drain_during_a_release_lose_nothing(
    web: Callable[..., Web], operator: Operator, box: Box
) -> None:
    app = web().gated(drain={"settle": "4s"})
    with running(box, Plan(rate=120, callers=app.callers()), namespace=app.namespace) as run:
        time.sleep(2)
        app.release("2")
        time.sleep(1)
        deleted, evicted = (pod["metadata"]["name"] for pod in app.pods()[:2])
        box.kubectl("delete", "pod", deleted, "-n", app.namespace, "--wait=false")
        box.api.request(
            "POST",
            f"/api/v1/namespaces/{app.namespace}/pods/{evicted}/eviction",
            {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": evicted, "namespace": app.namespace}},
        )
        try:
            box.kubectl(
                "drain",
                "node-2",
                "--ignore-daemonsets",
                "--delete-emptydir-data",
                "--timeout=60s",
                "--pod-selector=app=web",
            )
            app.wait_until_rolled_out()
        finally:
            box.kubectl("uncordon", "node-2")
        time.sleep(2)
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    said = box.kubectl("get", "events", "-n", app.namespace, "-o", "jsonpath={.items[*].reason}")
    assert "SkippedTheDoor" in said
