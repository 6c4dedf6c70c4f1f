"""One box with three nodes, and the operator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from localcluster.box import Box
from tests.e2e.one_operator import _operator, operator  # noqa: F401
from tests.e2e.workloads import WithoutRoute
from tests.installed import install

QUICK = ("--node-monitor-grace-period=25s",)
"""So long a node may be silent; 50 s by default."""


@pytest.fixture(scope="package")
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """Three process nodes, and all that `manifests/install` brings but for the operator's own pods."""
    name = f"disruptions-{os.getpid()}"
    with Box(nodes=3, name=name, controller_manager_flags=QUICK, keep_logs=False) as box:
        install(box)
        yield box
        box.keep_logs = request.session.testsfailed > 0


@pytest.fixture
def web(box: Box, make_namespace: Callable[[], str]) -> Callable[..., WithoutRoute]:
    """Makes a Web in a namespace of its own. It has no route: there is no gateway here."""

    def make(**changes: Any) -> WithoutRoute:
        return WithoutRoute(box, make_namespace(), **changes)

    return make
