"""One box with the operator's manifests, the registries beside it, and a namespace for each test."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from localcluster.box import Box
from localcluster.servers.consul import Consul
from localcluster.servers.etcd import etcd
from localcluster.servers.eureka import eureka, peers
from localcluster.servers.nacos import nacos
from localcluster.servers.server import Server
from tests.e2e.one_operator import _operator, operator  # noqa: F401
from tests.e2e_registries.registries import (
    NODES,
    ConsulRegistry,
    EtcdRegistry,
    EurekaRegistry,
    FollowedRegistry,
    MisheardConsulRegistry,
    NacosRegistry,
    ProtectedNacosRegistry,
)
from tests.e2e_registries.shops import FollowedShop, Make
from tests.installed import install
from tests.localcluster.registries import made

FAULTY_PROXY = "10.0.1.70:8500"


@pytest.fixture(scope="package")
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """Two process nodes, and all that `manifests/install` brings but for the operator's own pods."""
    with Box(nodes=2, name=f"registries-{os.getpid()}", keep_logs=False) as box:
        install(box)
        yield box
        box.keep_logs = request.session.testsfailed > 0


@pytest.fixture(scope="package")
def etcd_registry(box: Box) -> Iterator[EtcdRegistry]:
    with made(lambda: etcd(box)) as server:
        yield EtcdRegistry(server)


@pytest.fixture(scope="package")
def consul_registry(box: Box) -> Iterator[ConsulRegistry]:
    with made(lambda: Consul(box, NODES)) as consul:
        yield ConsulRegistry(consul)


@pytest.fixture(scope="package")
def consul_misheard_registry(box: Box, consul_registry: ConsulRegistry) -> Iterator[MisheardConsulRegistry]:
    real = consul_registry.server.url
    argv = [sys.executable, "-m", "tests.e2e_registries.faulty_proxy", "--server", real, "--listen", FAULTY_PROXY]
    with Server(box, "faulty-proxy", FAULTY_PROXY, argv, lambda proxy: proxy.ask("/fake/met") is not None) as proxy:
        yield MisheardConsulRegistry(consul_registry.consul, proxy)


@pytest.fixture(scope="package")
def nacos_registry(box: Box) -> Iterator[NacosRegistry]:
    with made(lambda: nacos(box)) as server:
        yield NacosRegistry(server)


@pytest.fixture(scope="package")
def nacos_protected_registry(nacos_registry: NacosRegistry) -> ProtectedNacosRegistry:
    return ProtectedNacosRegistry(nacos_registry.server)


@pytest.fixture(scope="package")
def eureka_registry(box: Box) -> Iterator[EurekaRegistry]:
    with made(lambda: eureka(box, cache_update_ms=1000)) as server:
        yield EurekaRegistry(server)


@pytest.fixture(scope="package")
def eureka_pair_registry(box: Box) -> Iterator[EurekaRegistry]:
    with ExitStack() as stack:
        first, second = made(
            # One of them may bring a dead pod back that the other has forgotten: they are rid of it soon.
            lambda: peers(box, 2, first="10.0.1.90", cache_update_ms=1000, self_preservation=False, eviction_ms=2000)
        )
        for each in (first, second):
            each.process.start(wait=False)
            stack.callback(each.kill)
        for each in (first, second):
            each.process.wait_ready()
        yield EurekaRegistry(first, second)


KINDS = ("etcd", "consul", "nacos", "eureka")


@pytest.fixture(params=KINDS)
def registry(request: pytest.FixtureRequest) -> FollowedRegistry:
    """Each registry that apps here register themselves with."""
    found: FollowedRegistry = request.getfixturevalue(f"{request.param.replace('-', '_')}_registry")
    return found


@pytest.fixture
def shop(box: Box, make_namespace: Callable[[], str], registry: FollowedRegistry) -> Make:
    def make(**changes: Any) -> FollowedShop:
        return FollowedShop(box, make_namespace(), registry=registry, **changes)

    return make
