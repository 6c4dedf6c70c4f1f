"""A StatefulSet or a DaemonSet as a user has it: the same as `Web`, but that it owns its pods itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from localcluster.load import Outcome, Plan, running
from tests.e2e.workloads import Manifest, Web

RATE = 100


@dataclass(frozen=True)
class Owned(Web):
    """`web` of this kind."""

    kind: str = "StatefulSet"
    spec: Manifest = field(default_factory=dict)
    """More of its spec, such as its update strategy."""

    hash_label: ClassVar[str] = "controller-revision-hash"

    @property
    def target(self) -> str:
        return f"{self.kind.lower()}/web"

    @property
    def pods_owner(self) -> tuple[str, str]:
        return self.kind, "web"

    # What is applied.

    def deploy(self) -> Owned:
        self.box.apply([self.workload(), *self.services()])
        self.box.wait_until(self.quiet, 90, f"{self.target} of {self.namespace} is there")
        return self

    def protect(self, name: str = "web", **spec: Any) -> Owned:
        self.box.apply(
            {
                "apiVersion": "lossless.dev/v1alpha1",
                "kind": "LosslessRollout",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {"targetRef": {"kind": self.kind, "name": "web"}, "drain": {"settle": "2s"}, **spec},
            }
        )
        return self

    def workload(self) -> Manifest:
        made = self.deployment()
        made["kind"] = self.kind
        del made["spec"]["strategy"]
        if self.kind == "StatefulSet":
            made["spec"]["serviceName"] = "web-headless"
        else:
            del made["spec"]["replicas"]
        made["spec"].update(self.spec)
        return made

    # What is done to it.

    def patch(self, **spec: Any) -> None:
        self.box.kubectl("patch", self.target, "-n", self.namespace, "--type=merge", "-p", json.dumps({"spec": spec}))

    def release(self, version: str) -> None:
        self.box.kubectl("set", "env", self.target, "-n", self.namespace, f"VERSION={version}")

    def undo(self) -> None:
        self.box.kubectl("rollout", "undo", self.target, "-n", self.namespace)

    def scale(self, replicas: int) -> None:
        self.box.kubectl("scale", self.target, "-n", self.namespace, f"--replicas={replicas}")

    # What is seen of it.

    def quiet(self) -> bool:
        """All that is wanted is there, of the wanted revision, ready, and none is going."""
        workload = self.box.get(self.kind, "web", self.namespace)
        status, pods = workload["status"], self.pods()
        if status.get("observedGeneration") != workload["metadata"]["generation"]:
            return False
        if self.kind == "StatefulSet":
            wanted = workload["spec"]["replicas"]
            partition = workload["spec"]["updateStrategy"].get("rollingUpdate", {}).get("partition", 0)
            updated = status.get("updatedReplicas", 0) >= wanted - partition
            ready = status.get("readyReplicas", 0)
        else:
            wanted = status["desiredNumberScheduled"]
            updated = status.get("updatedNumberScheduled", 0) == wanted
            ready = status["numberReady"]
        going = any(pod["metadata"].get("deletionTimestamp") for pod in pods)
        return bool(updated and ready == wanted == len(pods) and not going)

    def wait_until_rolled_out(self, timeout: float = 120) -> None:
        self.box.wait_until(self.quiet, timeout, f"{self.target} of {self.namespace} is as wanted")

    def versions(self) -> dict[str, str]:
        """By pod: the version that it runs."""
        return {
            pod["metadata"]["name"]: next(
                one["value"] for one in pod["spec"]["containers"][0]["env"] if one["name"] == "VERSION"
            )
            for pod in self.pods()
        }


def under_load(web: Owned, *steps: tuple[str, Callable[[], Any]]) -> Outcome:
    """Load, half of it on fresh and half on kept-alive connections; these steps, one after the other; what was lost."""
    with running(web.box, Plan(rate=RATE, callers=web.callers()), namespace=web.namespace) as run:
        time.sleep(2)
        for mark, step in steps:
            run.mark(mark)
            step()
        time.sleep(2)
        return run.finish()
