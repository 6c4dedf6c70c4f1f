"""A Deployment with a HorizontalPodAutoscaler, and a record of how many replicas were wanted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.e2e.workloads import Manifest, WithoutRoute

PAUSED = "autoscaling.keda.sh/paused-scale-in"
NOTE = "lossless.dev/original-behavior"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration-"
HASTY: Mapping[str, Any] = {"scaleDown": {"stabilizationWindowSeconds": 0}}
"""As some have it who pay for idle pods."""


@dataclass(frozen=True)
class Scaled(WithoutRoute):
    """A Web with a request for CPU, and an autoscaler to go with it."""

    cpu: str = "100m"

    def deployment(self, version: str = "1") -> Manifest:
        made = super().deployment(version)
        made["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": self.cpu}}
        return made

    def autoscale(self, *metrics: Manifest, least: int = 1, most: int = 10, behavior: Any = HASTY, **more: Any) -> Any:
        """Put an autoscaler beside it, with `more` in its metadata. Says what its behavior is, as it is stored."""
        spec: Manifest = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": list(metrics) or [of_cpu(100)],
        }
        metadata = {"name": "web", "namespace": self.namespace, **more}
        self.box.apply(
            {
                "apiVersion": "autoscaling/v2",
                "kind": "HorizontalPodAutoscaler",
                "metadata": metadata,
                "spec": spec | ({"behavior": behavior} if behavior else {}),
            }
        )
        self.box.wait_until(self.is_judged, 60, "the autoscaler has its metrics")
        return self.behavior

    def scale_by_keda(self) -> None:
        """A ScaledObject, and the autoscaler that KEDA would have made of it."""
        metadata = {"name": "web", "namespace": self.namespace}
        cron = {"timezone": "UTC", "start": "0 6 * * *", "end": "0 20 * * *", "desiredReplicas": "2"}
        self.box.apply(
            {
                "apiVersion": "keda.sh/v1alpha1",
                "kind": "ScaledObject",
                "metadata": metadata,
                "spec": {"scaleTargetRef": {"name": "web"}, "triggers": [{"type": "cron", "metadata": cron}]},
            }
        )
        self.box.kubectl("annotate", "scaledobject", "web", "-n", self.namespace, LAST_APPLIED)
        owner = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "web", "controller": True}
        owner["uid"] = self.scaled_object["metadata"]["uid"]
        self.autoscale(of_memory(2**30), least=2, behavior=None, ownerReferences=[owner])

    @property
    def scaled_object(self) -> Manifest:
        return self.box.get("scaledobject", "web", self.namespace)

    def is_judged(self) -> bool:
        """Its autoscaler knows its metrics and wants as many as there are."""
        status = self.autoscaler.get("status", {})
        known = [one for one in status.get("currentMetrics") or [] if one.get("type")]
        return bool(known) and status.get("desiredReplicas") == status.get("currentReplicas")

    @property
    def wanted(self) -> int:
        return int(self.box.get("deployment", "web", self.namespace)["spec"]["replicas"])

    @property
    def ready(self) -> int:
        """How many pods are, of all revisions."""
        return int(self.box.get("deployment", "web", self.namespace)["status"].get("readyReplicas", 0))

    @property
    def autoscaler(self) -> Manifest:
        return self.box.get("hpa", "web", self.namespace)

    @property
    def behavior(self) -> Any:
        return self.autoscaler["spec"].get("behavior")

    @property
    def is_held(self) -> bool:
        return NOTE in self.autoscaler["metadata"].get("annotations", {})

    def wait_until_given_back(self, timeout: float = 120) -> None:
        self.box.wait_until(lambda: not self.is_held, timeout, "the autoscaler is its owner's again", every=0.5)

    @contextmanager
    def watching(self) -> Iterator[list[tuple[float, int]]]:
        """How many replicas are wanted from now on: each number with the seconds from the beginning."""
        seen: list[tuple[float, int]] = []
        over, began = threading.Event(), time.monotonic()
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/web"

        def look() -> None:
            while not over.wait(0.3):
                wanted = self.box.api.request("GET", path)["spec"]["replicas"]
                if not seen or seen[-1][1] != wanted:
                    seen.append((round(time.monotonic() - began, 1), wanted))

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            over.set()
            thread.join()
            print(f"wanted: {json.dumps(seen)}")

    def memory(self) -> int:
        """Bytes that the pod with most of it uses, as the autoscaler knows it."""
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{self.namespace}/pods"

        def used() -> list[int]:
            items = self.box.api.request("GET", path)["items"]
            found = [int(one["containers"][0]["usage"]["memory"].removesuffix("Ki")) * 1024 for one in items]
            return found if len(found) == self.replicas else []

        return max(self.box.wait_until(used, 60, "every pod has been read twice"))


def of_cpu(percent: int) -> Manifest:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def of_memory(each: int) -> Manifest:
    target = {"type": "AverageValue", "averageValue": str(each)}
    return {"type": "Resource", "resource": {"name": "memory", "target": target}}
