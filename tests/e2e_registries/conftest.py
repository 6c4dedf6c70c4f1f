"""One box with the operator's manifests, the registries beside it, and a namespace for each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from localcluster.box import Box
from localcluster.servers.consul import Consul
from localcluster.servers.etcd import etcd
from localcluster.servers.eureka import eureka, peers
from localcluster.servers.nacos import nacos
from tests.e2e.one_operator import _operator, operator  # noqa: F401
from tests.e2e_registries.shops import (
    NODES,
    ConsulRegistry,
    EtcdRegistry,
    EurekaPair,
    EurekaRegistry,
    FollowedRegistry,
    FollowedShop,
    Make,
    NacosRegistry,
    ProtectedNacosRegistry,
)
from tests.installed import install
from tests.localcluster.registries import made


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
def eureka_pair_registry(box: Box) -> Iterator[EurekaPair]:
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
        yield EurekaPair(first, second)


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
