"""A box with the operator at work in it, and what every measurement needs of the two."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from bench import audit
from bench.audit import Audit, Call
from bench.scrape import Scrape
from localcluster import Box, BoxError
from localcluster.recorder import Recording, recording
from localcluster.servers.kwok import APISERVER_FLAGS, Kwok

ROOT: Final = Path(__file__).resolve().parents[1]
OPERATOR_NAMESPACE: Final = "lossless-system"
LEASE: Final = "lossless-operator"
METRICS: Final = "10.0.0.1:18080"
"""Inside the box. A port that no pod asks for: the operator listens on every address, those of pods as well."""
NODES: Final = 3
"""At 110 pods each, as a kubelet has it: enough for 200 pods and what else is about."""
FAKE_NODES: Final = 20
STATUS_LAG: Final = 6.0
"""Seconds: the operator puts off those status writes that nobody waits for by up to 5."""
STRATEGIC: Final = "application/strategic-merge-patch+json"
MERGE: Final = "application/merge-patch+json"
_numbers = itertools.count(1)


class Testbed:
    """What a measurement is given."""

    __test__ = False

    def __init__(self, box: Box, log: Audit, operator: Operator, quick: bool, say: Callable[[str], None]) -> None:
        self.box = box
        self.operator = operator
        self.quick = quick
        """Fewer pods and rounds, for work on the operator itself."""
        self.say = say
        self._audit = log
        self._metrics_url = f"http://{box.forward(METRICS)}/metrics"

    def choose(self, full: int, quick: int) -> int:
        """How much of something, by how thorough the run is."""
        return quick if self.quick else full

    @contextmanager
    def namespace(self, name: str, *, wait: bool = True) -> Iterator[str]:
        """A namespace of its own. Afterwards it is gone with all that was in it: nothing may burden what comes next.

        One that never had a pod need not be waited for.
        """
        name = f"{name}-{next(_numbers)}"
        path = f"/api/v1/namespaces/{name}"
        self.box.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        self.box.wait_until(lambda: self.box.api.answers(f"{path}/serviceaccounts/default"), 30, f"{name} has its SA")
        try:
            yield name
        finally:
            self.box.kubectl("delete", "namespace", name, "--wait=false")
            if wait:
                self.box.wait_until(lambda: not self.box.api.answers(path), 120, f"{name} is gone", every=0.5)

    @contextmanager
    def recorded(self, namespace: str) -> Iterator[Recording]:
        """What happens in this namespace, with the moment at which each change was seen."""
        with recording(
            self.box, namespace=namespace, annotations_prefixes=["lossless.dev/"], name=f"timeline-{namespace}"
        ) as seen:
            self.box.wait_until(lambda: seen.timeline().deployments, 30, f"the recorder has seen {namespace}")
            yield seen

    # Workloads.

    def available(self, namespace: str, name: str, timeout: float = 180) -> None:
        """Wait until every pod of the Deployment is available, and no other is left."""

        def is_so() -> bool:
            found = self.deployment(namespace, name)
            wanted, status = found["spec"]["replicas"], found.get("status", {})
            counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
            return status.get("observedGeneration", 0) >= found["metadata"]["generation"] and counts == [wanted] * 3

        self.box.wait_until(is_so, timeout, f"{namespace}/{name} is available", every=0.25)

    def pods(self, namespace: str, name: str) -> list[dict[str, Any]]:
        """The pods of a Deployment, those that are being deleted as well."""
        path = f"/api/v1/namespaces/{namespace}/pods?labelSelector=app%3D{name}"
        found: list[dict[str, Any]] = self.box.api.request("GET", path)["items"]
        return found

    def only(self, namespace: str, name: str, count: int, timeout: float = 180) -> None:
        """Wait until just so many pods are there."""
        self.box.wait_until(
            lambda: len(self.pods(namespace, name)) == count, timeout, f"{count} pods of {namespace}/{name}", every=0.25
        )

    def cared_for(self, namespace: str, name: str, timeout: float = 60) -> None:
        """Wait until the operator has taken care of every pod, and has written down all it had to say."""
        path = f"/apis/lossless.dev/v1alpha1/namespaces/{namespace}/losslessrollouts/{name}"

        def is_so() -> bool:
            conditions = self.box.api.request("GET", path).get("status", {}).get("conditions", [])
            return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

        self.box.wait_until(is_so, timeout, f"{namespace}/{name} is cared for", every=0.25)

    def deployment(self, namespace: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.box.api.request("GET", _deployment(namespace, name))
        return found

    def release(self, namespace: str, name: str, version: str) -> float:
        """A new pod template. Says when."""
        env = [{"name": "VERSION", "value": version}]
        return self.patch(namespace, name, {"template": {"spec": {"containers": [{"name": "app", "env": env}]}}})

    def scale(self, namespace: str, name: str, replicas: int) -> float:
        """So many replicas. Says when."""
        return self.patch(namespace, name, {"replicas": replicas})

    def patch(self, namespace: str, name: str, spec: Mapping[str, Any]) -> float:
        """Change a Deployment's spec. Says when."""
        at = time.time()
        self.box.api.request("PATCH", _deployment(namespace, name), {"spec": spec}, STRATEGIC)
        return at

    # What it cost.

    def calls(self, start: float, end: float) -> tuple[Call, ...]:
        """What the operator and the ReplicaSet controller asked the API server for, between these moments."""
        return self._audit.calls(start, end)

    def operator_calls(self, start: float, end: float) -> tuple[Call, ...]:
        """What the operator asked for."""
        return audit.by(audit.OPERATOR, self.calls(start, end))

    def scrape(self) -> Scrape:
        """The operator's own metrics, now."""
        with urllib.request.urlopen(self._metrics_url, timeout=10) as answer:
            return Scrape.parse(answer.read().decode())

    def failed_deletes(self, namespace: str) -> int:
        """FailedDelete events in this namespace, each as often as it was seen."""
        events = self.box.api.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
        return sum(_times(event) for event in events if event["reason"] == "FailedDelete")


class Operator:
    """The one operator, as a process."""

    def __init__(self, box: Box) -> None:
        """As its service account: with the rights it has in any cluster, and known by that name in the audit log."""
        self._box = box
        self._argv: Sequence[str] = [
            str(Path(sys.executable).parent / "lossless-operator"),
            f"--kubeconfig={box.kubeconfig_for(audit.OPERATOR, inside=True)}",
            f"--lease-namespace={OPERATOR_NAMESPACE}",
            f"--http-port={METRICS.rpartition(':')[2]}",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it leads. Raises BoxError."""
        self._process = self._box.popen(self._argv, log="lossless-operator")
        self._box.wait_until(self._leads, 60, "the operator leads; see lossless-operator.log")

    def stop(self) -> None:
        """As a Deployment ends it: it gives its Lease back."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)

    def _leads(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            log = self._box.logs / "lossless-operator.log"
            raise BoxError(f"the operator ended with status {self._process.returncode}: see {log}")
        return bool(self._box.get("lease", LEASE, OPERATOR_NAMESPACE)["spec"].get("holderIdentity"))


@contextmanager
def testbed(quick: bool, say: Callable[[str], None]) -> Iterator[Testbed]:
    """A box of its own, with everything installed as in any cluster and the operator as a process that leads."""
    with _testbed(quick, say, nodes=NODES, gateway=True) as bed:
        yield bed


@contextmanager
def large_testbed(quick: bool, say: Callable[[str], None]) -> Iterator[Testbed]:
    """The same with nodes of KWOK's, for as many pods as no machine has processes. Nobody calls them, so there is no
    kube-proxy; controllers may ask the API server as often as they like, to be no bottleneck."""
    with (
        _testbed(
            quick,
            say,
            nodes=0,
            apiserver_flags=APISERVER_FLAGS,
            controller_manager_flags=["--kube-api-qps=1000", "--kube-api-burst=1000"],
        ) as bed,
        Kwok(bed.box, FAKE_NODES),
    ):
        bed.box.process("kube-proxy").kill()
        yield bed


@contextmanager
def _testbed(quick: bool, say: Callable[[str], None], **options: Any) -> Iterator[Testbed]:
    with ExitStack() as stack:
        log = Audit(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))))
        flags = [*log.flags, *options.pop("apiserver_flags", ())]
        box = stack.enter_context(Box(name="bench", apiserver_flags=flags, say=say, **options))
        _install(box)
        operator = Operator(box)
        stack.callback(operator.stop)
        operator.start()
        yield Testbed(box, log, operator, quick, say)


def _install(box: Box) -> None:
    """As in any cluster, but that the operator's own Deployment has no replicas: a process of ours is the only one, so
    that all calls and all of the memory are its own.

    From the start: a pod that is told to end right after it was made may not hear of it, and leads for 30 s more.
    """
    objects = list(yaml.safe_load_all(box.kubectl("kustomize", str(ROOT / "manifests" / "install"))))
    for each in objects:
        if each["kind"] == "Deployment":
            each["spec"]["replicas"] = 0
    box.kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(objects))
    box.kubectl("wait", "--for=condition=Established", "crd/losslessrollouts.lossless.dev", "--timeout=20s")


def _deployment(namespace: str, name: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"


def _times(event: Mapping[str, Any]) -> int:
    series = event.get("series") or {}
    return int(series.get("count") or event.get("count") or 1)


def as_list(manifests: Sequence[Mapping[str, Any]]) -> str:
    """Many objects for one `kubectl apply`."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
