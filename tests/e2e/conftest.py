"""One box with the operator installed, and a namespace for each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localcluster.box import Box
from tests.e2e.operators import NAMESPACE, Operator, wait_for_leader
from tests.e2e.workloads import Web
from tests.installed import install

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package")
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """Two process nodes, Traefik, and all that `manifests/install` brings but for the operator's own pods."""
    with Box(nodes=2, gateway=True, name=f"e2e-{os.getpid()}", keep_logs=False) as box:
        install(box)
        yield box
        box.keep_logs = request.session.testsfailed > 0


@pytest.fixture(scope="package")
def _operators(box: Box) -> Iterator[Callable[[str], Operator]]:
    kubeconfig = box.kubeconfig_for(f"system:serviceaccount:{NAMESPACE}:lossless-operator", inside=True)
    started: dict[str, Operator] = {}

    def operator(identity: str) -> Operator:
        if identity not in started:
            started[identity] = Operator(box, identity, kubeconfig, http_port=18080 + len(started))
        return started[identity]

    yield operator
    for one in started.values():
        one.kill()


@pytest.fixture
def operator(box: Box, _operators: Callable[[str], Operator]) -> Operator:
    """An operator that leads. Runs on from test to test, unless one has killed it."""
    one = _operators("one")
    if not one.running:
        one.start()
    wait_for_leader(box)
    return one


@pytest.fixture
def another_operator(box: Box, operator: Operator, _operators: Callable[[str], Operator]) -> Iterator[Operator]:
    """A second replica, standing by."""
    one = _operators("two").start()
    box.wait_until(lambda: "standing by" in one.log, 30, "the second replica stands by")
    yield one
    one.kill()


@pytest.fixture
def web(box: Box, make_namespace: Callable[[], str]) -> Callable[..., Web]:
    """Makes a Web in a namespace of its own."""

    def make(**changes: Any) -> Web:
        return Web(box, make_namespace(), **changes)

    return make
