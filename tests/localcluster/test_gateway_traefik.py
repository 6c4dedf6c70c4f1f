"""Traefik as the gateway of a box: weights in both of its forms, and its own word for what it routes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from localcluster import Box, BoxError, load
from localcluster.load import Fresh, KeptAlive, Plan
from localcluster.servers import traefik
from tests.localcluster.inside import bare_service
from tests.localcluster.lags import Lags
from tests.localcluster.servers import HandMadePods
from tests.localcluster.test_box_gateway import http_route

RATE = 100
"""Requests a second."""


@pytest.fixture(scope="module")
def gateway_box() -> Iterator[Box]:
    with Box(nodes=0, gateway=True) as box:
        yield box


@pytest.fixture(scope="module")
def pods(gateway_box: Box) -> Iterator[HandMadePods]:
    """Two stable ones and a canary, in the Services `stable` and `canary`."""
    pods = HandMadePods(gateway_box, "10.244.201")
    pods.start("stable-1", "stable-2", "canary-1")
    gateway_box.apply([bare_service("stable", "default"), bare_service("canary", "default")])
    pods.publish("canary", "default", "canary-1")
    yield pods
    pods.kill()


@pytest.fixture(autouse=True)
def both_stable_pods(pods: HandMadePods) -> None:
    pods.publish("stable", "default", "stable-1", "stable-2")


def traefik_service(stable: int, canary: int) -> dict[str, Any]:
    return {
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "TraefikService",
        "metadata": {"name": "split", "namespace": "default"},
        "spec": {
            "weighted": {
                "services": [
                    {"name": "stable", "port": 80, "weight": stable},
                    {"name": "canary", "port": 80, "weight": canary},
                ]
            }
        },
    }


INGRESS_ROUTE = {
    "apiVersion": "traefik.io/v1alpha1",
    "kind": "IngressRoute",
    "metadata": {"name": "split", "namespace": "default"},
    "spec": {
        "entryPoints": ["web"],
        "routes": [
            {
                "kind": "Rule",
                "match": "Host(`own.example`)",
                "services": [{"kind": "TraefikService", "name": "split"}],
            }
        ],
    },
}


def until_routed(box: Box, pods: HandMadePods, host: str, shares: dict[str, float]) -> None:
    """Wait until Traefik says so."""

    def so() -> bool:
        try:
            return pods.named(traefik.routed(box, host)) == pytest.approx(shares)
        except BoxError:
            return False

    box.wait_until(so, describe=f"Traefik routes {host} to {shares}", every=0.02)


def asked(box: Box, host: str, requests: int = 200) -> Counter[str | None]:
    """Who answers so many requests."""
    plan = Plan(RATE, (Fresh(f"http://{box.gateway_address}/", host=host),), duration=requests / RATE - 0.005)
    with load.running(box, plan, reconciled=False) as run:
        outcome = run.wait()
    assert not outcome.lost, outcome.explain()
    assert outcome.sent == requests
    return Counter(result.pod for result in outcome.results)


def test_a_traefik_service_divides_requests_by_weight(gateway_box: Box, pods: HandMadePods) -> None:
    gateway_box.apply([traefik_service(9, 1), INGRESS_ROUTE])
    until_routed(gateway_box, pods, "own.example", {"stable-1": 0.45, "stable-2": 0.45, "canary-1": 0.1})
    answered = asked(gateway_box, "own.example")
    assert answered["canary-1"] == pytest.approx(20, abs=1)  # its weighted round robin is exact, but for where it began
    assert answered["stable-1"] == pytest.approx(90, abs=2)
    gateway_box.apply(traefik_service(1, 3))
    until_routed(gateway_box, pods, "own.example", {"stable-1": 0.125, "stable-2": 0.125, "canary-1": 0.75})
    assert asked(gateway_box, "own.example")["canary-1"] == pytest.approx(150, abs=1)


def test_an_http_route_divides_requests_by_weight(gateway_box: Box, pods: HandMadePods) -> None:
    gateway_box.apply(http_route("route.example", ("stable", 3), ("canary", 1)))
    until_routed(gateway_box, pods, "route.example", {"stable-1": 0.375, "stable-2": 0.375, "canary-1": 0.25})
    assert asked(gateway_box, "route.example")["canary-1"] == pytest.approx(50, abs=1)


def ingress(host: str, service: str, weight: int | None = None, of: str = "nginx") -> dict[str, Any]:
    """An Ingress of a host to a Service; with a weight: the canary beside it."""
    marks = {"canary": "true", "canary-weight": str(weight)} if weight is not None else {}
    backend = {"service": {"name": service, "port": {"number": 80}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": f"{host.partition('.')[0]}-{service}",
            "namespace": "default",
            "annotations": {f"nginx.ingress.kubernetes.io/{name}": value for name, value in marks.items()},
        },
        "spec": {
            "ingressClassName": of,
            "rules": [
                {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}},
            ],
        },
    }


def test_a_canary_of_ingress_nginx_divides_requests_by_weight(gateway_box: Box, pods: HandMadePods) -> None:
    """Also those of another Ingress that leads to the same Service."""
    box, host, other = gateway_box, "nginx.example", "same-service.example"
    box.apply([ingress(host, "stable"), ingress(other, "stable"), ingress(host, "canary", weight=25)])
    for each in (host, other):
        until_routed(box, pods, each, {"stable-1": 0.375, "stable-2": 0.375, "canary-1": 0.25})
    assert asked(box, host)["canary-1"] == pytest.approx(50, abs=1)
    box.apply(ingress(host, "canary", weight=0))
    until_routed(box, pods, host, {"stable-1": 0.5, "stable-2": 0.5})
    assert "canary-1" not in asked(box, host)


def test_an_ingress_of_another_class_is_not_served(gateway_box: Box, pods: HandMadePods) -> None:
    other = {"kind": "IngressClass", "metadata": {"name": "other"}, "spec": {"controller": "example.com/other"}}
    gateway_box.apply([{"apiVersion": "networking.k8s.io/v1", **other}, ingress("other.example", "stable", of="other")])
    gateway_box.apply(ingress("later.example", "stable"))
    until_routed(gateway_box, pods, "later.example", {"stable-1": 0.5, "stable-2": 0.5})
    with pytest.raises(BoxError, match=r"0 routers for other\.example"):
        traefik.routed(gateway_box, "other.example")


def test_a_weight_without_a_pod_behind_it_is_missing_from_the_shares(gateway_box: Box, pods: HandMadePods) -> None:
    gateway_box.apply(bare_service("empty", "default"))
    gateway_box.apply(http_route("empty.example", ("stable", 3), ("empty", 1)))
    until_routed(gateway_box, pods, "empty.example", {"stable-1": 0.375, "stable-2": 0.375})
    plan = Plan(RATE, (Fresh(f"http://{gateway_box.gateway_address}/", host="empty.example"),), 2, ready_within=0)
    with load.running(gateway_box, plan, reconciled=False) as run:
        outcome = run.wait()
    assert len(outcome.lost) == pytest.approx(50, abs=1)  # Gateway API: their part is answered with 500 or 503


def test_what_traefik_says_it_no_longer_routes_to_has_no_request_any_more(gateway_box: Box, pods: HandMadePods) -> None:
    """Also on connections that were there before. How long it takes to say so is told, not judged."""
    box, url = gateway_box, f"http://{gateway_box.gateway_address}/"

    def says(**shares: float) -> bool:
        named = {name.replace("_", "-"): share for name, share in shares.items()}
        return pods.named(traefik.routed(box, "lag.example")) == pytest.approx(named)

    box.apply(http_route("lag.example", ("stable", 1), ("canary", 1)))
    until_routed(box, pods, "lag.example", {"stable-1": 0.25, "stable-2": 0.25, "canary-1": 0.5})
    lags = Lags(box)
    plan = Plan(RATE, (Fresh(url, host="lag.example"), KeptAlive(url, host="lag.example", connections=4)))
    with load.running(box, plan, reconciled=False) as run:
        time.sleep(2.5)  # longer than providersThrottleDuration: the next change is alone
        lags.change(
            "a weight of 0",
            http_route("lag.example", ("stable", 1), ("canary", 0)),
            lambda: says(stable_1=0.5, stable_2=0.5),
            {"canary-1"},
        )
        # At once: it has to wait until the throttle lets another configuration through.
        lags.change(
            "a pod less, in the wake of another change",
            pods.slice("stable", "default", "stable-2"),
            lambda: says(stable_2=1),
            {"stable-1"},
        )
        time.sleep(2.5)
        lags.change(
            "another pod",
            pods.slice("stable", "default", "stable-1", "stable-2"),
            lambda: says(stable_1=0.5, stable_2=0.5),
        )
        time.sleep(2.5)
        lags.change(
            "a pod less",
            pods.slice("stable", "default", "stable-2"),
            lambda: says(stable_2=1),
            {"stable-1"},
        )
        time.sleep(1)
        outcome = run.finish()
    lags.tell(outcome)
    assert not outcome.lost, outcome.explain()
    lags.check(outcome)


def test_a_host_that_traefik_does_not_know_is_said_so(gateway_box: Box) -> None:
    with pytest.raises(BoxError, match=r"0 routers for nobody\.example"):
        traefik.routed(gateway_box, "nobody.example")
