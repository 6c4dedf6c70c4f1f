"""An Argo Rollout as a user has it: the same as `Web`, with a strategy that Deployments have not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tests.e2e.workloads import Manifest, Web

MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Argo(Web):
    """`web`, a Rollout of Argo Rollouts."""

    strategy: Mapping[str, Any] = field(default_factory=lambda: {"canary": {"maxSurge": "50%", "maxUnavailable": 0}})

    hash_label: ClassVar[str] = "rollouts-pod-template-hash"

    # What is applied.

    def deploy(self) -> Argo:
        self.box.apply([self.workload(), *self.services()])
        self.wait_until_rolled_out(90)
        return self

    def protect(self, name: str = "web", **spec: Any) -> Argo:
        target = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"}
        self.box.apply(
            {
                "apiVersion": "lossless.dev/v1alpha1",
                "kind": "LosslessRollout",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {"targetRef": target, "drain": {"settle": "2s"}, **spec},
            }
        )
        return self

    def workload(self) -> Manifest:
        made = self.deployment()
        made["apiVersion"], made["kind"] = "argoproj.io/v1alpha1", "Rollout"
        made["spec"]["strategy"] = dict(self.strategy)
        return made

    def services(self) -> list[Manifest]:
        """With one for what is previewed."""
        preview = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web-preview", "namespace": self.namespace},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        }
        return [*super().services(), preview] if "blueGreen" in self.strategy else super().services()

    # What is done to it: what `kubectl argo rollouts` does.

    def release(self, version: str) -> None:
        """Also back to what it was before: `undo`."""
        patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": version}]
        self.box.kubectl("patch", "rollout", "web", "-n", self.namespace, "--type=json", "-p", json.dumps(patch))

    def scale(self, replicas: int) -> None:
        self.box.kubectl("scale", "rollout/web", "-n", self.namespace, f"--replicas={replicas}")

    def promote(self) -> None:
        self._patch_status({"pauseConditions": None})

    def abort(self) -> None:
        self._patch_status({"abort": True})

    def retry(self) -> None:
        self._patch_status({"abort": False})

    def _patch_status(self, status: Manifest) -> None:
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{self.namespace}/rollouts/web/status"
        self.box.api.request("PATCH", path, {"status": status}, MERGE)

    # What is seen of it.

    def seen(self) -> Manifest:
        return self.box.get("rollout.argoproj.io", "web", self.namespace)

    def phase(self) -> str:
        """By its own controller's word on its latest spec."""
        rollout = self.seen()
        status = rollout.get("status", {})
        known = status.get("observedGeneration") == str(rollout["metadata"]["generation"])
        return str(status.get("phase", "")) if known else ""

    def wait_for(self, phase: str, timeout: float = 60) -> None:
        self.box.wait_until(lambda: self.phase() == phase, timeout, f"{self.namespace}/web is {phase}")

    def quiet(self) -> bool:
        """Exactly the wanted pods are there, of the wanted revision, ready, and none is going."""
        rollout, pods = self.seen(), self.pods()
        return (
            self.phase() == "Healthy"
            and rollout["status"]["stableRS"] == rollout["status"]["currentPodHash"]
            and len(pods) == rollout["spec"]["replicas"]
            and not any(pod["metadata"].get("deletionTimestamp") for pod in pods)
            and {pod["metadata"]["labels"][self.hash_label] for pod in pods} == {rollout["status"]["currentPodHash"]}
            and all({"type": "Ready", "status": "True"}.items() <= c.items() for pod in pods for c in _ready(pod))
        )

    def wait_until_rolled_out(self, timeout: float = 120) -> None:
        self.box.wait_until(self.quiet, timeout, f"exactly the wanted pods of {self.namespace}/web are there and ready")

    def versions(self) -> dict[str, int]:
        """How many live pods run each version."""
        found: dict[str, int] = {}
        for pod in self.pods():
            if not pod["metadata"].get("deletionTimestamp"):
                version = pod["spec"]["containers"][0]["env"][0]["value"]
                found[version] = found.get(version, 0) + 1
        return found

    def refused(self) -> int:
        """How often a controller was refused a pod."""
        events = self.box.listed("events", self.namespace)
        return sum(event.get("count") or 1 for event in events if event["reason"] == "FailedDelete")


def _ready(pod: Manifest) -> list[Manifest]:
    return [one for one in pod["status"].get("conditions", []) if one["type"] == "Ready"]
