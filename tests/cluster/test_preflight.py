"""When routes and Ingresses are read for findings, what becomes of failures, and where it is said. The API is fake."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from lossless.cluster.errors import Forbidden, Unavailable
from lossless.cluster.gather import Asked, Gathered, gather
from lossless.cluster.preflight import MOMENT, ONCE_MORE
from lossless.cluster.resources import (
    DEPLOYMENTS,
    INGRESS_CLASSES,
    INGRESSES,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    Resource,
)
from tests.cluster import objects
from tests.cluster.test_reconcile import KEY, Shop, admitted, shop
from tests.traffic.routes.given import destination_rule, http_route, ref, to, virtual_service

HTTP_ROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes")
VIRTUAL_SERVICES = Resource("networking.istio.io", "v1", "virtualservices")
RULES = Resource("networking.istio.io", "v1", "destinationrules")
READS = ("list ingresses", "get httproutes", "get virtualservices", "list destinationrules")


def ramping(kind: str = "HTTPRoute", **more: Any) -> dict[str, Any]:
    return {"warmup": {"ramp": {}}, "traffic": {"routes": [{"kind": kind, "name": "front"}]}} | more


def at_rest(**spec: Any) -> Shop:
    """Nothing is on its way through a door."""
    return shop(admitted("a"), **spec)


async def reads(made: Shop) -> list[str]:
    """What one turn reads for findings alone."""
    await made.turn()
    return [call for call in made.api.asked() if call in READS]


def gathered(made: Shop) -> Gathered:
    rollout = made.store.rollouts.named(*KEY)
    assert rollout is not None
    return gather(made.store, rollout, rollout.status, Asked())


async def looks(made: Shop) -> list[str]:
    """What a look reads, without the rest of a turn."""
    made.api.calls.clear()
    await made.reconciler.preflight.look(gathered(made))
    return list(made.api.asked())


def said(made: Shop) -> dict[str, str]:
    """The findings in the status, by reason, that rest on what nobody watches."""
    found = made.api.objects[ROLLOUTS, "web"]["status"]["findings"]
    return {one["reason"]: one["message"] for one in found if one["reason"].startswith(("Route", "Ingress"))}


def upstream(name: str = "shop") -> objects.Raw:
    raw = {"metadata": objects.metadata(name), "spec": {"defaultBackend": {"service": {"name": "web"}}}}
    raw["metadata"]["annotations"] = {"nginx.ingress.kubernetes.io/service-upstream": "true"}
    return raw


# -- when --------------------------------------------------------------------------------------------------------------


async def test_they_are_read_once_for_a_spec_and_at_rest_never_again() -> None:
    made = at_rest(**ramping())
    made.has(HTTP_ROUTES, http_route([ref("web")]), watched=False)
    await made.turn()
    made.now += timedelta(hours=1)
    assert await reads(made) == []


async def test_without_a_ramp_no_route_is_read() -> None:
    made = at_rest(traffic=ramping()["traffic"])
    assert await looks(made) == ["list ingresses"]


@pytest.mark.parametrize("what", ["a spec", "a release", "a Service"])
async def test_they_are_read_anew_for(what: str) -> None:
    made = at_rest()
    await made.first_turns()
    if what == "a spec":
        changed = objects.rollout("web", drain={"settle": "7s"})
        changed["metadata"]["generation"] = 2
        made.has(ROLLOUTS, changed)
    elif what == "a release":
        made.has(DEPLOYMENTS, objects.deployment("web", revision=2))
        made.has(REPLICA_SETS, objects.replica_set("web-2", revision=2))
    else:
        made.has(SERVICES, objects.service("other"))
    made.now += MOMENT
    assert await reads(made) == ["list ingresses"]
    assert await reads(made) == []


async def test_all_of_a_namespace_that_look_at_one_moment_read_its_ingresses_once() -> None:
    made = at_rest()
    made.has(INGRESSES, upstream(), watched=False)
    await made.first_turns()
    changed = objects.rollout("web", drain={"settle": "7s"})
    changed["metadata"]["generation"] = 2
    made.has(ROLLOUTS, changed)
    assert await reads(made) == []
    assert "IngressServiceUpstream" in said(made)


async def test_a_route_that_comes_after_its_rollout_is_found_a_minute_later() -> None:
    made = at_rest(**ramping())
    await made.turn()
    assert said(made)["RouteNotSplit"] == "New pods do not ramp in HTTPRoute front: it is not there"
    assert await made.turn() == ONCE_MORE.total_seconds()
    made.has(HTTP_ROUTES, http_route([ref("web")]), watched=False)
    made.now += ONCE_MORE
    await made.turn()
    assert said(made) == {}
    assert await reads(made) == []


async def test_a_route_that_stays_away_is_not_asked_for_for_ever() -> None:
    made = at_rest(**ramping())
    await made.turn()
    made.now += ONCE_MORE
    assert "get httproutes" in await reads(made)
    made.now += ONCE_MORE
    assert await reads(made) == []
    assert "RouteNotSplit" in said(made)


# -- what --------------------------------------------------------------------------------------------------------------


async def test_an_ingress_is_a_finding_in_the_status() -> None:
    made = at_rest()
    made.has(INGRESSES, upstream(), watched=False)
    await made.turn()
    assert said(made)["IngressServiceUpstream"].startswith("Ingress shop has ")


async def test_what_the_operator_has_no_right_to_read_is_said_of_routes_alone() -> None:
    """As with manifests/components/without-routes."""
    made = at_rest(**ramping())
    made.api.failures = {("get", "front"): Forbidden("GET", "no", 403), ("list", ""): Forbidden("GET", "no", 403)}
    assert await looks(made) == ["get httproutes", "list ingresses"]
    found = made.reconciler.preflight.findings(gathered(made), None)
    assert [one.message for one in found if "lossless-operator-routes" in one.message] == [
        "New pods do not ramp in HTTPRoute front: the operator may not read it (ClusterRole lossless-operator-routes)"
    ]


async def test_a_hashing_destination_rule_is_known_of_before_any_pod_ramps() -> None:
    made = at_rest(**ramping("VirtualService"))
    made.has(VIRTUAL_SERVICES, virtual_service([to("web")]), watched=False)
    hashed = destination_rule(
        trafficPolicy={"loadBalancer": {"consistentHash": {"useSourceIp": True}}}, namespace=objects.NAMESPACE
    )
    made.has(RULES, hashed, watched=False)
    await made.turn()
    assert "consistentHash" in said(made)["RouteNotSplit"]


async def test_an_ingress_whose_controller_may_not_know_canaries_is_known_of_before_any_pod_ramps() -> None:
    made = at_rest(**ramping("Ingress"))
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}
    spec = {"ingressClassName": "alb", "rules": [{"http": {"paths": [path]}}]}
    made.has(INGRESSES, {"metadata": objects.metadata("front"), "spec": spec}, watched=False)
    await made.turn()
    assert said(made)["RouteNotSplit"].endswith("Ingress front: its IngressClass alb is not there")
    made.has(
        INGRESS_CLASSES, {"metadata": {"name": "alb"}, "spec": {"controller": "ingress.k8s.aws/alb"}}, watched=False
    )
    made.now += ONCE_MORE
    await made.turn()
    assert "its IngressClass alb is of ingress.k8s.aws/alb" in said(made)["RouteNotSplit"]


async def test_a_hash_over_addresses_is_found_where_pods_are_swapped_for_a_hash() -> None:
    made = at_rest(traffic={"affinity": "Hash"})
    hashed = destination_rule(
        trafficPolicy={"loadBalancer": {"consistentHash": {"useSourceIp": True}}}, namespace=objects.NAMESPACE
    )
    made.has(RULES, hashed, watched=False)
    assert "list destinationrules" in await reads(made)
    found = made.reconciler.preflight.findings(gathered(made), None)
    assert "HashByAddress" in {one.reason for one in found}


async def test_when_the_api_server_does_not_answer_the_turn_goes_on_and_it_is_asked_again() -> None:
    made = at_rest()
    made.has(INGRESSES, upstream(), watched=False)
    made.api.failures = {("list", ""): Unavailable("GET", "no answer")}
    assert await made.turn() is not None
    assert made.api.failures == {}
    assert said(made) == {}
    made.now += ONCE_MORE
    await made.turn()
    assert "IngressServiceUpstream" in said(made)
