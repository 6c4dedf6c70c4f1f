"""A real API server with the definition in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.box import Box

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="package")
def box() -> Iterator[Box]:
    with Box(nodes=0) as box:
        box.kubectl("apply", "--server-side", "-k", str(CRDS))
        box.kubectl("wait", "--for=condition=Established", "crd/losslessrollouts.lossless.dev", "--timeout=30s")
        yield box
