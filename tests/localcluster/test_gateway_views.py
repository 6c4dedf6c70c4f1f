"""What gateways say they route, read from answers of theirs: cut down, otherwise as they were."""

from __future__ import annotations

from typing import Any

import pytest

from localcluster.errors import BoxError
from localcluster.servers import envoy, traefik


def servers(*addresses: str, **more: Any) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": f"http://{address}"} for address in addresses]}, **more}


def of_traefik(service: str, **services: Any) -> dict[str, Any]:
    return {
        "routers": {
            "own@kubernetescrd": {"rule": "Host(`own.example`)", "service": service, "status": "enabled"},
            "api@internal": {"rule": "PathPrefix(`/api`)", "service": "api@internal", "status": "enabled"},
        },
        "services": {f"{name}@kubernetescrd": found for name, found in services.items()},
    }


def weighted(**weights: int) -> dict[str, Any]:
    return {"weighted": {"services": [{"name": name, "weight": weight} for name, weight in weights.items()]}}


def test_traefiks_weights_are_relative_and_shared_by_the_servers() -> None:
    said = of_traefik("split", split=weighted(old=3, new=1, off=0), old=servers("a:1", "b:1"), new=servers("c:1"))
    assert traefik.shares(said, "own.example") == {"a:1": 0.375, "b:1": 0.375, "c:1": 0.25}


def test_a_service_that_traefik_names_but_does_not_have_answers_an_error() -> None:
    said = of_traefik("split", split=weighted(old=3, new=1), old=servers("a:1"))
    assert traefik.shares(said, "own.example") == {"a:1": 0.75}


def test_what_traefik_holds_for_down_or_terminating_is_left_out() -> None:
    old = servers("a:1", "b:1", "c:1", serverStatus={"http://a:1": "UP", "http://b:1": "DOWN"})
    old["loadBalancer"]["servers"][2]["fenced"] = True
    assert traefik.shares(of_traefik("old", old=old), "own.example") == {"a:1": 1}


def test_a_router_for_tls_beside_the_plain_one_is_passed_over() -> None:
    said = of_traefik("old", old=servers("a:1"))
    said["routers"]["own-tls@kubernetescrd"] = said["routers"]["own@kubernetescrd"] | {"tls": {}}
    assert traefik.shares(said, "own.example") == {"a:1": 1}


def of_envoy(route: dict[str, Any]) -> dict[str, Any]:
    virtual_host = {"domains": ["web.example"], "routes": [{"match": {"prefix": "/"}, **route}]}
    return {"configs": [{"route_config": {"name": "http.8001", "virtual_hosts": [virtual_host]}}, {"route_config": {}}]}


def cluster(name: str, **health: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "host_statuses": [
            {
                "address": {"socket_address": {"address": address, "port_value": 8080}},
                "health_status": status,
                "weight": 1,
            }
            for address, status in health.items()
        ],
    }


HEALTHY = {"eds_health_status": "HEALTHY"}


def test_envoys_weights_are_relative_and_shared_by_the_endpoints() -> None:
    parts = [{"name": "old", "weight": 3}, {"name": "new", "weight": 1}, {"name": "off"}]
    routes = of_envoy({"route": {"weighted_clusters": {"clusters": parts}}})
    clusters = {"cluster_statuses": [cluster("old", a=HEALTHY, b=HEALTHY), cluster("new", c=HEALTHY), cluster("off")]}
    assert envoy.shares(routes, clusters, "web.example") == {"a:8080": 0.375, "b:8080": 0.375, "c:8080": 0.25}


@pytest.mark.parametrize(
    "status",
    [{"eds_health_status": "DRAINING"}, {**HEALTHY, "failed_outlier_check": True}],
    ids=["draining", "outlier"],
)
def test_endpoints_that_envoy_sends_nothing_to_are_left_out(status: dict[str, Any]) -> None:
    routes = of_envoy({"route": {"cluster": "old"}})
    clusters = {"cluster_statuses": [cluster("old", a=HEALTHY, b=status)]}
    assert envoy.shares(routes, clusters, "web.example") == {"a:8080": 1}


def test_what_leads_to_no_backend_is_an_error() -> None:
    with pytest.raises(BoxError, match="leads to no cluster"):
        envoy.shares(of_envoy({"redirect": {}}), {}, "web.example")
    with pytest.raises(BoxError, match="neither weighted nor servers"):
        traefik.shares(of_traefik("odd", odd={"mirroring": {}}), "own.example")
