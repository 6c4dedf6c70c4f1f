"""Warm-up weights: a new pod's share of the traffic follows the line, and nothing is lost on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from localcluster.box import Box
from localcluster.load import Fresh, Plan, running
from tests.e2e.operators import Operator
from tests.e2e.workloads import Manifest, Web


def route(app: Web) -> Manifest:
    return app.box.get("httproute", "web", app.namespace)


def backends(app: Web) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = route(app)["spec"]["rules"][0]["backendRefs"]
    return found


def warming(app: Web) -> list[Manifest]:
    """The EndpointSlices of the warm-up Service."""
    selector = "labelSelector=kubernetes.io%2Fservice-name%3Dweb-warmup"
    path = f"/apis/discovery.k8s.io/v1/namespaces/{app.namespace}/endpointslices?{selector}"
    found: list[Manifest] = app.box.api.request("GET", path)["items"]
    return found


def ramping(app: Web) -> dict[str, float]:
    """The pods that ramp, and since when."""
    return {
        pod["metadata"]["name"]: datetime.fromisoformat(
            pod["metadata"]["annotations"]["lossless.dev/since"]
        ).timestamp()
        for pod in app.pods()
        if pod["metadata"].get("annotations", {}).get("lossless.dev/stage") == "Ramping"
    }


def shares(app: Web, until: Callable[[], bool]) -> list[float]:
    """The warm-up backend's part of the route, every time it is another one."""
    seen = [0.0]
    while not until():
        weights = {one["name"]: one.get("weight", 1) for one in backends(app)}
        share = weights.get("web-warmup", 0) / sum(weights.values())
        if share != seen[-1]:
            seen.append(share)
        time.sleep(0.2)
    return seen


def test_a_new_pod_gets_more_and_more_and_the_route_is_its_owners_again(
    web: Callable[..., Web], operator: Operator
) -> None:
    """How closely its rate follows the line is a figure of the benchmark."""
    app = web(replicas=3).gated()
    app.protect(warmup={"ramp": {"duration": "15s"}}, traffic={"routes": [{"kind": "HTTPRoute", "name": "web"}]})
    before = backends(app)
    caller = Fresh(f"http://{app.box.gateway_address}/", host=app.host, name="gateway")
    with running(app.box, Plan(rate=100, callers=(caller,)), namespace=app.namespace) as run:
        app.scale(4)
        (pod,) = app.box.wait_until(lambda: ramping(app), 30, "a pod ramps", every=0.05)
        seen = shares(app, until=lambda: not ramping(app))
        app.wait_until_rolled_out(120)
        time.sleep(5)
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    assert seen == sorted(seen) or seen[:-1] == sorted(seen[:-1]), seen
    assert 0.1 < max(seen) <= 0.25, "a full share beside three is a quarter"
    assert any(result.pod == pod for result in outcome.results)
    app.box.wait_until(lambda: backends(app) == before, 20, "the route is as its owner wrote it")
    assert "lossless.dev/original-weights" not in route(app)["metadata"].get("annotations", {})
    kept_until = datetime.fromisoformat(warming(app)[0]["metadata"]["annotations"]["lossless.dev/kept-until"])
    operator.kill()
    operator.start()
    app.box.wait_until(lambda: not warming(app), 60, "nobody is left in the warm-up Service")
    assert time.time() >= kept_until.timestamp(), "a gateway that is late loses nothing, whoever leads by then"


def test_a_release_with_a_ramp_loses_nothing_and_leaves_the_route_as_it_was(
    web: Callable[..., Web], operator: Operator, box: Box
) -> None:
    """The operator is killed in the middle of it, and the LosslessRollout deleted at the end of it."""
    app = web(app=["--on-term", "die"], replicas=3).gated()
    app.protect(warmup={"ramp": {"duration": "10s"}}, traffic={"routes": [{"kind": "HTTPRoute", "name": "web"}]})
    before = backends(app)
    caller = Fresh(f"http://{box.gateway_address}/", host=app.host, name="gateway")
    with running(box, Plan(rate=100, callers=(caller,)), namespace=app.namespace) as run:
        app.release("2")
        box.wait_until(lambda: len(backends(app)) > 1, 30, "the route is split", every=0.05)
        operator.kill()
        time.sleep(1)
        operator.start()
        app.wait_until_rolled_out(180)
        app.release("3")
        box.wait_until(lambda: ramping(app), 60, "a pod ramps", every=0.05)
        time.sleep(4)
        box.kubectl("delete", "lr", "web", "-n", app.namespace)
        box.wait_until(lambda: backends(app) == before, 30, "the route is as its owner wrote it")
        app.wait_until_rolled_out(120)
        outcome = run.finish()
    print(outcome.summary())
    assert not outcome.lost, outcome.explain()
