"""Requests that go where a real registry says, in a real cluster."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

from localcluster import Box, load
from localcluster.load import Cause, FollowedAddresses, Plan, rates
from localcluster.servers.etcd import etcd
from localcluster.servers.server import Server
from tests.localcluster.pods import Cluster, pod
from tests.localcluster.registries import address_of, consuming, registering


@pytest.fixture(scope="module")
def server(box: Box) -> Iterator[Server]:
    with etcd(box) as running:
        yield running


@pytest.fixture
def cluster(box: Box, kube_namespace: str) -> Cluster:
    return Cluster(box, kube_namespace)


def following(server: Server, service: str, clients: int = 1) -> FollowedAddresses:
    command = (sys.executable, "-m", "localcluster.consumers", "etcd", server.url, service)
    return FollowedAddresses(command, clients=clients)


def test_pods_are_asked_in_proportion_to_the_weights_they_registered_with(cluster: Cluster, server: Server) -> None:
    name = cluster.namespace
    weights = {"light": 1, "heavy": 3}
    for each, weight in weights.items():
        app = registering(name, f"etcd={server.url}", flags=[f"--register-weight={weight}"])
        cluster.create(pod(each, app))
    both = {address_of(cluster.until_ready(each)) for each in weights}
    with consuming(cluster.box, "etcd", server, name) as consumer:
        consumer.until(both)
    plan = Plan(80, (following(server, name, clients=2),), duration=2)
    with load.running(cluster.box, plan, namespace=name) as run:
        outcome = run.wait()
    assert not outcome.lost, outcome.explain()
    asked = {pod: sum(rate for _, rate in series) for pod, series in rates(outcome.results).items()}
    assert asked == {"light": 40, "heavy": 120}


def test_when_the_last_pod_deregisters_there_is_nobody_to_ask_and_nothing_is_refused(
    cluster: Cluster, server: Server
) -> None:
    name = cluster.namespace
    cluster.create(pod("one", registering(name, f"etcd={server.url}", flags=["--linger=1"])))
    cluster.until_ready("one")
    with load.running(cluster.box, Plan(50, (following(server, name),)), namespace=name) as run:
        cluster.delete("one")
        time.sleep(1)
        outcome = run.finish()
    assert {result.cause for result in outcome.results} >= {Cause.OK, Cause.NO_ADDRESS}


def test_an_app_that_deregisters_too_late_loses_what_its_callers_still_send(cluster: Cluster, server: Server) -> None:
    """The negative control: the caller believes the registry, and the registry is told late."""
    name = cluster.namespace
    for each in ("one", "two"):
        cluster.create(pod(each, registering(name, f"etcd={server.url}?ttl=5", flags=["--on-term=die"])))
        cluster.until_ready(each)
    with load.running(cluster.box, Plan(50, (following(server, name),)), namespace=name) as run:
        cluster.delete("one")
        gone = run.mark("gone")
        cluster.box.wait_until(
            lambda: any(result.at > gone + 2 for result in run.so_far().results), describe="two seconds of load"
        )
        outcome = run.finish()
    assert Cause.REFUSED in {result.cause for result in outcome.window("gone").lost}
    assert {result.pod for result in outcome.window("gone").answered} == {"two"}
