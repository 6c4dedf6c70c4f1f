"""A control plane with the policies, and a namespace for each test. No node: these tests are about the API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localcluster.box import Box
from tests.policies.bench import CONTROLLER_MANAGER_FLAGS, Bench, make_node

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package")
def box() -> Iterator[Box]:
    """With all that an administrator installs: the CRD, the policies, roles for users."""
    with Box(nodes=0, controller_manager_flags=CONTROLLER_MANAGER_FLAGS) as box:
        make_node(box)
        box.kubectl("apply", "--server-side", "-k", str(ROOT / "manifests" / "admin"))
        box.kubectl("wait", "--for=condition=Established", "crd/losslessrollouts.lossless.dev", "--timeout=30s")
        yield box


@pytest.fixture
def bench(box: Box, make_namespace: Callable[[], str]) -> Bench:
    """A new namespace."""
    return Bench(box, make_namespace())


@pytest.fixture
def elsewhere(box: Box, make_namespace: Callable[[], str]) -> Bench:
    """Another new namespace."""
    return Bench(box, make_namespace())
