"""An etcd that apps register with: real apps, a real etcd, a real watch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localcluster.box import Box
from localcluster.servers.etcd import etcd
from localcluster.servers.server import Server
from tests.localcluster.pods import Cluster, deployment, pod
from tests.localcluster.registries import address_of, consuming, registering


@pytest.fixture(scope="module")
def server(box: Box) -> Iterator[Server]:
    with etcd(box) as running:
        yield running


@pytest.fixture
def cluster(box: Box, kube_namespace: str) -> Cluster:
    return Cluster(box, kube_namespace)


def test_an_app_is_there_for_a_consumer_from_its_start_to_its_sigterm(cluster: Cluster, server: Server) -> None:
    with consuming(cluster.box, "etcd", server, cluster.namespace) as consumer:
        consumer.until(set())
        cluster.create(pod("one", registering(cluster.namespace, f"etcd={server.url}", flags=["--linger=5"])))
        address = address_of(cluster.until_ready("one"))
        consumer.until({address: 1.0})
        cluster.delete("one", wait=False)
        consumer.until(set())
        assert cluster.exists("one")  # it deregistered first, and still finishes its work


def test_an_app_that_dies_is_there_until_its_lease_ends(cluster: Cluster, server: Server) -> None:
    registry = f"etcd={server.url}?ttl=2"
    cluster.create(pod("one", registering(cluster.namespace, registry, flags=["--on-term=die"])))
    address = address_of(cluster.until_ready("one"))
    with consuming(cluster.box, "etcd", server, cluster.namespace) as consumer:
        consumer.until({address})
        cluster.delete("one")
        assert consumer.held == {address: 1.0}
        consumer.until(set())


def test_a_weight_reaches_the_consumer(cluster: Cluster, server: Server) -> None:
    app = registering(cluster.namespace, f"etcd={server.url}", flags=["--register-weight=2.5"])
    cluster.create(pod("one", app))
    with consuming(cluster.box, "etcd", server, cluster.namespace) as consumer:
        consumer.until({address_of(cluster.until_ready("one")): 2.5})


def test_a_restart_of_etcd_is_survived_by_apps_and_consumers(cluster: Cluster, server: Server) -> None:
    cluster.create(deployment("web", registering(cluster.namespace, f"etcd={server.url}?ttl=5"), 2))
    with consuming(cluster.box, "etcd", server, cluster.namespace) as consumer:
        cluster.box.wait_until(lambda: len(consumer.held or ()) == 2, describe="both are registered")
        held = set(consumer.held or ())
        server.kill()
        server.start()
        cluster.create(pod("late", registering(cluster.namespace, f"etcd={server.url}")))
        late = address_of(cluster.until_ready("late"))
        consumer.until(held | {late})
