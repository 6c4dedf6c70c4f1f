"""Warm-up weights: a new pod's share of the traffic follows the line, and nothing is lost on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from localcluster.box import Box
from localcluster.load import Fresh, Plan, running
from localcluster.load.rates import rates
from tests.e2e.operators import Operator
from tests.e2e.workloads import Manifest, Web

RATE = 240.0
SECONDS = 60.0
WINDOW = 3.0
"""Seconds on both sides of a mark that a rate is taken over."""


def route(app: Web) -> Manifest:
    return app.box.get("httproute", "web", app.namespace)


def backends(app: Web) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = route(app)["spec"]["rules"][0]["backendRefs"]
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


@pytest.mark.parametrize(("curve", "power"), [("Linear", 1), ("Quadratic", 2)])
def test_the_rate_of_a_new_pod_follows_the_line(
    web: Callable[..., Web], operator: Operator, curve: str, power: int
) -> None:
    app = web(replicas=3).gated()
    app.protect(
        warmup={"ramp": {"duration": f"{SECONDS:g}s", "curve": curve}},
        traffic={"routes": [{"kind": "HTTPRoute", "name": "web"}]},
    )
    before = backends(app)
    caller = Fresh(f"http://{app.box.gateway_address}/", host=app.host, name="gateway")
    with running(app.box, Plan(rate=RATE, callers=(caller,)), namespace=app.namespace) as run:
        time.sleep(2)
        app.scale(4)
        began = app.box.wait_until(lambda: ramping(app), 30, "a pod ramps", every=0.05)
        app.wait_until_rolled_out(120)
        app.wait_until_cared_for(60)
        time.sleep(3)
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    ((pod, since),) = began.items()
    measured = dict(rates(outcome.results, step=0.5)[pod])
    off = {}
    for mark in range(10, int(SECONDS), 10):
        near = [rate for at, rate in measured.items() if abs(at + 0.25 - since - mark) <= WINDOW]
        fraction = (mark / SECONDS) ** power
        line = RATE * fraction / (3 + fraction)
        off[mark] = sum(near) / len(near) / line - 1
    print(json.dumps({f"{curve} {mark} s": f"{each:+.1%}" for mark, each in off.items()}))
    assert all(abs(each) <= 0.10 for each in off.values()), off
    app.box.wait_until(lambda: backends(app) == before, 20, "the route is as its owner wrote it")
    assert "lossless.dev/original-weights" not in route(app)["metadata"].get("annotations", {})
    app.box.wait_until(
        lambda: (
            not app.box.api.request(
                "GET",
                f"/apis/discovery.k8s.io/v1/namespaces/{app.namespace}/endpointslices"
                "?labelSelector=kubernetes.io%2Fservice-name%3Dweb-warmup",
            )["items"]
        ),
        20,
        "nobody is left in the warm-up Service",
    )


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
