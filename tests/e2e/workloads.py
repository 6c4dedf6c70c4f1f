"""A Deployment as a user has it, with everything in front of it, and the LosslessRollout beside it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Self

from localcluster.box import Box
from localcluster.load import CachedAddresses, Caller, Fresh, KeptAlive

PORT = 8080

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Web:
    """A Deployment `web` with a Service, a headless Service and an HTTPRoute, in a namespace of its own."""

    box: Box
    namespace: str
    app: Sequence[str] = ()
    """Flags of the sample app."""
    replicas: int = 4
    strategy: Mapping[str, Any] = field(default_factory=lambda: {"maxSurge": "50%", "maxUnavailable": 0})
    pre_stop_sleep: int | None = None
    grace: int = 30
    pod_spec: Mapping[str, Any] = field(default_factory=dict)

    # What is applied.

    def deploy(self) -> Self:
        """Apply it all and wait until every pod is available."""
        self.box.apply([self.deployment(), *self.services(), *self.routes()])
        self.box.kubectl("rollout", "status", "deployment/web", "-n", self.namespace, "--timeout=90s")
        return self

    def protect(self, name: str = "web", **spec: Any) -> Self:
        """Put a LosslessRollout beside it."""
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        self.box.apply(
            {
                "apiVersion": "lossless.dev/v1alpha1",
                "kind": "LosslessRollout",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {"targetRef": target, **spec},
            }
        )
        return self

    def gated(self, **spec: Any) -> Self:
        """Protected before it is there, so that every pod is born with its gate and its preStop sleep."""
        self.protect(**spec)
        self.box.wait_until(self._gets_gates, 30, "new pods get a gate")
        self.deploy()
        self.wait_until_cared_for()
        assert all("readinessGates" in pod["spec"] for pod in self.pods()), "new pods get no gate"
        return self

    hash_label: ClassVar[str] = "pod-template-hash"
    """By which its pods' revision is told."""

    @property
    def pods_owner(self) -> tuple[str, str]:
        """Kind and name of who creates its pods, if their revision is `0`."""
        return "ReplicaSet", "web-0"

    def _gets_gates(self) -> bool:
        """Asked of a pod that is not kept."""
        kind, name = self.pods_owner
        owner = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "0", "controller": True}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "asks", "labels": {self.hash_label: "0"}, "ownerReferences": [owner]},
            "spec": {"containers": [{"name": "app", "image": "sample"}]},
        }
        made = self.box.api.request("POST", f"/api/v1/namespaces/{self.namespace}/pods?dryRun=All", pod)
        return "readinessGates" in made["spec"]

    def deployment(self, version: str = "1") -> Manifest:
        container: Manifest = {
            "name": "app",
            "image": "sample",
            "command": ["sample-app", *self.app],
            "env": [
                {"name": "VERSION", "value": version},
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            ],
            "ports": [{"name": "http", "containerPort": PORT}],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
        }
        if self.pre_stop_sleep is not None:
            container["lifecycle"] = {"preStop": {"sleep": {"seconds": self.pre_stop_sleep}}}
        pod = {"terminationGracePeriodSeconds": self.grace, "containers": [container], **self.pod_spec}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": self.namespace},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": dict(self.strategy)},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod},
            },
        }

    def services(self) -> list[Manifest]:
        def service(name: str, **spec: Any) -> Manifest:
            ports = [{"name": "http", "port": 80, "targetPort": "http"}]
            return {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {"selector": {"app": "web"}, "ports": ports, **spec},
            }

        return [service("web"), service("web-headless", clusterIP="None")]

    def routes(self) -> list[Manifest]:
        """What leads to its Services from outside."""
        return [self.route()]

    def route(self) -> Manifest:
        return {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "web", "namespace": self.namespace},
            "spec": {
                "parentRefs": [{"name": "gateway", "namespace": "gateway"}],
                "hostnames": [self.host],
                "rules": [{"backendRefs": [{"name": "web", "port": 80}]}],
            },
        }

    # What is done to it.

    def release(self, version: str) -> None:
        """A new pod template: what every deployment tool does."""
        patch = {
            "spec": {
                "template": {"spec": {"containers": [{"name": "app", "env": [{"name": "VERSION", "value": version}]}]}}
            }
        }
        self.box.kubectl("patch", "deployment", "web", "-n", self.namespace, "-p", json.dumps(patch))

    def undo(self) -> None:
        self.box.kubectl("rollout", "undo", "deployment/web", "-n", self.namespace)

    def scale(self, replicas: int) -> None:
        self.box.kubectl("scale", "deployment/web", "-n", self.namespace, f"--replicas={replicas}")

    def wait_until_rolled_out(self, timeout: float = 120) -> None:
        """The workload's own controller says so, and every old pod is gone."""
        self.box.kubectl("rollout", "status", "deployment/web", "-n", self.namespace, f"--timeout={timeout:.0f}s")
        self.box.wait_until(self.quiet, timeout, f"exactly the wanted pods of {self.namespace}/web are there and ready")

    def quiet(self) -> bool:
        """Exactly the wanted pods are there, of the wanted revision, ready, and none is going."""
        deployment = self.box.get("deployment", "web", self.namespace)
        wanted = deployment["spec"]["replicas"]
        status = deployment["status"]
        pods = self.pods()
        return (
            status.get("observedGeneration") == deployment["metadata"]["generation"]
            and status.get("updatedReplicas", 0) == status.get("readyReplicas", 0) == len(pods) == wanted
            and not any(pod["metadata"].get("deletionTimestamp") for pod in pods)
        )

    # What is seen of it.

    @property
    def host(self) -> str:
        return f"{self.namespace}.example.com"

    @property
    def url(self) -> str:
        address = self.box.get("service", "web", self.namespace)["spec"]["clusterIP"]
        return f"http://{address}/"

    def pods(self) -> list[Manifest]:
        return self.box.listed("pods", self.namespace, "app=web")

    def uids(self) -> set[str]:
        """Of its pods now."""
        return {pod["metadata"]["uid"] for pod in self.pods()}

    def stages(self) -> dict[str, str]:
        """Each live pod's stage."""
        return {
            pod["metadata"]["name"]: pod["metadata"].get("annotations", {}).get("lossless.dev/stage", "")
            for pod in self.pods()
            if not pod["metadata"].get("deletionTimestamp")
        }

    def since(self, stage: str) -> dict[str, float]:
        """The pods in this stage, and since when."""
        return {
            pod["metadata"]["name"]: datetime.fromisoformat(notes["lossless.dev/since"]).timestamp()
            for pod in self.pods()
            if (notes := pod["metadata"].get("annotations", {})).get("lossless.dev/stage") == stage
        }

    def lossless(self) -> Manifest:
        return self.box.get("losslessrollout", "web", self.namespace)

    def condition(self, kind: str) -> Manifest:
        conditions = self.lossless().get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {"status": "", "reason": "", "message": ""})

    def wait_until_cared_for(self, timeout: float = 30) -> Self:
        """The operator has taken care of every pod, and none is under way."""
        self.box.wait_until(
            lambda: self.condition("Ready")["status"] == "True", timeout, "the LosslessRollout is Ready"
        )
        return self

    # Who calls it.

    def callers(self) -> tuple[Caller, ...]:
        """Half of the requests on fresh connections, half on kept-alive ones, through the ClusterIP."""
        return Fresh(self.url), KeptAlive(self.url)

    def stale_callers(self, every: float = 15) -> tuple[Caller, ...]:
        """A client-side balancer whose list of addresses is up to so many seconds old."""
        return (CachedAddresses("web-headless", PORT, namespace=self.namespace, every=every, clients=3),)

    def gateway_callers(self) -> tuple[Caller, ...]:
        """Through Traefik."""
        url = f"http://{self.box.gateway_address}/"
        return (
            Fresh(url, host=self.host, name="gateway-fresh"),
            KeptAlive(url, host=self.host, name="gateway-kept-alive"),
        )


@dataclass(frozen=True)
class WithoutRoute(Web):
    """For a box without a gateway."""

    def routes(self) -> list[Manifest]:
        return []


def fewest_ready(box: Box, namespace: str, during: float) -> int:
    """The fewest ready endpoints of the Service `web`, looked at all the time for so many seconds."""
    fewest = 10**9
    end = time.time() + during
    while time.time() < end:
        slices = box.listed("endpointslices", namespace, "kubernetes.io/service-name=web")
        ready = sum(1 for one in slices for endpoint in one.get("endpoints") or [] if endpoint["conditions"]["ready"])
        fewest = min(fewest, ready)
        time.sleep(0.02)
    return fewest
