"""The gateway of a box: a real Traefik that reads HTTPRoutes and EndpointSlices from the API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from localcluster import Box, BoxError
from tests.localcluster.inside import ask, bare_service, endpoint_slice


@pytest.fixture(scope="module")
def gateway_box() -> Iterator[Box]:
    with Box(nodes=0, gateway=True) as box:
        yield box


def http_route(host: str, *backends: tuple[str, int]) -> dict[str, Any]:
    """An HTTPRoute of a host to Services with weights."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": host.partition(".")[0], "namespace": "default"},
        "spec": {
            "hostnames": [host],
            "parentRefs": [{"name": "gateway", "namespace": "gateway"}],
            "rules": [{"backendRefs": [{"name": name, "port": 80, "weight": weight} for name, weight in backends]}],
        },
    }


def test_it_routes_by_http_route_and_follows_endpoint_slices(
    gateway_box: Box, serve: Callable[[Box, str, str], None]
) -> None:
    box, at = gateway_box, gateway_box.gateway_address
    serve(box, "10.244.200.1", "one")
    serve(box, "10.244.200.2", "two")
    box.apply(
        [
            bare_service("web", "default"),
            endpoint_slice("web", "default", ["10.244.200.1"]),
            http_route("web.example", ("web", 1)),
        ]
    )
    box.wait_until(lambda: ask(box, at, host="web.example") == ["one"], describe="the route leads to one")
    box.apply(endpoint_slice("web", "default", ["10.244.200.1", "10.244.200.2"]))
    box.wait_until(lambda: set(ask(box, at, 10, "web.example")) == {"one", "two"}, describe="two has joined")
    box.apply(endpoint_slice("web", "default", ["10.244.200.2"]))
    box.wait_until(lambda: set(ask(box, at, 10, "web.example")) == {"two"}, describe="one has left")


def test_it_divides_requests_by_weight(gateway_box: Box, serve: Callable[[Box, str, str], None]) -> None:
    box, at = gateway_box, gateway_box.gateway_address
    serve(box, "10.244.200.3", "stable")
    serve(box, "10.244.200.4", "canary")
    box.apply(
        [
            bare_service("stable", "default"),
            bare_service("canary", "default"),
            endpoint_slice("stable", "default", ["10.244.200.3"]),
            endpoint_slice("canary", "default", ["10.244.200.4"]),
            http_route("split.example", ("stable", 3), ("canary", 1)),
        ]
    )
    answers = box.wait_until(
        lambda: {"stable", "canary"} == set(seen := ask(box, at, 40, "split.example")) and seen,
        describe="both get requests",
    )
    assert answers
    assert answers.count("canary") == 10  # Traefik's weighted round robin is exact


def test_the_gateway_says_its_address(gateway_box: Box) -> None:
    gateway = gateway_box.get("gateway", "gateway", "gateway")
    assert [address["value"] for address in gateway["status"]["addresses"]] == ["10.0.0.1"]


def test_a_box_without_a_gateway_says_how_to_get_one() -> None:
    with pytest.raises(BoxError, match=r"Box\(gateway=True\)"):
        _ = Box().gateway_address
