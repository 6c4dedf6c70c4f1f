"""The sample app with a real Eureka; what the server itself does is held beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from localcluster.box import Box
from localcluster.servers.eureka import eureka
from localcluster.servers.server import Server
from tests.localcluster.pods import Cluster, pod
from tests.localcluster.registries import address_of, made, registering


@pytest.fixture(scope="module")
def server(box: Box) -> Iterator[Server]:
    with made(lambda: eureka(box, cache_update_ms=500)) as running:
        yield running


@pytest.fixture
def cluster(box: Box, kube_namespace: str) -> Cluster:
    return Cluster(box, kube_namespace)


def statuses(server: Server, service: str) -> dict[str, str]:
    """By address, as clients read them."""
    read = json.loads(server.ask(f"/eureka/apps/{service.upper()}") or b"{}")
    instances = read.get("application", {}).get("instance", [])
    return {f"{each['ipAddr']}:{each['port']['$']}": each["status"] for each in instances}


def until(cluster: Cluster, server: Server, wanted: dict[str, str]) -> None:
    name = cluster.namespace
    cluster.box.wait_until(lambda: statuses(server, name) == wanted, 60, f"Eureka says {wanted}")


def test_an_app_is_up_from_its_start_to_its_sigterm(cluster: Cluster, server: Server) -> None:
    name = cluster.namespace
    cluster.create(pod("one", registering(name, f"eureka={server.url}/eureka")))
    address = address_of(cluster.until_ready("one"))
    until(cluster, server, {address: "UP"})
    cluster.delete("one")
    until(cluster, server, {})
    assert '"did": "deregistered"' in cluster.logs("one")


def test_a_status_given_from_outside_outlasts_the_apps_heartbeats(cluster: Cluster, server: Server) -> None:
    name = cluster.namespace
    cluster.create(pod("one", registering(name, f"eureka={server.url}/eureka?heartbeat=1")))
    address = address_of(cluster.until_ready("one"))
    until(cluster, server, {address: "UP"})
    ip, _, port = address.rpartition(":")
    path = f"/eureka/apps/{name.upper()}/{ip}:{name}:{port}/status"
    assert server.ask(f"{path}?value=OUT_OF_SERVICE", "PUT") is not None
    until(cluster, server, {address: "OUT_OF_SERVICE"})
    assert server.ask(f"{path}?value=UP", "DELETE") is not None
    until(cluster, server, {address: "UP"})


def test_an_app_that_registers_as_disabled_is_out_of_service_until_somebody_says_up(
    cluster: Cluster, server: Server
) -> None:
    name = cluster.namespace
    app = registering(name, f"eureka={server.url}/eureka?heartbeat=1", flags=["--register-disabled"])
    cluster.create(pod("one", app))
    address = address_of(cluster.until_ready("one"))
    until(cluster, server, {address: "OUT_OF_SERVICE"})
    ip, _, port = address.rpartition(":")
    assert server.ask(f"/eureka/apps/{name.upper()}/{ip}:{name}:{port}/status?value=UP", "PUT") is not None
    until(cluster, server, {address: "UP"})


def test_an_eureka_that_forgot_everything_is_told_again(cluster: Cluster, server: Server) -> None:
    name = cluster.namespace
    cluster.create(pod("one", registering(name, f"eureka={server.url}/eureka?heartbeat=1")))
    address = address_of(cluster.until_ready("one"))
    until(cluster, server, {address: "UP"})
    server.kill()
    server.start()
    until(cluster, server, {address: "UP"})
