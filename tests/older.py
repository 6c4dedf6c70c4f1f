"""An older Kubernetes, for what differs there. Who has not built it skips these tests; CI may not."""

from __future__ import annotations

import pytest

from localcluster import binaries

OLDER = "1.34.4"

needs_older = pytest.mark.skipif(
    not (binaries.cache_directory(OLDER) / "kube-apiserver").exists(),
    reason=f"needs `localcluster build --kubernetes-version {OLDER}`",
)
