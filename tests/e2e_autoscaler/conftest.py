"""One box with a real autoscaler that looks often, real metrics, and the operator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from localcluster.box import Box
from localcluster.servers.metrics_server import MetricsServer
from tests.e2e.one_operator import _operator, operator  # noqa: F401
from tests.e2e_autoscaler.fake_metrics import FakeMetrics
from tests.e2e_autoscaler.scaled import Scaled
from tests.installed import install

QUICK = (
    "--horizontal-pod-autoscaler-sync-period=3s",
    # Pods that are older count with the CPU that they use, ready or not.
    "--horizontal-pod-autoscaler-cpu-initialization-period=25s",
)


@pytest.fixture(scope="package")
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """Two process nodes, metrics-server, and all that `manifests/install` brings but for the operator's own pods."""
    name = f"autoscaler-{os.getpid()}"
    with Box(nodes=2, name=name, controller_manager_flags=QUICK, keep_logs=False) as box:
        install(box)
        with MetricsServer(box):
            yield box
        box.keep_logs = request.session.testsfailed > 0


@pytest.fixture(scope="package")
def metrics(box: Box) -> Iterator[FakeMetrics]:
    """Custom and external metrics, by a fake."""
    with FakeMetrics(box) as metrics:
        yield metrics


@pytest.fixture
def scaled(box: Box, make_namespace: Callable[[], str]) -> Callable[..., Scaled]:
    """Makes a Scaled in a namespace of its own."""

    def make(**changes: Any) -> Scaled:
        return Scaled(box, make_namespace(), **changes)

    return make
