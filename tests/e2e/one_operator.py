"""Fixtures: the one operator of a package's box."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localcluster.box import Box
from tests.e2e.operators import NAMESPACE, Operator, wait_for_leader


@pytest.fixture(scope="package")
def _operator(box: Box) -> Iterator[Operator]:
    kubeconfig = box.kubeconfig_for(f"system:serviceaccount:{NAMESPACE}:lossless-operator", inside=True)
    one = Operator(box, "one", kubeconfig, http_port=18080)
    yield one
    one.kill()


@pytest.fixture
def operator(box: Box, _operator: Operator) -> Operator:
    """An operator that leads. Runs on from test to test, unless one has killed it."""
    if not _operator.running:
        _operator.start()
    wait_for_leader(box)
    return _operator
