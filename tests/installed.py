"""What an administrator applies, without the operator's own pods: tests start it themselves, or do without."""

from __future__ import annotations

from pathlib import Path

from localcluster.box import Box

MANIFESTS = Path(__file__).parents[1] / "manifests"


def install(box: Box, which: str = "install") -> None:
    """Apply one of the folders of `manifests/`, with no replicas from the start, and wait until the CRD is served."""
    text = box.kubectl("kustomize", str(MANIFESTS / which))
    assert "replicas: 2" in text
    box.kubectl("apply", "--server-side", "-f", "-", input=text.replace("replicas: 2", "replicas: 0"))
    box.kubectl("wait", "--for=condition=Established", "crd/losslessrollouts.lossless.dev", "--timeout=30s")
