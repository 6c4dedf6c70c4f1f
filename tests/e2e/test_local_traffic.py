"""A load balancer in front of a Service with externalTrafficPolicy: Local, while a node loses its last pod."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from localcluster.box import Box
from localcluster.init import HOST_IP
from tests.e2e.operators import Operator
from tests.e2e.workloads import Manifest, Web

NODE = "node-1"
"""The node that kube-proxy of a box takes itself for."""
SETTLE = 8
"""Seconds. The load balancer needs 3 to 4 to notice."""


def on(node: str) -> Manifest:
    return {"nodeSelector": {"kubernetes.io/hostname": node}}


@contextmanager
def balanced(app: Web) -> Iterator[Callable[[], Mapping[str, int]]]:
    """A load balancer sends to the node while the block runs. Gives its answers by what they were, once it has noticed
    that the node is out of service."""
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "selector": {"app": "web"}, "ports": ports}
    metadata = {"name": "front", "namespace": app.namespace}
    app.box.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    made = app.box.get("service", "front", app.namespace)["spec"]
    argv = [sys.executable, "-m", "tests.e2e.load_balancer", "--node", HOST_IP]
    argv += ["--port", str(made["ports"][0]["nodePort"]), "--check", str(made["healthCheckNodePort"])]
    with app.box.popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, b"")
        while b"balances" not in next(lines):
            pass
        app.box.wait_until(
            lambda: app.box.get("endpoints", "front", app.namespace)["subsets"] != [], 10, "it is listed"
        )
        yield lambda: json.loads(next(lines))
        process.kill()


def test_the_last_pod_of_a_node_is_deleted_with_its_gate_open_and_nothing_is_lost(
    web: Callable[..., Web], operator: Operator, box: Box
) -> None:
    app = web(replicas=2, pod_spec=on(NODE), grace=30).gated(drain={"settle": f"{SETTLE}s"})
    with balanced(app) as answers:
        patch = {"spec": {"template": {"spec": on("node-2")}}}
        box.kubectl("patch", "deployment", "web", "-n", app.namespace, "-p", json.dumps(patch))
        seen = answers()
    app.wait_until_rolled_out()
    assert set(seen) == {"200"}, seen
    assert seen["200"] > 100


def test_one_that_is_not_ready_any_more_and_stays_loses_what_the_balancer_sends(
    web: Callable[..., Web], operator: Operator
) -> None:
    """The control: so it would go by its gate."""
    app = web(replicas=1, pod_spec=on(NODE)).deploy()
    with balanced(app) as answers:
        (pod,) = app.pods()
        app.box.run(["curl", "-sf", f"http://{pod['status']['podIP']}:8080/unready?s=20"])
        seen = answers()
    assert set(seen) > {"200"}, seen
