"""A Consul with an agent for each node: real apps, real agents, real blocking queries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from localcluster.box import Box
from localcluster.servers.consul import Consul
from tests.localcluster.pods import Cluster, deployment, pod
from tests.localcluster.registries import address_of, consuming, made, registering


@pytest.fixture(scope="module")
def consul(box: Box) -> Iterator[Consul]:
    with made(lambda: Consul(box)) as running:
        yield running


@pytest.fixture
def cluster(box: Box, kube_namespace: str) -> Cluster:
    return Cluster(box, kube_namespace)


def each_agent(consul: Consul, options: str = "") -> list[str]:
    """For a template: an app registers with the agent of the node it runs on."""
    return [f"consul={consul.agent(node).url}?node={node}{options}" for node in ("node-1", "node-2")]


def registered(consul: Consul, service: str) -> list[dict[str, Any]]:
    """Every instance that the catalog knows, healthy or not."""
    found: list[dict[str, Any]] = json.loads(consul.server.ask(f"/v1/health/service/{service}") or b"[]")
    return found


def maintain(consul: Consul, node: str, service_id: str, enable: bool) -> bool:
    """Whether the agent of that node did it."""
    path = f"/v1/agent/service/maintenance/{quote(service_id)}?enable={str(enable).lower()}&reason=test"
    return consul.agent(node).ask(path, "PUT") is not None


def test_apps_register_with_the_agent_of_their_node_and_leave_it_at_their_sigterm(
    cluster: Cluster, consul: Consul
) -> None:
    name = cluster.namespace
    with consuming(cluster.box, "consul", consul.server, name) as consumer:
        consumer.until(set())
        cluster.create(pod("one", registering(name, *each_agent(consul)), nodeName="node-1"))
        cluster.create(pod("two", registering(name, *each_agent(consul)), nodeName="node-2"))
        one, two = (address_of(cluster.until_ready(each)) for each in ("one", "two"))
        consumer.until({one: 1.0, two: 1.0})
        nodes = {entry["Node"]["Node"]: entry["Service"]["Meta"]["pod"] for entry in registered(consul, name)}
        assert nodes == {"node-1": "one", "node-2": "two"}
        cluster.delete("one")
        consumer.until({two})
        assert '"did": "deregistered"' in cluster.logs("one")


def test_maintenance_is_for_the_owning_agent_alone_and_outlasts_the_apps_beats(
    cluster: Cluster, consul: Consul
) -> None:
    name = cluster.namespace
    registries = each_agent(consul, "&ttl=3")
    cluster.create(pod("one", registering(name, *registries), nodeName="node-1"))
    address = address_of(cluster.until_ready("one"))
    with consuming(cluster.box, "consul", consul.server, name) as consumer:
        consumer.until({address})
        service_id = registered(consul, name)[0]["Service"]["ID"]
        assert not maintain(consul, "node-2", service_id, enable=True)
        assert maintain(consul, "node-1", service_id, enable=True)
        consumer.until(set())
        before = cluster.logs("one").count('"did": "registered"')
        assert maintain(consul, "node-1", service_id, enable=False)
        consumer.until({address})
        assert cluster.logs("one").count('"did": "registered"') == before == 1


def test_an_http_check_keeps_out_an_app_that_does_not_answer_yet(cluster: Cluster, consul: Consul) -> None:
    name = cluster.namespace
    registries = each_agent(consul, "&check=http")
    cluster.create(pod("one", registering(name, *registries)))
    cluster.create(pod("two", registering(name, *registries, flags=["--register-at=start", "--start-delay=600"])))
    with consuming(cluster.box, "consul", consul.server, name) as consumer:
        one = address_of(cluster.until_ready("one"))
        cluster.box.wait_until(lambda: len(registered(consul, name)) == 2, describe="both are registered")
        consumer.until({one})
        assert all({each.address for each in held} <= {one} for _, held in consumer.lists)


def test_an_app_that_registers_as_disabled_waits_for_somebody_to_say_so(cluster: Cluster, consul: Consul) -> None:
    name = cluster.namespace
    cluster.create(pod("one", registering(name, *each_agent(consul), flags=["--register-disabled"]), nodeName="node-1"))
    with consuming(cluster.box, "consul", consul.server, name) as consumer:
        address = address_of(cluster.until_ready("one"))
        cluster.says("one", '"did": "registered"')
        service_id = cluster.box.wait_until(lambda: registered(consul, name), describe="registered")[0]["Service"]["ID"]
        assert maintain(consul, "node-1", service_id, enable=False)
        consumer.until({address})
        assert [len(held) for _, held in consumer.lists] == [0, 1]


def test_an_app_that_dies_is_critical_once_its_ttl_is_over(cluster: Cluster, consul: Consul) -> None:
    name = cluster.namespace
    cluster.create(pod("one", registering(name, *each_agent(consul, "&ttl=2"), flags=["--on-term=die"])))
    with consuming(cluster.box, "consul", consul.server, name) as consumer:
        consumer.until({address_of(cluster.until_ready("one"))})
        cluster.delete("one")
        assert consumer.held
        consumer.until(set())
        assert registered(consul, name), "still in the catalog, and critical"


def test_the_end_of_every_agent_and_of_the_server_is_survived(cluster: Cluster, consul: Consul) -> None:
    name = cluster.namespace
    cluster.create(deployment("web", registering(name, *each_agent(consul, "&ttl=3")), 2))
    with consuming(cluster.box, "consul", consul.server, name) as consumer:
        cluster.box.wait_until(lambda: len(consumer.held or ()) == 2, describe="both are registered")
        held = set(consumer.held or ())
        for each in consul.everything:
            each.kill()
        consul.start()
        cluster.create(pod("late", registering(name, *each_agent(consul))))
        consumer.until(held | {address_of(cluster.until_ready("late"))})


def test_an_app_that_its_agent_has_forgotten_registers_again(cluster: Cluster, consul: Consul) -> None:
    name = cluster.namespace
    cluster.create(pod("one", registering(name, *each_agent(consul, "&ttl=3")), nodeName="node-1"))
    address = address_of(cluster.until_ready("one"))
    with consuming(cluster.box, "consul", consul.server, name) as consumer:
        consumer.until({address})
        service_id = registered(consul, name)[0]["Service"]["ID"]
        consul.agent("node-1").ask(f"/v1/agent/service/deregister/{quote(service_id)}", "PUT")
        consumer.until_it_has_held({address}, set(), {address})
        cluster.says("one", '"did": "is not known any more"')


def test_a_weight_reaches_the_consumer(cluster: Cluster, consul: Consul) -> None:
    name = cluster.namespace
    cluster.create(pod("one", registering(name, *each_agent(consul), flags=["--register-weight=7"])))
    with consuming(cluster.box, "consul", consul.server, name) as consumer:
        consumer.until({address_of(cluster.until_ready("one")): 7.0})
