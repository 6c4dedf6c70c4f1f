"""Dubbo providers as pods, asked by a real Dubbo consumer that finds them in a real ZooKeeper.

How a provider is taken out by a router is shown for both kinds of registration, for the operator relies on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from localcluster import Box
from localcluster.load import Cause
from localcluster.load.dubbo import DubboPlan, running_dubbo
from localcluster.load.running import LoadRun
from localcluster.servers.dubbo import INTERFACE, PORT, Provider, qos
from localcluster.servers.zookeeper import ZooKeeper
from tests.localcluster.java import needs_java
from tests.localcluster.pods import Cluster, deployment, is_ready, pod

pytestmark = needs_java

WITHIN = 90.0
SETTLED = 40
"""So many requests in a row show who is asked."""
Follows = Literal["interface", "application"]
DUBBOS_OWN: dict[str, Any] = {"cluster": "failover", "retries": 2}
"""Whenever a list changes, a consumer may have chosen a provider that it drops before it asks it: "Rpc invoker … is
DESTROYED". Nothing was sent, so trying another one is safe; who fails fast loses the request."""


@pytest.fixture(scope="module")
def zookeeper(box: Box) -> Iterator[ZooKeeper]:
    with ZooKeeper(box) as running:
        yield running


class Shop:
    """Providers and a consumer of one test: a group of their own in the ZooKeeper that all tests share."""

    def __init__(self, box: Box, namespace: str, zookeeper: ZooKeeper) -> None:
        self.cluster = Cluster(box, namespace)
        self.box = box
        self.group = namespace
        self.zookeeper = zookeeper

    def how(self, **how: Any) -> Provider:
        settings = {"app": self.group, "group": self.group, "qos": "off", **how}
        return Provider(self.zookeeper.connect_string, **settings)

    def pods(self, *names: str, **how: Any) -> list[str]:
        """Makes pods and returns their addresses, `<ip>:<port>`, once they are ready."""
        self.cluster.create(*(pod(name, self.how(**how).container()) for name in names))
        return [f"{self.cluster.until_ready(name, WITHIN)['status']['podIP']}:{PORT}" for name in names]

    def plan(self, **how: Any) -> DubboPlan:
        """Fails fast, or as Dubbo does by itself: tries another provider, with `**DUBBOS_OWN`."""
        return DubboPlan(**{"rate": 30, "registry": self.zookeeper.connect_string, "group": self.group, **how})

    def route_away(self, *addresses: str) -> None:
        """A condition router of the service; its node has both colons also where one of version and group is empty."""
        rule = {"scope": "service", "key": f"{self.group}/{INTERFACE}", "force": False, "runtime": True}
        text = json.dumps({**rule, "enabled": True, "conditions": [f"=> address != {','.join(addresses)}"]})
        self.zookeeper.write(f"/dubbo/config/dubbo/{INTERFACE}::{self.group}.condition-router", text)

    def until_asked(self, run: LoadRun, *pods: str) -> None:
        """Waits until the last answers came from these pods, and each gave some."""

        def asked() -> bool:
            last = run.so_far().answered[-SETTLED:]
            return {result.pod for result in last} == set(pods)

        self.box.wait_until(asked, WITHIN, f"only {pods} are asked")


@pytest.fixture
def shop(box: Box, kube_namespace: str, zookeeper: ZooKeeper) -> Shop:
    return Shop(box, kube_namespace, zookeeper)


def test_every_request_is_answered_and_logged_by_a_pod(shop: Shop) -> None:
    shop.pods("one", "two")
    with running_dubbo(shop.box, shop.plan(), namespace=shop.group) as run:
        shop.until_asked(run, "one", "two")
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    assert outcome.reconciliation is not None
    assert len(outcome.reconciliation.served_by) == outcome.sent
    assert not outcome.reconciliation.served_twice


def test_a_provider_that_is_killed_loses_what_it_was_working_on(shop: Shop) -> None:
    shop.pods("two")
    argv = ["sh", "-c", shop.how().shell()]
    env = {"POD_NAME": "one", "POD_IP": "10.244.200.1"}
    one = shop.box.popen(argv, env=env, log=f"dubbo-{shop.group}")
    plan = shop.plan(path="/slow?s=1", timeout=20.0)
    with running_dubbo(shop.box, plan, namespace=shop.group, reconciled=False) as run:
        shop.until_asked(run, "one", "two")
        one.kill()
        shop.until_asked(run, "two")
        outcome = run.finish()
    assert outcome.lost
    assert {result.pod for result in outcome.lost} == {"one"}
    # Dubbo knows that the connection is gone, and lets some wait for their answers all the same; or connects once more.
    assert {result.cause for result in outcome.lost} <= {
        Cause.REFUSED,
        Cause.KEPT_ALIVE_CLOSED,
        Cause.CLOSED,
        Cause.TIMEOUT,
        Cause.STATUS,  # the consumer's own word, when it has heard of the end before the request was sent
    }


def test_a_restart_of_zookeeper_is_survived_by_provider_and_consumer(shop: Shop, zookeeper: ZooKeeper) -> None:
    shop.pods("one", "two")
    with running_dubbo(shop.box, shop.plan(), namespace=shop.group) as run:
        shop.until_asked(run, "one", "two")
        zookeeper.restart()
        shop.pods("three")  # which is heard of only by a consumer that is connected again
        shop.until_asked(run, "one", "two", "three")
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()


@pytest.mark.parametrize("follows", ["interface", "application"])
def test_qos_offline_takes_a_provider_out_that_still_serves_and_online_brings_it_back(
    shop: Shop, follows: Follows
) -> None:
    shop.pods("one", "two", qos="loopback")
    with running_dubbo(shop.box, shop.plan(follows=follows, **DUBBOS_OWN), namespace=shop.group) as run:
        shop.until_asked(run, "one", "two")
        said = shop.box.kubectl("exec", "one", "-n", shop.group, "--", *qos("offline"))
        assert "OK" in said
        shop.until_asked(run, "two")
        shop.box.kubectl("exec", "one", "-n", shop.group, "--", *qos("online"))
        shop.until_asked(run, "one", "two")
        outcome = run.finish()
    assert is_ready(shop.cluster.pod("one"))
    assert not outcome.lost, outcome.explain()


def test_qos_on_the_pods_address_refuses_strangers_unless_they_are_let_in(shop: Shop) -> None:
    shop.pods("closed", qos="pod")
    shop.pods("open", qos="pod", more={"dubbo.application.qos-anonymous-access-permission-level": "PROTECTED"})

    def status_of(name: str) -> str:
        ip = shop.cluster.pod(name)["status"]["podIP"]
        argv = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", f"http://{ip}:22222/ls"]
        return shop.box.run(argv, check=False).stdout

    assert status_of("closed") == "403"
    assert status_of("open") == "200"


@pytest.mark.parametrize("follows", ["interface", "application"])
def test_a_router_takes_a_provider_out_lets_its_work_end_and_brings_it_back(shop: Shop, follows: Follows) -> None:
    one, _ = shop.pods("one", "two")
    plan = shop.plan(follows=follows, path="/slow?s=1")
    with running_dubbo(shop.box, plan, namespace=shop.group) as run:
        shop.until_asked(run, "one", "two")
        for _ in range(2):
            shop.route_away(one)
            shop.until_asked(run, "two")
            shop.route_away("nobody")
            shop.until_asked(run, "one", "two")
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    assert outcome.reconciliation is not None
    assert not outcome.reconciliation.served_twice


def test_a_native_rollout_of_providers_loses_no_answer(shop: Shop) -> None:
    """Dubbo deregisters on SIGTERM and ends its work; what can be lost was never sent, see DUBBOS_OWN."""
    shop.cluster.create(deployment("web", shop.how().container(), 2))
    shop.box.kubectl("rollout", "status", "deployment/web", "-n", shop.group, "--timeout=90s")
    with running_dubbo(shop.box, shop.plan(path="/slow?s=0.2"), namespace=shop.group) as run:
        before = {each["metadata"]["name"] for each in shop.cluster.pods()}
        shop.until_asked(run, *before)
        shop.box.kubectl("rollout", "restart", "deployment/web", "-n", shop.group)
        shop.box.kubectl("rollout", "status", "deployment/web", "-n", shop.group, "--timeout=120s")
        after = {each["metadata"]["name"] for each in shop.cluster.pods()} - before
        shop.until_asked(run, *after)
        outcome = run.finish()
    assert outcome.reconciliation is not None
    assert not outcome.reconciliation.answer_lost, outcome.explain()
    assert all(result.cause is Cause.CLOSED for result in outcome.lost), outcome.explain()
