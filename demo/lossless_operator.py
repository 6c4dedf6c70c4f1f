"""Putting the operator into a box: what it brings to the cluster, and itself as a process with its own rights only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localcluster import Box, BoxError
from localcluster.process import tail

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "lossless-system"
LEASE = "lossless-operator"


@contextmanager
def installed(box: Box) -> Iterator[None]:
    """The operator works in this box while the block runs.

    Everything is installed as in any cluster; but a box has no container images, so the operator's own Deployment is
    set to no replicas and the operator runs as a process, as its service account.
    """
    manifests = box.kubectl("kustomize", str(ROOT / "manifests" / "install"))
    box.kubectl("apply", "--server-side", "-f", "-", input=manifests.replace("replicas: 2", "replicas: 0"))
    box.kubectl("wait", "--for=condition=Established", "crd/losslessrollouts.lossless.dev", "--timeout=20s")
    kubeconfig = box.kubeconfig_for(f"system:serviceaccount:{NAMESPACE}:lossless-operator", inside=True)
    argv = [str(Path(sys.executable).parent / "lossless-operator"), "--kubeconfig", str(kubeconfig)]
    argv += ["--lease-namespace", NAMESPACE, "--http-port", "0"]
    process = box.popen(argv, log="lossless-operator")
    try:
        box.wait_until(lambda: _leads(box, process), 30, "the operator leads; see lossless-operator.log")
        yield
    finally:
        process.terminate()
        process.wait(20)


def wait_for_the_door(box: Box, namespace: str) -> None:
    """Until pods are born with their gate here. Those that were there before would be let go without a preStop sleep:
    lossless too, and sooner, but not what every later release is like."""
    box.wait_until(lambda: bool(box.listed("limitranges", namespace)), 30, "the policies know the LosslessRollout")


def _leads(box: Box, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        log = box.logs / "lossless-operator.log"
        raise BoxError(f"the operator ended with status {process.returncode}. The end of {log}:\n{tail(log)}")
    return bool(box.get("lease", LEASE, NAMESPACE)["spec"].get("holderIdentity"))
