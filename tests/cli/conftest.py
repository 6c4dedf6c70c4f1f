"""A real cluster with our CRD and policies, and without an operator: what the command line has to cope with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localcluster.box import Box
from tests.cli.shop import Shop

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package")
def box() -> Iterator[Box]:
    with Box(nodes=1) as box:
        box.kubectl("apply", "--server-side", "-k", str(ROOT / "manifests" / "admin"))
        box.kubectl("wait", "--for=condition=Established", "crd/losslessrollouts.lossless.dev", "--timeout=30s")
        yield box


@pytest.fixture
def shop(box: Box, make_namespace: Callable[[], str], capsys: pytest.CaptureFixture[str]) -> Shop:
    """A new namespace, and the command line pointed at it."""
    return Shop(box, make_namespace(), capsys)
