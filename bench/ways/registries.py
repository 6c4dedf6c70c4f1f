"""Registries with weights, each with a consumer that balances by itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench import workload
from bench.testbed import Testbed
from bench.ways.way import NAME, Called, Make, Way
from localcluster.load import FollowedAddresses, Plan, running
from localcluster.load.dubbo import DubboPlan, running_dubbo
from localcluster.servers.dubbo import Provider
from localcluster.servers.nacos import nacos
from localcluster.servers.zookeeper import ZooKeeper

CONSUMER: Final = (sys.executable, "-m", "localcluster.consumers", "nacos-http")


@contextmanager
def _nacos(bed: Testbed) -> Iterator[Make]:
    with nacos(bed.box, say=bed.say) as server:

        def make(namespace: str, replicas: int) -> Called:
            caller = FollowedAddresses((*CONSUMER, server.url, namespace, "--every=0.5"))
            # rnacos takes a weight of exactly 1 for none at all.
            flags = f"--service={namespace}", f"--register=nacos={server.url}?beat=2", "--register-weight=2"
            spec = {"servers": [f"{server.url}/nacos"], "service": namespace}
            return Called(
                workload.serving(NAME, namespace, replicas, {}, flags),
                {"registries": [{"name": "nacos", "nacos": spec}]},
                lambda rate: running(bed.box, Plan(rate, (caller,)), namespace=namespace),
            )

        yield make


@contextmanager
def _dubbo(bed: Testbed) -> Iterator[Make]:
    with ZooKeeper(bed.box, say=bed.say) as zookeeper:
        registry = zookeeper.connect_string

        def make(namespace: str, replicas: int) -> Called:
            provider = Provider(registry, app=namespace, group=namespace, qos="off")
            spec = {"zookeeper": [registry], "application": namespace}
            return Called(
                [workload.deployment(NAME, namespace, replicas, provider.container(say=bed.say), {})],
                {"registries": [{"name": "dubbo", "dubbo": spec}]},
                lambda rate: running_dubbo(bed.box, DubboPlan(rate, registry, group=namespace), namespace=namespace),
            )

        yield make


NACOS: Final = Way("Nacos", "in Nacos, by a consumer that balances by weight", _nacos)
DUBBO: Final = Way("Dubbo", "in Dubbo over ZooKeeper, by Dubbo's own consumer", _dubbo, by_lot=True)
