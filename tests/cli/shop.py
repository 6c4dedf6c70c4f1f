"""A namespace with a Deployment in it, and ``kubectl lossless`` at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from localcluster.box import Box
from lossless.cli.main import main
from tests.policies.bench import tell_policies

Object = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What a command came to."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Shop:
    box: Box
    namespace: str
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> Result:
        """Run ``kubectl lossless`` with these arguments, here."""
        self.capsys.readouterr()
        code = main([*arguments, "--kubeconfig", str(self.box.kubeconfig), "-n", self.namespace])
        out, err = self.capsys.readouterr()
        return Result(code, out, err)

    def protect(self, name: str = "web", **spec: Any) -> None:
        """A LosslessRollout, known to admission when this returns: its gate is put on pods."""
        self.box.apply(
            {
                "apiVersion": "lossless.dev/v1alpha1",
                "kind": "LosslessRollout",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {"targetRef": {"name": name}, **spec},
            }
        )
        tell_policies(self.box, self.namespace)
        probe = self._pod("probe-" + name)
        probe["metadata"]["labels"] = {"pod-template-hash": "x"}
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{name}-x", "uid": "0", "controller": True}
        probe["metadata"]["ownerReferences"] = [owner]

        def is_gated() -> bool:
            path = f"/api/v1/namespaces/{self.namespace}/pods?dryRun=All"
            return bool(self.box.api.request("POST", path, probe)["spec"].get("readinessGates"))

        self.box.wait_until(is_gated, describe="admission knows of the LosslessRollout")

    def deploy(self, name: str = "web", replicas: int = 2, **pod: Any) -> None:
        """A Deployment of the sample app; returns when its containers are ready."""
        self.box.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": {"app": name}},
                    "template": {"metadata": {"labels": {"app": name}}, "spec": self._pod(name)["spec"] | pod},
                },
            }
        )
        self.box.wait_until(lambda: len(self.containers_ready()) == replicas, describe="the containers are ready")

    def service(self, **spec: Any) -> None:
        self.box.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web", "namespace": self.namespace},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}], **spec},
            }
        )

    def pods(self) -> list[Object]:
        found: list[Object] = self.box.api.request("GET", f"/api/v1/namespaces/{self.namespace}/pods")["items"]
        return found

    def containers_ready(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.pods() if condition(pod, "ContainersReady") == "True"]

    def ready(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.pods() if condition(pod, "Ready") == "True"]

    def _pod(self, name: str) -> Object:
        container = {
            "name": "app",
            "image": "sample",
            "command": ["sample-app"],
            "env": [
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            ],
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"containers": [container]},
        }


def condition(pod: Object, kind: str) -> str:
    """The status of one of a pod's conditions."""
    conditions = pod.get("status", {}).get("conditions", [])
    return next((one["status"] for one in conditions if one["type"] == kind), "Unknown")
