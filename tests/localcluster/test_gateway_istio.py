"""Istio's own control plane with Envoy as its gateway: weights, warm-up and hashing are as Istio documents them."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from localcluster import Box, BoxError, load
from localcluster.load import Fresh, KeptAlive, Keyed, Plan
from localcluster.load.affinity import homes, moves
from localcluster.load.outcome import Outcome
from localcluster.servers import istio
from localcluster.servers.istio import Istio
from tests.localcluster.inside import bare_service
from tests.localcluster.lags import Lags
from tests.localcluster.pods import app, pod
from tests.localcluster.servers import HandMadePods

RATE = 100
"""Requests a second."""
SIGMAS = 5
"""Envoy draws a cluster by lot: a share further off than this is none in a million runs."""


@pytest.fixture(scope="module")
def mesh_box() -> Iterator[Box]:
    with Box(nodes=1) as box:
        yield box


@pytest.fixture(scope="module")
def mesh(mesh_box: Box) -> Iterator[Istio]:
    with Istio(mesh_box) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def pods(mesh_box: Box, mesh: Istio) -> Iterator[HandMadePods]:
    pods = HandMadePods(mesh_box, "10.244.202")
    pods.start("stable-1", "stable-2", "stable-3", "canary-1")
    mesh_box.apply([bare_service("stable", "default"), bare_service("canary", "default")])
    pods.publish("canary", "default", "canary-1")
    yield pods
    pods.kill()


@pytest.fixture(autouse=True)
def every_stable_pod(pods: HandMadePods) -> None:
    pods.publish("stable", "default", "stable-1", "stable-2", "stable-3")


def to(service: str, weight: int | None = None, **destination: Any) -> dict[str, Any]:
    """A destination of a VirtualService."""
    weighted = {} if weight is None else {"weight": weight}
    return {"destination": {"host": f"{service}.default.svc.cluster.local", **destination}, **weighted}


def virtual_service(host: str, *destinations: Mapping[str, Any], **route: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": host.partition(".")[0], "namespace": "default"},
        "spec": {
            "hosts": [host],
            "gateways": [f"{istio.NAMESPACE}/{istio.GATEWAY}"],
            "http": [{"route": list(destinations), **route}],
        },
    }


def destination_rule(service: str, load_balancer: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": service, "namespace": "default"},
        "spec": {
            "host": f"{service}.default.svc.cluster.local",
            "trafficPolicy": {"loadBalancer": dict(load_balancer)},
            **spec,
        },
    }


BY_USER = {"consistentHash": {"httpHeaderName": "x-user"}}


def until_routed(mesh: Istio, box: Box, pods: HandMadePods, host: str, shares: Mapping[str, float]) -> None:
    """Wait until Envoy says so."""

    def so() -> bool:
        try:
            return pods.named(mesh.routed(host)) == pytest.approx(shares)
        except BoxError:
            return False

    box.wait_until(so, describe=f"Envoy routes {host} to {shares}", every=0.02)


def each(*names: str) -> dict[str, float]:
    return dict.fromkeys(names, 1 / len(names))


def asked(box: Box, caller: Fresh | Keyed | KeptAlive, seconds: float = 4) -> Outcome:
    """What becomes of so many seconds of requests."""
    with load.running(box, Plan(RATE, (caller,), duration=seconds), reconciled=False) as run:
        outcome = run.wait()
    assert not outcome.lost, outcome.explain()
    return outcome


def answers(outcome: Outcome) -> Counter[str | None]:
    return Counter(result.pod for result in outcome.results)


def within_chance(count: int, of: int, share: float) -> bool:
    """Whether so many of so many are what drawing lots with that share gives."""
    return abs(count - of * share) <= SIGMAS * math.sqrt(of * share * (1 - share))


def test_a_virtual_service_divides_requests_by_weight(mesh_box: Box, mesh: Istio, pods: HandMadePods) -> None:
    mesh_box.apply(virtual_service("split.example", to("stable", 3), to("canary", 1)))
    until_routed(mesh, mesh_box, pods, "split.example", {**dict.fromkeys(stable(3), 0.25), "canary-1": 0.25})
    outcome = asked(mesh_box, Fresh(f"http://{mesh.address}/", host="split.example"))
    assert within_chance(answers(outcome)["canary-1"], outcome.sent, 0.25)


def test_a_lone_destination_has_all_requests_whatever_its_weight(
    mesh_box: Box, mesh: Istio, pods: HandMadePods
) -> None:
    mesh_box.apply(virtual_service("lone.example", to("canary", 5)))
    until_routed(mesh, mesh_box, pods, "lone.example", {"canary-1": 1})
    outcome = asked(mesh_box, Fresh(f"http://{mesh.address}/", host="lone.example"), 1)
    assert set(answers(outcome)) == {"canary-1"}


def test_an_http_route_divides_requests_by_weight(mesh_box: Box, mesh: Istio, pods: HandMadePods) -> None:
    mesh_box.apply(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "route", "namespace": "default"},
            "spec": {
                "hostnames": ["route.example"],
                "parentRefs": [{"name": istio.GATEWAY, "namespace": istio.NAMESPACE}],
                "rules": [
                    {
                        "backendRefs": [
                            {"name": "stable", "port": 80, "weight": 1},
                            {"name": "canary", "port": 80, "weight": 4},
                        ]
                    }
                ],
            },
        }
    )
    until_routed(mesh, mesh_box, pods, "route.example", {**dict.fromkeys(stable(3), 0.2 / 3), "canary-1": 0.8})
    outcome = asked(mesh_box, Fresh(f"http://{mesh.gateway_api_address}/", host="route.example"))
    assert within_chance(answers(outcome)["canary-1"], outcome.sent, 0.8)


def test_subsets_are_pods_by_their_labels(mesh_box: Box, mesh: Istio) -> None:
    service = bare_service("web", "default")
    service["spec"]["selector"] = {"app": "web"}
    versions = []
    for version in ("1", "2"):
        each_version = pod(f"web-{version}", app(f"--version={version}"))
        each_version["metadata"]["labels"] = {"app": "web", "version": version}
        versions.append(each_version)
    subsets = [{"name": f"v{version}", "labels": {"version": version}} for version in ("1", "2")]
    rule = destination_rule("web", {"simple": "LEAST_REQUEST"}, subsets=subsets)
    mesh_box.apply([service, *versions, rule])
    mesh_box.apply(virtual_service("web.example", to("web", 3, subset="v1"), to("web", 1, subset="v2")))
    mesh_box.wait_until(lambda: sorted(_routed_or_none(mesh, "web.example").values()) == [0.25, 0.75], timeout=60)
    outcome = asked(mesh_box, Fresh(f"http://{mesh.address}/", host="web.example"))
    assert within_chance(answers(outcome)["web-2"], outcome.sent, 0.25)


def test_a_retry_would_hide_a_loss_and_is_off(mesh_box: Box, mesh: Istio, pods: HandMadePods) -> None:
    pods.addresses["nobody"] = "10.244.202.99"
    mesh_box.apply(bare_service("half", "default"))
    pods.publish("half", "default", "canary-1", "nobody")

    def lost(host: str) -> int:
        until_routed(mesh, mesh_box, pods, host, each("canary-1", "nobody"))
        plan = Plan(RATE, (Fresh(f"http://{mesh.address}/", host=host),), duration=2, ready_within=0)
        with load.running(mesh_box, plan, reconciled=False) as run:
            return len(run.wait().lost)

    mesh_box.apply(virtual_service("once.example", to("half")))
    assert lost("once.example") > 0
    # Many, because a retry prefers the least busy pod, which is the one that is not there.
    retries = {"attempts": 10, "retryOn": "connect-failure,refused-stream"}
    mesh_box.apply(virtual_service("again.example", to("half"), retries=retries))
    assert lost("again.example") == 0


def test_a_new_pod_warms_up_by_the_formula(mesh_box: Box, mesh: Istio, pods: HandMadePods) -> None:
    """Its weight is max(minimum, (age / duration) ^ (1 / aggression)) of its own, against 1 of each of the others.

    https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/slow_start
    """
    window, minimum = 20.0, 0.1
    mesh_box.apply(bare_service("warm", "default"))
    pods.publish("warm", "default", "stable-1", "stable-2")
    warmup = {"duration": f"{window:g}s", "minimumPercent": minimum * 100, "aggression": 1.0}
    mesh_box.apply(destination_rule("warm", {"simple": "ROUND_ROBIN", "warmup": warmup}))
    mesh_box.apply(virtual_service("warm.example", to("warm")))
    until_routed(mesh, mesh_box, pods, "warm.example", each("stable-1", "stable-2"))
    time.sleep(window)  # these two are warm
    url = f"http://{mesh.address}/"
    with load.running(mesh_box, Plan(RATE, (Fresh(url, host="warm.example"),)), reconciled=False) as run:
        pods.publish("warm", "default", "stable-1", "stable-2", "stable-3")
        until_routed(mesh, mesh_box, pods, "warm.example", each("stable-1", "stable-2", "stable-3"))
        began = run.mark("joined")
        time.sleep(window + 5)
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    step = 5.0
    for number in range(5):
        part = outcome.window(began + number * step, began + (number + 1) * step)
        weights = [max(minimum, min(1.0, (result.at - began) / window)) for result in part.results]
        expected = sum(weight / (2 + weight) for weight in weights)
        counted = answers(part)["stable-3"]
        print(f"after {number * step:g} to {(number + 1) * step:g} s: {counted} of {part.sent}, formula {expected:.1f}")
        assert within_chance(counted, part.sent, expected / part.sent)


def test_hashing_keeps_users_where_they_are_but_for_those_of_a_pod_that_goes(
    mesh_box: Box, mesh: Istio, pods: HandMadePods
) -> None:
    """And but for a few: see `ring`."""
    mesh_box.apply([destination_rule("stable", BY_USER), virtual_service("hashed.example", to("stable"))])
    until_routed(mesh, mesh_box, pods, "hashed.example", each(*stable(3)))
    three = mesh_box.wait_until(lambda: ring(mesh, "stable"), describe="Envoy has a ring")
    callers = (Keyed(f"http://{mesh.address}/", host="hashed.example"),)
    with load.running(mesh_box, Plan(RATE, callers), reconciled=False) as run:
        time.sleep(2)
        run.mark("leaving")
        pods.publish("stable", "default", "stable-1", "stable-2")
        until_routed(mesh, mesh_box, pods, "hashed.example", each(*stable(2)))
        run.mark("left")
        time.sleep(2)
        two = ring(mesh, "stable")
        run.mark("coming")
        pods.publish("stable", "default", "stable-1", "stable-2", "stable-3")
        until_routed(mesh, mesh_box, pods, "hashed.example", each(*stable(3)))
        run.mark("come")
        time.sleep(2)
        outcome = run.finish()
    mesh_box.kubectl("delete", "destinationrule", "stable")
    assert not outcome.lost, outcome.explain()
    before, after = homes(outcome.window(None, "leaving").results), homes(outcome.window("come").results)
    assert len(before) == 50
    assert {len(pods) for pods in before.values()} == {1}, "each user has one pod"
    of_the_third = {key for key, pods in before.items() if pods == {"stable-3"}}
    assert 0 < len(of_the_third) < 50
    moved = {move.key for move in moves(outcome.window(None, "coming").results)}
    assert moved >= of_the_third
    others = moved - of_the_third
    print(f"{len(of_the_third)} users had to move, {len(others)} of {50 - len(of_the_third)} others moved too")
    assert len(others) <= (50 - len(of_the_third)) / 2, "most others stay; nearly all would move without a ring"
    assert (three, two) == (342, 512), "1024 points are shared out anew: that is what the others move by"
    settled = {key: pods for key, pods in after.items() if len(pods) == 1}
    assert settled == {key: before[key] for key in settled}, "the ring is the same again"


def ring(mesh: Istio, service: str) -> int:
    """How many points of the ring each pod of a Service has; 0 when there is none.

    The ring has at least 1024 points for all pods together (Istio's minimumRingSize), so each pod has more of them when
    there are fewer pods, and takes users from the others.
    """
    name = f"cluster.outbound|80||{service}.default.svc.cluster.local;.ring_hash_lb.max_hashes_per_host"
    for line in (mesh.envoy.ask("/stats") or b"").decode().splitlines():
        stat, _, value = line.partition(": ")
        if stat in (name, name.replace(";", "")):
            return int(value)
    return 0


def test_a_weighted_split_breaks_affinity(mesh_box: Box, mesh: Istio, pods: HandMadePods) -> None:
    """The destination is drawn for each request, before anything is hashed."""
    mesh_box.apply([destination_rule("stable", BY_USER), destination_rule("canary", BY_USER)])
    mesh_box.apply(virtual_service("torn.example", to("stable", 50), to("canary", 50)))
    until_routed(mesh, mesh_box, pods, "torn.example", {**dict.fromkeys(stable(3), 0.5 / 3), "canary-1": 0.5})
    outcome = asked(mesh_box, Keyed(f"http://{mesh.address}/", keys=20, host="torn.example"), 5)
    mesh_box.kubectl("delete", "destinationrule", "stable", "canary")
    found = homes(outcome.results)
    assert len(found) == 20
    # 25 requests each: to be drawn the same way every time is one in sixteen million.
    assert all("canary-1" in pods and len(pods) == 2 for pods in found.values())


def test_what_envoy_says_it_no_longer_routes_to_has_no_request_any_more(
    mesh_box: Box, mesh: Istio, pods: HandMadePods
) -> None:
    """Also on connections that were there before. How long it takes to say so is told, not judged."""
    url = f"http://{mesh.address}/"

    def says(shares: Mapping[str, float]) -> bool:
        return pods.named(mesh.routed("lag.example")) == pytest.approx(shares)

    mesh_box.apply(virtual_service("lag.example", to("stable", 1), to("canary", 1)))
    until_routed(mesh, mesh_box, pods, "lag.example", {**dict.fromkeys(stable(3), 0.5 / 3), "canary-1": 0.5})
    lags = Lags(mesh_box)
    plan = Plan(RATE, (Fresh(url, host="lag.example"), KeptAlive(url, host="lag.example", connections=4)))
    with load.running(mesh_box, plan, reconciled=False) as run:
        time.sleep(1)
        lags.change(
            "a weight of 0",
            virtual_service("lag.example", to("stable", 1), to("canary", 0)),
            lambda: says(each(*stable(3))),
            {"canary-1"},
        )
        lags.change(
            "a pod less, in the wake of another change",
            pods.slice("stable", "default", "stable-2", "stable-3"),
            lambda: says(each("stable-2", "stable-3")),
            {"stable-1"},
        )
        time.sleep(1)
        lags.change(
            "another pod",
            pods.slice("stable", "default", *stable(3)),
            lambda: says(each(*stable(3))),
        )
        time.sleep(1)
        lags.change(
            "a pod less",
            pods.slice("stable", "default", "stable-2", "stable-3"),
            lambda: says(each("stable-2", "stable-3")),
            {"stable-1"},
        )
        time.sleep(1)
        outcome = run.finish()
    lags.tell(outcome)
    assert not outcome.lost, outcome.explain()
    lags.check(outcome)


def test_a_host_that_envoy_does_not_know_is_said_so(mesh: Istio) -> None:
    with pytest.raises(BoxError, match=r"0 virtual hosts for nobody\.example"):
        mesh.routed("nobody.example")


def stable(count: int) -> list[str]:
    return [f"stable-{number}" for number in range(1, count + 1)]


def _routed_or_none(mesh: Istio, host: str) -> Mapping[str, float]:
    try:
        return mesh.routed(host)
    except BoxError:
        return {}
