"""An etcd that apps register with: real apps, a real etcd, a real watch."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from localcluster.box import Box
from localcluster.servers.etcd import etcd
from localcluster.servers.server import Server
from tests.localcluster.inside import ask
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
        cluster.create(pod("one", registering(cluster.namespace, f"etcd={server.url}")))
        address = address_of(cluster.until_ready("one"))
        consumer.until({address: 1.0})
        cluster.delete("one")
        consumer.until(set())
        assert '"did": "deregistered"' in cluster.logs("one")


WAITING_CLIENT = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=900).read()"


@contextmanager
def being_asked(cluster: Cluster, address: str, seconds: int) -> Iterator[subprocess.Popen[bytes]]:
    """A request that takes an app so long to answer; the block begins when the app works on it."""
    argv = [sys.executable, "-I", "-c", WAITING_CLIENT, f"http://{address}/slow?s={seconds}"]
    client = cluster.box.popen(argv, log="slow-client")
    cluster.box.wait_until(lambda: ask(cluster.box, f"{address}/inflight?") == ["1"], describe="it works on a request")
    yield client
    client.kill()
    client.wait()


def test_an_app_deregisters_before_it_finishes_its_work(cluster: Cluster, server: Server) -> None:
    cluster.create(pod("one", registering(cluster.namespace, f"etcd={server.url}")))
    address = address_of(cluster.until_ready("one"))
    with consuming(cluster.box, "etcd", server, cluster.namespace) as consumer:
        consumer.until({address})
        with being_asked(cluster, address, 600) as client:
            cluster.delete("one", grace=60, wait=False)
            consumer.until(set())
            assert client.poll() is None
        cluster.delete("one", grace=0)


def test_an_app_deregisters_after_its_work_if_it_is_told_to(cluster: Cluster, server: Server) -> None:
    cluster.create(pod("one", registering(cluster.namespace, f"etcd={server.url}", flags=["--deregister=last"])))
    address = address_of(cluster.until_ready("one"))
    with consuming(cluster.box, "etcd", server, cluster.namespace) as consumer:
        consumer.until({address})
        with being_asked(cluster, address, 5) as client:
            cluster.delete("one", wait=False)
            assert client.wait() == 0
        consumer.until(set())
        lines = [json.loads(line) for line in cluster.logs("one").splitlines()]
        assert [line.get("path") or line["did"] for line in lines] == ["registered", "/slow", "deregistered"]


def test_an_app_whose_lease_was_revoked_registers_again(cluster: Cluster, server: Server) -> None:
    cluster.create(pod("one", registering(cluster.namespace, f"etcd={server.url}?ttl=3")))
    address = address_of(cluster.until_ready("one"))
    with consuming(cluster.box, "etcd", server, cluster.namespace) as consumer:
        consumer.until({address})
        key = base64.b64encode(f"services/{cluster.namespace}/{address}".encode()).decode()
        (pair,) = json.loads(server.ask("/v3/kv/range", "POST", json.dumps({"key": key}).encode()) or b"")["kvs"]
        assert server.ask("/v3/lease/revoke", "POST", json.dumps({"ID": pair["lease"]}).encode()) is not None
        consumer.until_it_has_held({address}, set(), {address})


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
