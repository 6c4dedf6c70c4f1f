"""Releases of a Dubbo application, under the load of Dubbo's own consumer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
import yaml

from localcluster.box import Box
from localcluster.load import Outcome
from localcluster.load.dubbo import DubboPlan, running_dubbo
from localcluster.load.running import LoadRun
from localcluster.servers.dubbo import INTERFACE, PORT, Provider
from localcluster.servers.zookeeper import ZooKeeper
from tests.e2e.operators import Operator
from tests.e2e.workloads import Manifest
from tests.e2e_registries.shops import (
    RAMP,
    Shop,
    delete_in_mid_ramp,
    go_on_without_registry,
    kill_in_each,
    ramp_through_a_kill,
    storm,
    wait_until_answered,
    wait_until_one_is,
)
from tests.localcluster.registries import made

STAGES = ("Admitted", "Withdrawn", "Draining", "Drained")
AT_ONCE = {"maxSurge": "100%", "maxUnavailable": 0}


class DubboRegistry:
    """Interfaces and applications in ZooKeeper."""

    kind = "dubbo"

    def __init__(self, zookeeper: ZooKeeper) -> None:
        self.zookeeper = zookeeper

    def spec(self, service: str) -> Mapping[str, Any]:
        dubbo = {"zookeeper": [self.zookeeper.connect_string], "application": service}
        return {"name": "dubbo", "settle": "4s", "dubbo": dubbo}

    def away(self) -> None:
        self.zookeeper.kill()

    def back(self) -> None:
        self.zookeeper.start()

    def held(self, service: str) -> Mapping[str, str]:
        router, rule = self._said(service, "condition-router"), self._said(service, "configurators")
        return {
            each: "taken out" if f"{each}," in router else "there is a rule" if rule else ""
            for each in self._found(service)
        }

    def parts(self, service: str) -> Mapping[str, float]:
        # In this order: a pod is given its weight before it is let in.
        router, rule = self._said(service, "condition-router"), self._said(service, "configurators")
        given = {
            address: int(entry["parameters"]["weight"]) / 100
            for entry in (yaml.safe_load(rule) or {}).get("configs", ())
            for address in entry["providerAddresses"]
        }
        return {each: 0.0 if f"{each}," in router else given.get(each, 1.0) for each in self._found(service)}

    def said(self, service: str) -> str:
        """To all consumers; empty: nothing."""
        return self._said(service, "condition-router") + self._said(service, "configurators")

    def _found(self, service: str) -> list[str]:
        return self.zookeeper.children(f"/services/{service}")

    def _said(self, service: str, what: str) -> str:
        """A document of the only interface; groups are named after services here. Empty: there is none."""
        return self.zookeeper.read(f"/dubbo/config/dubbo/{INTERFACE}::{service}.{what}") or ""


class DubboByQos(DubboRegistry):
    """The same; but a provider is told itself, at a QoS port that lets strangers command."""

    def spec(self, service: str) -> Mapping[str, Any]:
        whole = super().spec(service)
        return {**whole, "dubbo": {**whole["dubbo"], "via": "QoS"}}


@dataclass(frozen=True, kw_only=True)
class DubboShop(Shop):
    """Dubbo providers whose calls take longer than they are given to shut down."""

    registry: DubboRegistry
    replicas: int = 2
    grace: int = 1
    qos: Literal["pod", "off"] = "off"
    """Whether its pods take commands, from anybody."""
    delay: int | None = None
    """Milliseconds after its start that it registers and serves: it starts closed."""

    def deployment(self, version: str = "1") -> Manifest:
        whole = super().deployment(version)
        provider = Provider(
            self.registry.zookeeper.connect_string,
            app=self.namespace,
            group=self.namespace,
            qos=self.qos,
            more={"dubbo.application.qos-anonymous-access-permission-level": "PROTECTED"},
            delay=self.delay,
        )
        container = provider.container()
        container["env"].append({"name": "VERSION", "value": version})
        whole["spec"]["template"]["spec"]["containers"] = [container]
        return whole

    def address(self, pod: Manifest) -> str:
        return f"{pod['status'].get('podIP')}:{PORT}"


@pytest.fixture(scope="module")
def registry(box: Box) -> Iterator[DubboRegistry]:
    with made(lambda: ZooKeeper(box)) as zookeeper:
        yield DubboRegistry(zookeeper)


@pytest.fixture
def dubbo(box: Box, make_namespace: Callable[[], str], registry: DubboRegistry) -> DubboShop:
    return DubboShop(box, make_namespace(), registry=registry)


def released(shop: DubboShop, version: str = "2", meanwhile: Callable[[LoadRun], None] = lambda run: None) -> Outcome:
    registry = shop.registry.zookeeper.connect_string
    plan = DubboPlan(rate=30, registry=registry, group=shop.namespace, path="/slow?s=2")
    with running_dubbo(shop.box, plan, namespace=shop.namespace, reconciled=False) as run:
        wait_until_answered(run)
        run.mark("release")
        shop.release(version)
        meanwhile(run)
        shop.wait_until_rolled_out()
        time.sleep(2)
        return run.finish()


def test_by_itself_a_release_loses_requests(dubbo: DubboShop) -> None:
    """The negative control. A provider that is killed with a call in its hands loses it; now and then it has none."""
    dubbo.deploy()
    assert any(released(dubbo, version).lost for version in ("2", "3", "4")), (
        "the harness proves nothing if a plain Deployment loses nothing"
    )


def test_a_release_in_which_the_operator_is_killed_in_each_stage_loses_nothing_and_leaves_nothing(
    dubbo: DubboShop, operator: Operator
) -> None:
    app = dubbo.cared_for()
    old = app.uids()
    outcome = released(app, meanwhile=lambda run: kill_in_each(STAGES, app, operator, old, run))
    assert not outcome.lost, outcome.explain()
    app.wait_until_nothing_is_left()


def test_a_ramp_outlives_a_killed_operator_and_its_rule_outlives_neither_the_ramp_nor_the_losslessrollout(
    dubbo: DubboShop, operator: Operator
) -> None:
    """With every step of a ramp consumers make anew what they call by, and a request that has just chosen may be lost,
    as docs/registries.md says. No other one is."""
    app = replace(dubbo, strategy=AT_ONCE).cared_for(warmup={"ramp": {"duration": f"{RAMP:g}s"}})
    registry = app.registry
    plan = DubboPlan(rate=30, registry=registry.zookeeper.connect_string, group=app.namespace, path="/slow?s=1")
    with running_dubbo(app.box, plan, namespace=app.namespace, reconciled=False) as run:
        wait_until_answered(run)
        ramp_through_a_kill(app, registry, operator, run)
        time.sleep(2)
        outcome = run.finish()
    print(outcome.summary())
    assert all("destroyed" in one.detail for one in outcome.lost), outcome.explain()
    app.wait_until_nothing_is_left()
    delete_in_mid_ramp(app, registry)
    app.wait_until_nothing_is_left()


def test_a_storm_over_providers_that_start_closed_loses_nothing(dubbo: DubboShop, operator: Operator) -> None:
    # As long as the default: consumers put together what changes often, for up to 5 s.
    patient = {**dubbo.named(), "settle": "10s"}
    app = replace(dubbo, replicas=4, delay=3000).cared_for(traffic={"registries": [patient]})
    registry = app.registry.zookeeper.connect_string
    plan = DubboPlan(rate=30, registry=registry, group=app.namespace, path="/slow?s=1")
    with running_dubbo(app.box, plan, namespace=app.namespace, reconciled=False) as run:
        wait_until_answered(run)
        storm(app)
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    app.wait_until_nothing_is_left()


def test_a_release_by_qos_that_is_undone_on_its_way_loses_nothing(dubbo: DubboShop, operator: Operator) -> None:
    by_qos = DubboByQos(dubbo.registry.zookeeper)
    app = replace(dubbo, registry=by_qos, qos="pod", strategy=AT_ONCE).cared_for()
    old = app.addresses()

    def undone(run: LoadRun) -> None:
        wait_until_one_is("Draining", app)
        offline = old - set(by_qos.held(app.namespace))
        assert offline, "a provider that is offline is registered no more"
        assert not by_qos.said(app.namespace), "nobody else is told"
        app.undo()
        run.mark("undone")

    outcome = released(app, meanwhile=undone)
    assert not outcome.lost, outcome.explain()
    assert app.addresses() == old
    app.wait_until_nothing_is_left()


def test_a_release_waits_for_a_zookeeper_that_is_away_for_20_s(dubbo: DubboShop, operator: Operator) -> None:
    app = dubbo.cared_for()
    zookeeper = app.registry.zookeeper
    plan = DubboPlan(rate=30, registry=zookeeper.connect_string, group=app.namespace, path="/slow?s=1")
    with running_dubbo(app.box, plan, namespace=app.namespace, reconciled=False) as run:
        wait_until_answered(run)
        app.release("2")
        go_on_without_registry(app, run, seconds=20)
        app.wait_until_rolled_out()
        time.sleep(2)
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    app.wait_until_nothing_is_left()
