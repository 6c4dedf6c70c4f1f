"""Nacos as rnacos: real apps that beat, and a consumer that asks again and again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from localcluster.box import Box
from localcluster.servers.nacos import nacos
from localcluster.servers.server import Server
from tests.localcluster.pods import Cluster, deployment, pod
from tests.localcluster.registries import address_of, consuming, made, registering

EVERY = "--every=0.2"


@pytest.fixture(scope="module")
def server(box: Box) -> Iterator[Server]:
    with made(lambda: nacos(box)) as running:
        yield running


@pytest.fixture
def cluster(box: Box, kube_namespace: str) -> Cluster:
    return Cluster(box, kube_namespace)


def put(server: Server, service: str, address: str, **values: object) -> None:
    """As somebody outside would change an instance."""
    ip, _, port = address.rpartition(":")
    which = {"serviceName": service, "ip": ip, "port": port, "ephemeral": "true"}
    assert server.ask(f"/nacos/v1/ns/instance?{urlencode({**which, **values})}", "PUT") == b"ok"


def instance(server: Server, service: str, address: str) -> dict[str, Any]:
    """What Nacos knows of one instance."""
    ip, _, port = address.rpartition(":")
    query = urlencode({"serviceName": service, "ip": ip, "port": port})
    found: dict[str, Any] = json.loads(server.ask(f"/nacos/v1/ns/instance?{query}") or b"{}")
    return found


def test_an_app_is_there_for_a_consumer_from_its_start_to_its_sigterm(cluster: Cluster, server: Server) -> None:
    name = cluster.namespace
    with consuming(cluster.box, "nacos-http", server, name, EVERY) as consumer:
        consumer.until(set())
        cluster.create(pod("one", registering(name, f"nacos={server.url}")))
        consumer.until({address_of(cluster.until_ready("one")): 1.0})
        cluster.delete("one")
        consumer.until(set())
        assert '"did": "deregistered"' in cluster.logs("one")


def test_an_instance_disabled_from_outside_stays_so_over_the_apps_beats(cluster: Cluster, server: Server) -> None:
    name = cluster.namespace
    cluster.create(pod("one", registering(name, f"nacos={server.url}?beat=1")))
    address = address_of(cluster.until_ready("one"))
    with consuming(cluster.box, "nacos-http", server, name, EVERY) as consumer:
        consumer.until({address})
        put(server, name, address, enabled="false", weight=1)
        consumer.until(set())
        cluster.create(pod("two", registering(name, f"nacos={server.url}?beat=1")))
        two = address_of(cluster.until_ready("two"))
        consumer.until({two})  # and several beats of the first have come meanwhile
        put(server, name, address, enabled="true", weight=1)
        consumer.until({address, two})


def test_a_weight_given_from_outside_reaches_the_consumer_over_the_apps_beats(cluster: Cluster, server: Server) -> None:
    name = cluster.namespace
    cluster.create(pod("one", registering(name, f"nacos={server.url}?beat=1", flags=["--register-weight=2"])))
    address = address_of(cluster.until_ready("one"))
    with consuming(cluster.box, "nacos-http", server, name, EVERY) as consumer:
        consumer.until({address: 2.0})
        put(server, name, address, enabled="true", weight=0.5)
        consumer.until({address: 0.5})


def test_an_app_that_registers_as_disabled_waits_for_somebody_to_say_so(cluster: Cluster, server: Server) -> None:
    name = cluster.namespace
    cluster.create(pod("one", registering(name, f"nacos={server.url}", flags=["--register-disabled"])))
    with consuming(cluster.box, "nacos-http", server, name, EVERY) as consumer:
        address = address_of(cluster.until_ready("one"))
        cluster.says("one", '"did": "registered"')
        consumer.until(set())
        put(server, name, address, enabled="true", weight=1)
        consumer.until({address})
        assert [len(held) for _, held in consumer.lists] == [0, 1]


def test_an_app_that_dies_is_there_until_its_beats_have_been_missed(cluster: Cluster, server: Server) -> None:
    name = cluster.namespace
    cluster.create(pod("one", registering(name, f"nacos={server.url}", flags=["--deregister=never"])))
    with consuming(cluster.box, "nacos-http", server, name, EVERY) as consumer:
        consumer.until({address_of(cluster.until_ready("one"))})
        cluster.delete("one")
        assert consumer.held
        consumer.until(set())


def test_the_end_of_nacos_is_survived_by_apps_and_consumers(cluster: Cluster, server: Server) -> None:
    name = cluster.namespace
    cluster.create(deployment("web", registering(name, f"nacos={server.url}?beat=1"), 2))
    with consuming(cluster.box, "nacos-http", server, name, EVERY) as consumer:
        cluster.box.wait_until(lambda: len(consumer.held or ()) == 2, describe="both are registered")
        held = set(consumer.held or ())
        server.kill()
        server.start()
        cluster.create(pod("late", registering(name, f"nacos={server.url}")))
        consumer.until(held | {address_of(cluster.until_ready("late"))})


def test_a_disabled_instance_is_shown_alone_but_in_no_list(cluster: Cluster, server: Server) -> None:
    """Here rnacos is not Nacos, whose catalog has what consumers are not shown: see the fake, tests/fakes/nacos.py."""
    name = cluster.namespace
    cluster.create(pod("one", registering(name, f"nacos={server.url}", flags=["--register-disabled"])))
    address = address_of(cluster.until_ready("one"))
    cluster.says("one", '"did": "registered"')
    assert instance(server, name, address)["enabled"] is False
    query = urlencode({"serviceName": name, "clusterName": "DEFAULT", "pageNo": 1, "pageSize": 10})
    assert json.loads(server.ask(f"/nacos/v1/ns/catalog/instances?{query}") or b"")["list"] == []
    put(server, name, address, enabled="true", weight=1)
    assert len(json.loads(server.ask(f"/nacos/v1/ns/catalog/instances?{query}") or b"")["list"]) == 1
