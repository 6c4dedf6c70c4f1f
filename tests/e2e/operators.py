"""The operator as a test runs it: a process in the box with the rights of its service account and no others."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from localcluster.box import Box
from tests.e2e.workloads import Web

NAMESPACE = "lossless-system"
LEASE = "lossless-operator"


class Operator:
    """One replica of the operator. Started, killed and started again at will."""

    def __init__(self, box: Box, identity: str, kubeconfig: Path, http_port: int = 0) -> None:
        self.identity = identity
        self._box = box
        self._http = f"127.0.0.1:{http_port}"
        self._argv = [str(Path(sys.executable).parent / "lossless-operator"), "--kubeconfig", str(kubeconfig)]
        self._argv += ["--identity", identity, "--lease-namespace", NAMESPACE, "--http-port", str(http_port)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Operator:
        assert self._process is None or self._process.poll() is not None, "it runs already"
        self._process = self._box.popen(self._argv, log=f"operator-{self.identity}")
        return self

    def kill(self) -> None:
        """SIGKILL: it has no chance to tidy up, and its Lease is not released."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def kill_long_ago(self) -> None:
        """As `kill`, but its Lease runs out at once: whoever leads next, itself perhaps, need not wait for that.

        That they do wait is shown where a standby takes over.
        """
        self.kill()
        path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{LEASE}"
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1}
        self._box.api.request("PATCH", path, {"spec": spec}, "application/merge-patch+json")

    def stop(self) -> None:
        """SIGTERM, as a kubelet would."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return (self._box.logs / f"operator-{self.identity}.log").read_text(errors="replace")

    @property
    def metrics(self) -> str:
        """What it answers at `/metrics`."""
        with urllib.request.urlopen(f"http://{self._box.forward(self._http)}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def counted(self, name: str, web: Web) -> float:
        """What its metrics have of one counter, for one workload."""
        families = text_string_to_metric_families(self.metrics)
        labels = {"namespace": web.namespace, "rollout": "web"}
        samples = [one for family in families for one in family.samples if one.name == name and one.labels == labels]
        return samples[0].value if samples else 0


def leader(box: Box) -> str:
    """The identity in the Lease; empty when nobody holds it."""
    lease = box.get("lease", LEASE, NAMESPACE)
    return str(lease["spec"].get("holderIdentity") or "")


def wait_for_leader(box: Box, timeout: float = 30) -> str:
    return box.wait_until(lambda: leader(box), timeout, "an operator leads")


def kill_at(stage: str, web: Web, operator: Operator, old: set[str]) -> None:
    """SIGKILL as soon as a pod is seen in this stage; a new pod if it is one of the way in, else an old one."""
    coming = stage in ("Starting", "Settling", "Waiting", "Warming", "Admitted")

    def seen() -> bool:
        return any(
            (pod["metadata"]["uid"] not in old) == coming
            and pod["metadata"].get("annotations", {}).get("lossless.dev/stage", "Starting") == stage
            for pod in web.pods()
        )

    web.box.wait_until(seen, 60, f"a pod is {stage}", every=0.03)
    operator.kill_long_ago()


def sleep_until(moment: float) -> None:
    """For storms, whose steps come at fixed moments."""
    time.sleep(max(0.0, moment - time.time()))
