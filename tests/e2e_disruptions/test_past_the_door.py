"""What goes without asking anybody: what can be saved is saved, the rest is counted and said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from localcluster.box import Box
from localcluster.load import Plan, running
from tests.e2e.operators import Operator
from tests.e2e.workloads import Web
from tests.e2e_disruptions.nodes import heal, on, reasons, taint


@pytest.fixture(autouse=True)
def _nodes_come_back(box: Box) -> Iterator[None]:
    yield
    heal(box)


def all_deleted(app: Web) -> None:
    app.box.kubectl("delete", "pods", "-l", "app=web", "-n", app.namespace, "--wait=false")


def test_deleting_all_pods_of_a_plain_deployment_loses_requests(web: Callable[..., Web]) -> None:
    plain = web().deploy()
    with running(plain.box, Plan(rate=100, callers=plain.callers()), namespace=plain.namespace) as run:
        time.sleep(1)
        all_deleted(plain)
        time.sleep(4)
        outcome = run.finish()
    assert outcome.lost


def test_a_taint_that_drives_out_a_preemption_and_all_pods_deleted_lose_nothing(
    web: Callable[..., Web], operator: Operator, box: Box
) -> None:
    app = web().deploy()
    box.kubectl("set", "resources", "deployment/web", "--requests=cpu=1m", "-n", app.namespace)
    app.protect(drain={"settle": "8s"}).wait_until_cared_for()
    app.release("gated")
    app.wait_until_rolled_out()
    with running(box, Plan(rate=100, callers=app.callers()), namespace=app.namespace) as run:
        taint(box, "node-1", "example.com/out", "NoExecute")
        box.wait_until(lambda: not on(app, "node-1"), 40, "it is driven out of the node")
        heal(box)
        preempted = set(on(app, "node-2"))
        assert preempted
        important(box, app.namespace, "node-2")
        box.wait_until(lambda: not preempted & set(on(app, "node-2")), 40, "something more important has the node")
        box.kubectl("delete", "pod", "important", "-n", app.namespace, "--wait=false")
        box.wait_until(app.quiet, 40, "others are there")
        all_deleted(app)
        time.sleep(1)
        box.wait_until(app.quiet, 60, "others are there")
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    assert reasons(app).count("SkippedTheDoor") >= len(preempted) + 4
    assert operator.counted("lossless_skipped_the_door_total", app) >= len(preempted) + 4
    assert operator.counted("lossless_node_lost_total", app) == 0


def important(box: Box, namespace: str, node: str) -> None:
    """A pod that wants all of a node."""
    cpu = box.get("node", node)["status"]["allocatable"]["cpu"]
    meta = {"name": f"important-{namespace}"}
    box.apply(
        [
            {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": meta, "value": 1000},
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "important", "namespace": namespace},
                "spec": {
                    "priorityClassName": meta["name"],
                    "nodeSelector": {"kubernetes.io/hostname": node},
                    "containers": [
                        {
                            "name": "app",
                            "image": "sample",
                            "command": ["sleep", "600"],
                            "resources": {"requests": {"cpu": cpu}},
                        }
                    ],
                },
            },
        ]
    )


def test_a_node_that_vanishes_is_said_and_counted(web: Callable[..., Web], operator: Operator, box: Box) -> None:
    app = web().gated(drain={"settle": "1s"})
    there = [pod for pod in app.pods() if pod["spec"]["nodeName"] == "node-3"]
    assert there
    agent = box.node("node-3")
    with running(box, Plan(rate=100, callers=app.callers()), namespace=app.namespace) as run:
        agent.kill()
        for pod in there:
            box.run(["curl", "-s", f"http://{pod['status']['podIP']}:8080/crash"], check=False)
        box.wait_until(lambda: reasons(app).count("NodeLost") == len(there), 60, "it is said of each of its pods")
        box.wait_until(lambda: sorted(listed(app)) == sorted(ready(app)), 20, "nobody sends anything there any more")
        time.sleep(2)  # kube-proxy follows the EndpointSlices a moment late.
        run.mark("known")
        time.sleep(3)
        agent.start()
        box.wait_until(app.quiet, 40, "its pods are back")
        outcome = run.finish()
    assert operator.counted("lossless_node_lost_total", app) == len(there)
    assert outcome.window(end="known").lost, "nobody can know at once"
    assert not outcome.window("known").lost, outcome.explain()


def listed(app: Web) -> list[str]:
    slices = app.box.listed("endpointslices", app.namespace, "kubernetes.io/service-name=web")
    every = [endpoint for one in slices for endpoint in one.get("endpoints") or []]
    return [one["targetRef"]["name"] for one in every if one["conditions"]["ready"]]


def ready(app: Web) -> list[str]:
    return [pod["metadata"]["name"] for pod in app.pods() if pod["spec"]["nodeName"] != "node-3"]
